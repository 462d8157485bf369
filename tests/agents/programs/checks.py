"""A program's own tests, with a job that no server has made."""

from greenroom import rtc
from greenroom.agents import JobContext, get_job_context
from greenroom.agents.testing import fake_job_context


def caller_of(metadata: str) -> str:
    return metadata.partition(":")[2]


def current_caller() -> str:
    """What an agent has deep inside: it asks for the job that it is in."""
    return caller_of(get_job_context().job.metadata)


async def ring(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.add_sip_participant(call_to="+123", trunk_id="trunk", participant_identity="phone")
    await ctx.delete_room()
    ctx.shutdown("done")


def test_the_caller_is_read_from_the_metadata() -> None:
    with fake_job_context(job_metadata="caller:ada") as ctx:
        assert current_caller() == "ada"
        assert ctx.is_fake_job() and ctx.simulation_context() is None
        assert ctx.local_participant_identity == "fake-agent"
        (ctx.session_directory / "notes.txt").write_text("kept")
        folder = ctx.session_directory
    assert not folder.exists()
    assert get_job_context(required=False) is None


async def test_a_fake_job_asks_nothing_of_a_server() -> None:
    with fake_job_context(room=rtc.Room(), job_id="one", agent_identity="me") as ctx:
        assert (ctx.job.id, ctx.info.accept_arguments.identity) == ("one", "me")
        await ring(ctx)

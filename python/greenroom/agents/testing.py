"""A job's context without a worker or a server, for the tests of what an agent calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from greenroom import rtc
from greenroom.agents.context import JobContext, entered
from greenroom.agents.job import AutoSubscribe, Job, JobAcceptArguments, JobProcess, RunningJobInfo
from greenroom.agents.options import JobExecutorType
from greenroom.agents.runner import JobLaunch
from greenroom.wire import messages as m

__all__ = ["fake_job_context"]


@contextmanager
def fake_job_context(
    *,
    room: rtc.Room | None = None,
    job_id: str = "fake-job",
    job_metadata: str = "",
    agent_identity: str = "fake-agent",
) -> Iterator[JobContext]:
    """Make a job of no server the current one, as long as the block lasts.

    It does not join rooms and does not end: `connect` and `shutdown` do nothing, shutdown callbacks do not run. What
    a job does in a real room is for `greenroom.testing`.

    Args:
        room: what `ctx.room` is, joined by you or not; None = one that is not joined.
        job_id: the job's id.
        job_metadata: the job's metadata.
        agent_identity: what the agent would join as.
    """
    own = rtc.Room() if room is None else room
    message = m.Job(id=job_id, room=m.Room(name=own.name or "fake-room", sid="RM_fake"), metadata=job_metadata)
    arguments = JobAcceptArguments(name="", identity=agent_identity, metadata="")
    info = RunningJobInfo(arguments, Job.from_message(message), url="", token="", worker_id="fake", fake_job=True)
    launch = JobLaunch(info=info, entrypoint=lambda ctx: None)
    context = JobContext(launch, JobProcess(executor_type=JobExecutorType.TASK), lambda: None, own)
    with entered(context):
        if own.isconnected():
            context._joined(AutoSubscribe.SUBSCRIBE_ALL)
        yield context

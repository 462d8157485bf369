"""Workers: slots, requests, draining, subscribe modes, a server that restarts, a worker that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from livekit.protocol.agent import JobStatus

from greenroom import rtc
from greenroom.agents import AgentServer, AutoDisconnect, AutoSubscribe, JobContext, JobRequest, WorkerOptions
from greenroom.errors import ConnectError, StateError
from greenroom.server import Server
from tests.interop.official import colour, hear, joined, tone, until

from . import staff
from .conftest import EXAMPLES, KEY, SECRET, Desk, working

pytestmark = pytest.mark.loopback


def page(entrypoint, **accept) -> AgentServer:
    """A worker in the page's form."""

    async def request_fnc(req: JobRequest) -> None:
        await req.accept(entrypoint, **accept)

    return AgentServer(WorkerOptions(request_fnc=request_fnc, agent_name="page", entrypoint_timeout=0.2))


#: What of a tone and a picture each mode receives.
MODES = pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (AutoSubscribe.SUBSCRIBE_ALL, {"tone", "picture"}),
        (AutoSubscribe.SUBSCRIBE_NONE, set()),
        (AutoSubscribe.AUDIO_ONLY, {"tone"}),
        (AutoSubscribe.VIDEO_ONLY, {"picture"}),
    ],
)


@MODES
async def test_only_what_a_mode_subscribes_is_sent(desk: Desk, mode: AutoSubscribe, wanted: set[str]):
    """Counted at the server: which tracks it forwards to the agent, its only receiver, and what leaves its socket."""
    rooms: list[rtc.Room] = []

    async def entrypoint(job: JobContext) -> None:
        rooms.append(job.room)

    def figures() -> dict[str, int]:
        return desk.server.statistics()

    def names() -> set[str]:
        return {track.name for track in subscribed(rooms[0])} if rooms else set()

    await desk.work(page(entrypoint, auto_subscribe=mode))
    async with joined(desk.server, "ada") as ada, tone(ada, 440), colour(ada, (200, 40, 40)):
        await desk.dispatch("page")
        await until(lambda: rooms and names() == wanted)
        async with tone(ada, 500, name="late tone"), colour(ada, (1, 2, 3), name="late picture"):
            expected = wanted | {f"late {name}" for name in wanted}
            await until(lambda: names() == expected and figures()["subscriptions"] == len(expected))
            before = figures()
            await until(lambda: figures()["packets_in"] > before["packets_in"] + 600)
            assert names() == expected and figures()["subscriptions"] == len(expected)
            if not expected:  # only feedback to the publisher leaves: a few bytes for each packet that comes
                sent, arrived = (figures()[name] - before[name] for name in ("bytes_out", "packets_in"))
                assert sent < 9 * arrived


def subscribed(room: rtc.Room) -> list[rtc.RemoteTrack]:
    publications = [each for one in room.remote_participants.values() for each in one.track_publications.values()]
    return [each.track for each in publications if each.track is not None]


async def test_events_wait_for_the_entrypoint(desk: Desk):
    """The page's form: the room is joined, and nothing is told before the entrypoint waits for the first time."""
    order: list[str] = []

    async def entrypoint(job: JobContext) -> None:
        assert job.room.isconnected() and job.agent.identity
        for _ in range(3):
            await immediately()
        job.room.on("connected", lambda: order.append("connected"))
        job.room.on("track_subscribed", lambda track, *_: order.append(track.name))
        order.append("first wait")
        await asyncio.sleep(0)

    async def immediately() -> None:
        return None

    await desk.work(page(entrypoint))
    async with joined(desk.server, "ada") as ada, tone(ada, 440):
        await desk.dispatch("page")
        await until(lambda: "tone" in order)
    assert order == ["first wait", "connected", "tone"]


async def test_slots_are_reserved_when_jobs_are_offered(desk: Desk):
    """Ten jobs at once for two workers with three slots each: six run, and no worker ever has more than three."""
    most = {0: 0, 1: 0}
    workers = []
    for number in range(2):

        async def request(req: JobRequest, number: int = number) -> None:
            await asyncio.sleep(0.05)
            await req.accept(staff.page_hanger, auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
            most[number] = max(most[number], len(workers[number].active_jobs))

        options = WorkerOptions(request_fnc=request, agent_name="few", max_jobs=3, entrypoint_timeout=0.1)
        workers.append(await desk.work(AgentServer(options)))
    await asyncio.gather(*(desk.dispatch("few", room=f"room-{number}") for number in range(10)))
    await until(lambda: sum(len(each.active_jobs) for each in workers) == 6)
    await workers[0].aclose()
    await until(lambda: len(workers[1].active_jobs) == 3)
    assert most[1] <= 3 and most[0] <= 3


async def test_a_rejected_job_ends_and_an_unanswered_one_goes_to_another(desk: Desk):
    async def reject(req: JobRequest) -> None:
        await req.reject()
        with pytest.raises(StateError):
            await req.accept(staff.page_hanger)

    await desk.work(AgentServer(WorkerOptions(request_fnc=reject, agent_name="picky")))
    await desk.dispatch("picky")
    assert (await desk.job("JS_SUCCESS")).state.participant_identity == ""

    offered: list[str] = []
    await desk.work(AgentServer(WorkerOptions(request_fnc=lambda req: offered.append(req.id), agent_name="shy")))
    await desk.dispatch("shy", room="second")
    await until(lambda: offered)
    willing = await desk.work(AgentServer(WorkerOptions(request_fnc=staff.accept_page, agent_name="shy")))
    await until(lambda: willing.active_jobs)
    [info] = willing.active_jobs
    assert info.job.id == offered[0] and info.accept_arguments.identity == "agent-of-second"


async def test_draining_lets_jobs_finish_and_takes_no_more(desk: Desk):
    finish = asyncio.Event()
    ends: list[tuple[str, str]] = []

    async def entrypoint(job: JobContext) -> None:
        job.add_shutdown_callback(lambda reason: ends.append((job.room.name, reason)))
        await finish.wait()
        job.shutdown("finished")

    worker = await desk.work(page(entrypoint))
    await asyncio.gather(*(desk.dispatch("page", room=f"room-{number}") for number in range(5)))
    await until(lambda: len(worker.active_jobs) == 5)
    draining = asyncio.create_task(worker.drain())
    await until(lambda: worker.draining)
    await desk.dispatch("page", room="late")
    other = await desk.work(page(staff.page_hanger))
    await until(lambda: other.active_jobs)
    assert [each.job.room.name for each in other.active_jobs] == ["late"] and len(worker.active_jobs) == 5
    finish.set()
    async with asyncio.timeout(10):
        await draining
    assert sorted(ends) == [(f"room-{number}", "finished") for number in range(5)]


@pytest.mark.parametrize("mode", [AutoDisconnect.ROOM_EMPTY, AutoDisconnect.NONE])
async def test_a_job_may_end_with_the_last_caller(desk: Desk, mode: AutoDisconnect):
    worker = await desk.work(page(staff.page_hanger, auto_disconnect=mode))
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("page")
        await ada.wait("participant_connected")
    async with joined(desk.server, "bob", room="elsewhere"):
        if mode is AutoDisconnect.ROOM_EMPTY:
            await until(lambda: not worker.active_jobs)
        else:
            [info] = worker.active_jobs
            assert info.job.room.name == "lab"


async def test_participant_entrypoints_run_for_those_here_and_those_who_come(desk: Desk):
    met: list[str] = []

    async def meet(ctx: JobContext, participant: rtc.RemoteParticipant) -> None:
        met.append(participant.identity)

    async def entrypoint(ctx: JobContext) -> None:
        ctx.add_participant_entrypoint(meet)
        await ctx.connect()

    options = WorkerOptions(entrypoint_fnc=entrypoint, agent_name="host")
    await desk.work(AgentServer(options))
    async with joined(desk.server, "ada"):
        await desk.dispatch("host")
        await until(lambda: met == ["ada"])
        async with joined(desk.server, "bob"):
            await until(lambda: met == ["ada", "bob"])


async def test_jobs_can_use_the_servers_api(desk: Desk):
    found: list[str] = []

    async def entrypoint(ctx: JobContext) -> None:
        await ctx.connect()
        await ctx.wait_for_participant()
        here = await ctx.api.room.list_participants(ctx.room.name)
        found.extend(sorted(each.identity for each in here.participants))
        await ctx.delete_room()

    await desk.work(AgentServer(WorkerOptions(entrypoint_fnc=entrypoint, agent_name="janitor")))
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("janitor")
        await ada.wait("disconnected")
    assert found[0] == "ada" and found[1].startswith("agent-") and len(found) == 2


async def test_a_restarted_server_gets_its_worker_back():
    keys = {KEY: SECRET}
    async with Server(host="127.0.0.1", port=0, keys=keys) as server:
        port, url = server.port, server.url
        worker = page(staff.page_hanger)
        registrations: list[str] = []
        worker.on("worker_registered", lambda worker_id, info: registrations.append(worker_id))
        running = working(worker, url)
        await running.__aenter__()
    async with Server(host="127.0.0.1", port=port, keys=keys) as server:
        try:
            await until(lambda: len(registrations) == 2)
            desk = Desk(server)
            await desk.dispatch("page")
            await until(lambda: worker.active_jobs)
            await desk.close()
        finally:
            await running.__aexit__(None, None, None)


async def test_jobs_go_on_while_the_worker_has_no_connection(desk: Desk):
    worker = await desk.work(page(staff.page_hanger))
    registrations: list[str] = []
    worker.on("worker_registered", lambda worker_id, info: registrations.append(worker_id))
    async with joined(desk.server, "ada") as ada:
        made = await desk.dispatch("page")
        await ada.wait("participant_connected")
        for socket in list(desk.server._core.dispatcher._sockets.values()):
            socket.close()
        await until(lambda: registrations)
        assert len(worker.active_jobs) == 1 and not ada.events("participant_disconnected")
        [job] = await desk.jobs()
        assert job.state.status == JobStatus.JS_RUNNING
        await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
        await ada.wait("participant_disconnected")


@pytest.mark.parametrize(
    ("secret", "says"), [("wrong secret, but long enough", "does not know the API key"), (SECRET, "no server at")]
)
async def test_what_cannot_work_says_what_to_change(desk: Desk, secret: str, says: str):
    url = desk.url if secret != SECRET else "ws://127.0.0.1:1"
    worker = AgentServer(
        WorkerOptions(request_fnc=staff.accept_page, ws_url=url, api_key=KEY, api_secret=secret, max_retry=0, port=0)
    )
    with pytest.raises(ConnectError, match=says):
        await worker.run()


@pytest.mark.timeout(90)
async def test_the_job_of_a_killed_worker_is_offered_to_another_and_heard_again(desk: Desk):
    settings = {"LIVEKIT_URL": desk.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    script = [sys.executable, str(Path(__file__).with_name("loud_agent.py")), "start"]
    env = {**os.environ, **settings, "PYTHONPATH": str(EXAMPLES.parent / "python")}

    async def start() -> asyncio.subprocess.Process:
        count = desk.server._core.dispatcher.machine.worker_count
        process = await asyncio.create_subprocess_exec(*script, env=env)
        await until(lambda: desk.server._core.dispatcher.machine.worker_count > count)
        return process

    processes = [await start()]
    try:
        async with joined(desk.server, "ada") as ada:
            await desk.dispatch("loud")
            await hear(await ada.remote_track("voice"), 0.3)
            processes.append(await start())
            processes[0].send_signal(signal.SIGKILL)
            track, *_ = await ada.wait("track_subscribed", after=1)
            pitch, _ = await hear(track)
            assert abs(pitch - 660) < 5 and not ada.events("disconnected")
            processes[1].send_signal(signal.SIGTERM)
            await ada.room.disconnect()
            async with asyncio.timeout(40):
                assert await processes[1].wait() == 0
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

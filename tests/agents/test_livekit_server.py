"""Our worker on a livekit-server, whose path is in the environment variable LIVEKIT_SERVER; else they are skipped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from livekit import api

from greenroom import rtc
from greenroom.agents import AgentServer, AutoSubscribe, JobContext, JobRequest, WorkerOptions
from tests.interop.livekit_server import KEY, SECRET, LivekitServer, livekit
from tests.interop.official import close, colour, joined, see, tone, until

from .conftest import program
from .test_programs import RATE, listen, peak, pitch

pytestmark = pytest.mark.interop

__all__ = ["livekit"]


@pytest.fixture
async def dispatch(livekit: LivekitServer) -> AsyncIterator[Callable[[str, str], Awaitable[object]]]:
    async with api.LiveKitAPI(livekit.url, KEY, SECRET) as client:
        yield lambda name, room: client.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=name, room=room)
        )


@contextlib.asynccontextmanager
async def working(worker: AgentServer, server: LivekitServer, agent_name: str) -> AsyncIterator[AgentServer]:
    worker.update_options(ws_url=server.url, api_key=KEY, api_secret=SECRET, agent_name=agent_name)
    registered = asyncio.Event()
    worker.on("worker_registered", lambda *_: registered.set())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(devmode=True))
        await asyncio.wait_for(registered.wait(), 20)
        try:
            yield worker
        finally:
            await worker.aclose()


async def test_sine_is_heard(livekit: LivekitServer, dispatch):
    async with working(program("sine").server, livekit, "sine"), joined(livekit, "ear", "sine-is") as ear:
        await dispatch("sine", "sine-is")
        track, _, agent = await ear.wait("track_subscribed")
        assert agent.identity.startswith("agent-AJ_")
        samples = (await listen(track, 2 * RATE))[RATE:]
    assert peak(samples) == pytest.approx(440, abs=2)


async def test_still_colour_is_seen(livekit: LivekitServer, dispatch):
    async with working(program("still_colour").server, livekit, "still"), joined(livekit, "eye", "still-colour") as eye:
        await dispatch("still", "still-colour")
        track, *_ = await eye.wait("track_subscribed")
        shown, _ = await see(track)
    assert close(shown, (254, 1, 1), 8)


async def test_receive_hears_and_sees(livekit: LivekitServer, dispatch, monkeypatch):
    receive = program("receive")
    audio: list[rtc.AudioFrame] = []
    video: list[rtc.VideoFrame] = []

    def keep(participant: rtc.RemoteParticipant, frame: rtc.AudioFrame | rtc.VideoFrame) -> None:
        (audio if isinstance(frame, rtc.AudioFrame) else video).append(frame)

    monkeypatch.setattr(receive.module, "do_something", keep)
    async with (
        working(receive.server, livekit, "receive"),
        joined(livekit, "ada", "receive-hears") as ada,
        tone(ada, 440),
        colour(ada, (200, 40, 40)),
    ):
        await dispatch("receive", "receive-hears")
        # The first pictures are black: the official client sends those until it has one.
        await until(lambda: len(audio) > 200 and video and close(middle(video[-1]), (200, 40, 40), 30))
    assert pitch(audio[-100:]) == pytest.approx(440, abs=2)


def middle(frame: rtc.VideoFrame) -> tuple[int, ...]:
    place = (frame.height // 2 * frame.width + frame.width // 2) * 3
    return tuple(frame.convert(rtc.VideoBufferType.RGB24).data[place : place + 3])


async def test_only_audio_is_subscribed_when_asked(livekit: LivekitServer, dispatch):
    rooms: list[rtc.Room] = []

    async def entrypoint(job: JobContext) -> None:
        rooms.append(job.room)

    async def request_fnc(req: JobRequest) -> None:
        await req.accept(entrypoint, auto_subscribe=AutoSubscribe.AUDIO_ONLY)

    worker = AgentServer(WorkerOptions(request_fnc=request_fnc))
    async with (
        working(worker, livekit, "ears"),
        joined(livekit, "ada", "only-audio") as ada,
        tone(ada, 440),
        colour(ada, (9, 9, 9)),
    ):
        await dispatch("ears", "only-audio")

        def publications() -> list[rtc.RemoteTrackPublication]:
            here = rooms[0].remote_participants.values() if rooms else ()
            return [each for one in here for each in one.track_publications.values()]

        await until(lambda: {each.name for each in publications()} == {"tone", "picture"})
        await until(lambda: [each.name for each in publications() if each.subscribed] == ["tone"])


async def test_a_job_ends_well_and_a_deleted_room_ends_its_job(livekit: LivekitServer, dispatch):
    begun: list[str] = []
    ends: list[str] = []

    async def entrypoint(job: JobContext) -> None:
        begun.append(job.room.name)
        job.add_shutdown_callback(ends.append)
        if job.room.name == "short":
            job.shutdown("done")

    async def request_fnc(req: JobRequest) -> None:
        await req.accept(entrypoint)

    worker = AgentServer(WorkerOptions(request_fnc=request_fnc))
    async with working(worker, livekit, "ends"):
        await dispatch("ends", "short")
        await until(lambda: ends == ["done"])
        await dispatch("ends", "long")
        await until(lambda: begun == ["short", "long"])
        async with api.LiveKitAPI(livekit.url, KEY, SECRET) as client:
            await client.room.delete_room(api.DeleteRoomRequest(room="long"))
        await until(lambda: not worker.active_jobs)
    assert len(ends) == 2 and "room deleted" in ends[1]

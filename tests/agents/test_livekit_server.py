"""Our agents on a livekit-server: the same programs with the same judges as on our own, and the life of a worker there.

The binary's path is in the environment variable LIVEKIT_SERVER; without it every test here is skipped.
"""

# ruff: noqa: F401 - tests are imported, and run here with the desk of this module

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from livekit import api
from livekit import rtc as official
from livekit.protocol.agent import Job

from greenroom import rtc
from greenroom.agents import AutoSubscribe, JobContext, WorkerType
from tests.interop.livekit_server import BINARY, LivekitServer, running
from tests.interop.official import Client, colour, hear, joined, see, tone, until

from . import staff
from .conftest import KEY, SECRET, Desk, program
from .test_programs import (
    RATE,
    listen,
    peak,
    test_convert_gives_bgra_of_the_right_colour,
    test_finite_audio_is_heard_to_its_last_sample_and_ends_the_job,
    test_manual_subscription_takes_microphones_only,
    test_receive_gets_what_is_sent_and_ends_with_the_tracks,
    test_receive_in_an_async_handler,
    test_sine_is_a_quiet_440_hertz_tone,
    test_still_colour_is_seen_by_who_joins_late,
)
from .test_workers import (
    MODES,
    page,
    subscribed,
    test_a_job_may_end_with_the_last_caller,
    test_events_wait_for_the_entrypoint,
    test_jobs_can_use_the_servers_api,
    test_participant_entrypoints_run_for_those_here_and_those_who_come,
    test_what_cannot_work_says_what_to_change,
)

pytestmark = pytest.mark.interop

LOUD_AGENT = Path(__file__).with_name("loud_agent.py")
OFFICIAL_AGENT = Path(__file__).parents[1] / "interop" / "official_agent.py"


class LivekitDesk(Desk):
    """A livekit-server tells of a job late, after the 5 s for which it asks other nodes, and never how it ended."""

    server: LivekitServer

    async def jobs(self, room: str = "lab") -> list[Job]:
        async with asyncio.timeout(20):
            while not (jobs := await super().jobs(room)):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.1)
        return jobs


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[LivekitDesk]:
    if not BINARY:
        pytest.skip("set LIVEKIT_SERVER to the path of a livekit-server binary to run these tests")
    with running(tmp_path) as server:
        desk = LivekitDesk(server)
        try:
            yield desk
        finally:
            await desk.close()


@contextlib.asynccontextmanager
async def started(script: Path, desk: Desk, says: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """An agent's file run as its users do, from the line of its log on that says these words."""
    settings = {"LIVEKIT_URL": desk.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), "start"),
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    lines: list[str] = []

    async def read() -> None:
        while line := await process.stdout.readline():
            lines.append(line.decode())

    reading = asyncio.create_task(read())
    try:
        await until(lambda: any(says in line for line in lines) or reading.done(), 40)
        assert not reading.done(), "".join(lines)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def test_a_worker_without_a_name_gets_every_room_that_is_made(desk: LivekitDesk):
    await desk.work(program("sine").server)
    async with joined(desk.server, "ear") as ear, joined(desk.server, "other", room="second") as other:
        for client in (ear, other):
            samples = await listen(await client.remote_track("example-track"), RATE)
            assert peak(samples) == pytest.approx(440, abs=2)


async def test_a_file_that_is_started_works_and_leaves_when_it_is_told_to(desk: LivekitDesk):
    async with started(LOUD_AGENT, desk, "registered") as process, joined(desk.server, "ear") as ear:
        await desk.dispatch("loud")
        pitch, _ = await hear(await ear.remote_track("voice"))
        assert pitch == pytest.approx(660, abs=5)
        process.terminate()
        await ear.room.disconnect()
        assert await asyncio.wait_for(process.wait(), 40) == 0


@MODES
async def test_only_what_a_mode_subscribes_is_subscribed(desk: LivekitDesk, mode: AutoSubscribe, wanted: set[str]):
    """Told by the server to the publisher: which of its tracks the agent, its only receiver, has subscribed to."""
    rooms: list[rtc.Room] = []

    async def entrypoint(job: JobContext) -> None:
        rooms.append(job.room)

    def names() -> set[str]:
        return {track.name for track in subscribed(rooms[0])} if rooms else set()

    def told(ada: Client) -> set[str]:
        publications = ada.room.local_participant.track_publications
        return {publications[sid].name for sid in {track.sid for track, *_ in ada.events("local_track_subscribed")}}

    await desk.work(page(entrypoint, auto_subscribe=mode))
    async with joined(desk.server, "ada") as ada, tone(ada, 440), colour(ada, (200, 40, 40)):
        await desk.dispatch("page")
        await until(lambda: rooms and names() == wanted)
        async with tone(ada, 500, name="late tone"), colour(ada, (1, 2, 3), name="late picture"):
            expected = wanted | {f"late {name}" for name in wanted}
            await until(lambda: names() == expected and told(ada) == expected)
            [publisher] = rooms[0].remote_participants.values()
            publications = publisher.track_publications
            everything = {"tone", "picture", "late tone", "late picture"}
            await until(lambda: {each.name for each in publications.values()} == everything)
            assert names() == expected and told(ada) == expected
            for publication in publications.values():
                publication.set_subscribed(True)
            await until(lambda: names() == everything and told(ada) == everything)


@pytest.mark.parametrize("kind", [WorkerType.PUBLISHER, WorkerType.PARTICIPANT])
async def test_a_job_per_publisher_or_participant(desk: LivekitDesk, kind: WorkerType):
    met: list[str] = []

    async def entrypoint(job: JobContext) -> None:
        assert job.job.participant is not None
        met.append(job.job.participant.identity)

    worker = page(entrypoint)
    await desk.work(worker, worker_type=kind)
    async with joined(desk.server, "ada") as ada, joined(desk.server, "bob") as bob, tone(ada, 440):
        await desk.dispatch("page")
        await until(lambda: sorted(met) == (["ada"] if kind is WorkerType.PUBLISHER else ["ada", "bob"]))
        async with tone(bob, 500):
            await until(lambda: sorted(met) == ["ada", "bob"])
        async with joined(desk.server, "eve"):
            if kind is WorkerType.PARTICIPANT:
                await until(lambda: sorted(met) == ["ada", "bob", "eve"])
        assert len(worker.active_jobs) == len(met)


async def test_a_job_ends_well_and_a_deleted_room_ends_its_job(desk: LivekitDesk):
    begun: list[str] = []
    ends: list[str] = []

    async def entrypoint(job: JobContext) -> None:
        begun.append(job.room.name)
        job.add_shutdown_callback(ends.append)
        if job.room.name == "short":
            job.shutdown("done")

    worker = await desk.work(page(entrypoint))
    await desk.dispatch("page", room="short")
    await until(lambda: ends == ["done"])
    await desk.dispatch("page", room="long")
    await until(lambda: begun == ["short", "long"])
    await desk.api.room.delete_room(api.DeleteRoomRequest(room="long"))
    await until(lambda: not worker.active_jobs)
    assert len(ends) == 2 and "room deleted" in ends[1]


async def test_draining_lets_jobs_finish_and_takes_no_more(desk: LivekitDesk):
    """Unlike ours, the server does not offer a job later that no worker takes now: the other one is there before."""
    finish = asyncio.Event()
    ends: list[str] = []

    async def entrypoint(job: JobContext) -> None:
        job.add_shutdown_callback(lambda reason: ends.append(f"{job.room.name} {reason}"))
        await finish.wait()
        job.shutdown("finished")

    worker = await desk.work(page(entrypoint))
    await asyncio.gather(*(desk.dispatch("page", room=f"room-{number}") for number in range(3)))
    await until(lambda: len(worker.active_jobs) == 3)
    other = await desk.work(page(staff.page_hanger))
    draining = asyncio.create_task(worker.drain())
    await until(lambda: worker.draining)
    await asyncio.gather(*(desk.dispatch("page", room=f"late-{number}") for number in range(3)))
    await until(lambda: len(other.active_jobs) == 3)
    assert len(worker.active_jobs) == 3 and not ends
    finish.set()
    await asyncio.wait_for(draining, 10)
    assert sorted(ends) == [f"room-{number} finished" for number in range(3)]


async def test_a_dispatch_that_is_deleted_ends_its_job(desk: LivekitDesk):
    worker = await desk.work(program("sine").server, agent_name="sine")
    async with joined(desk.server, "ear") as ear:
        made = await desk.dispatch("sine")
        await ear.wait("track_subscribed")
        await desk.jobs()
        await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
        await ear.wait("participant_disconnected")
        await until(lambda: not worker.active_jobs)


async def test_a_still_picture_is_seen_by_who_joins_late_as_large_as_it_is(desk: LivekitDesk):
    """Captured once: the server counts an encoding without packets as stopped, and then shows none or a small one."""

    async def entrypoint(job: JobContext) -> None:
        source = rtc.VideoSource(1280, 720)
        track = rtc.LocalVideoTrack.create_video_track("slide", source)
        await job.agent.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA))
        source.capture_frame(rtc.VideoFrame(1280, 720, rtc.VideoBufferType.RGBA, bytes((200, 40, 40, 255)) * 921_600))
        shown.append(track)

    shown: list[rtc.LocalVideoTrack] = []
    await desk.work(page(entrypoint))
    for room in ("first", "second", "third"):
        async with joined(desk.server, "early", room=room) as early:
            await desk.dispatch("page", room=room)
            await see(await early.remote_track("slide"))
            await asyncio.sleep(3)  # six of the half seconds in which the server counts
            async with joined(desk.server, "late", room=room) as late:
                try:
                    seen, _ = await see(await late.remote_track("slide"), size=(1280, 720))
                    break
                except TimeoutError:
                    assert lost_an_encoding(desk.server, shown[-1].sid)
    assert all(abs(a - b) <= 8 for a, b in zip(seen, (200, 40, 40), strict=True))
    [figures] = await shown[-1].get_stats()
    # A frame per encoding; the rest are repeats.
    assert figures.frames == 3 and figures.repeats > 20


def lost_an_encoding(server: LivekitServer, sid: str) -> bool:
    """Whether the server's notices of a new encoding overtook each other: it then takes it for stopped for good.

    Once in some tens of rooms, whoever publishes: the last notice, stopped, comes within milliseconds of the first.
    """
    notices: dict[int, list[tuple[float, str]]] = {}
    for line in server.log.read_text().splitlines():
        if "stream tracker status changed" in line and sid in line:
            told = json.loads(line[line.index("{") :])
            seconds = float(line[17 : line.index("Z")])
            notices.setdefault(told["layer"], []).append((seconds, told["status"]))
    ends = [(each[0][0], *each[-1]) for each in notices.values()]
    return any(status == "stopped" and (last - first) % 60 < 0.1 for first, last, status in ends)


async def test_a_killed_server_gets_its_worker_and_its_agents_back(desk: LivekitDesk):
    registrations: list[str] = []
    worker = program("sine").server
    worker.on("worker_registered", lambda worker_id, info: registrations.append(worker_id))
    await desk.work(worker, agent_name="sine")
    async with joined(desk.server, "ear") as ear:
        await desk.dispatch("sine")
        await listen(await ear.remote_track("example-track"), RATE)
        desk.server.kill()
        desk.server.start()
        await until(lambda: len(registrations) == 2)
        async with joined(desk.server, "again") as again:
            samples = await listen(await again.remote_track("example-track"), RATE)
            assert peak(samples) == pytest.approx(440, abs=2)
        async with joined(desk.server, "elsewhere", room="other") as other:
            await desk.dispatch("sine", room="other")
            samples = await listen(await other.remote_track("example-track"), RATE)
            assert peak(samples) == pytest.approx(440, abs=2)
        assert len(worker.active_jobs) == 2


async def test_beside_a_worker_of_the_official_framework(desk: LivekitDesk):
    await desk.work(program("sine").server, agent_name="sine")
    async with started(OFFICIAL_AGENT, desk, "registered worker"), joined(desk.server, "ada") as ada:
        await asyncio.gather(desk.dispatch("sine"), desk.dispatch("tone"))
        pitch, _ = await hear(await ada.remote_track("voice"))
        assert pitch == pytest.approx(660, abs=5)
        samples = await listen(await ada.remote_track("example-track"), RATE)
        assert peak(samples) == pytest.approx(440, abs=2)
        agents = ada.room.remote_participants.values()
        assert {each.kind for each in agents} == {official.ParticipantKind.PARTICIPANT_KIND_AGENT}

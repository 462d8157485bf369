"""Whatever ends a job, at whatever instant: it is reported once, its callbacks run once, and nothing of it is left."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable

import pytest
from livekit import api
from livekit.protocol.agent import JobStatus

from greenroom.agents import AgentServer, JobContext, WorkerOptions
from tests.interop.official import until

from .conftest import Desk

pytestmark = pytest.mark.loopback

INSTANTS = [number * 0.012 for number in range(10)]


class Jobs:
    """A program that says everything about its jobs."""

    def __init__(self) -> None:
        self.contexts: dict[str, JobContext] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.callbacks: collections.Counter[str] = collections.Counter()
        self.endings: collections.Counter[str] = collections.Counter()

    async def entrypoint(self, ctx: JobContext) -> None:
        room = ctx.job.room.name
        self.contexts[room] = ctx
        task = asyncio.current_task()
        assert task is not None
        self.tasks[room] = task
        ctx.add_shutdown_callback(lambda: self.callbacks.update([room]))
        await ctx.connect()
        await asyncio.Event().wait()

    async def hired(self, desk: Desk) -> AgentServer:
        """A worker with this program."""
        options = WorkerOptions(entrypoint_fnc=self.entrypoint, agent_name="brief", entrypoint_timeout=0.1)
        worker = await desk.work(AgentServer(options))
        worker.on("job_ended", lambda job_id, error: self.endings.update([job_id]))
        return worker

    async def begun(self, room: str) -> JobContext:
        await until(lambda: room in self.contexts)
        return self.contexts[room]


async def delete_room(desk: Desk, jobs: Jobs, room: str) -> None:
    await desk.api.room.delete_room(api.DeleteRoomRequest(room=room))


async def delete_dispatch(desk: Desk, jobs: Jobs, room: str) -> None:
    [made] = await desk.api.agent_dispatch.list_dispatch(room)
    await desk.api.agent_dispatch.delete_dispatch(made.id, room)


async def shut_down(desk: Desk, jobs: Jobs, room: str) -> None:
    (await jobs.begun(room)).shutdown("enough")


async def disconnect(desk: Desk, jobs: Jobs, room: str) -> None:
    context = await jobs.begun(room)
    await until(context.room.isconnected)
    await context.room.disconnect()


async def cancel(desk: Desk, jobs: Jobs, room: str) -> None:
    await jobs.begun(room)
    jobs.tasks[room].cancel()


async def everything(desk: Desk, jobs: Jobs, room: str) -> None:
    """All at once."""
    await jobs.begun(room)
    await asyncio.gather(*(each(desk, jobs, room) for each in (shut_down, cancel, delete_room)))


ENDINGS: dict[str, tuple[Callable[[Desk, Jobs, str], object], bool]] = {
    "room deleted": (delete_room, True),
    "dispatch deleted": (delete_dispatch, True),
    "shutdown()": (shut_down, True),
    "disconnected": (disconnect, True),
    "cancelled": (cancel, False),
    "everything": (everything, True),
}


@pytest.mark.timeout(120)
async def test_an_ending_at_any_instant_ends_a_job_once(desk: Desk):
    """Six endings at ten instants each, all in one worker."""
    jobs = Jobs()
    worker = await jobs.hired(desk)

    async def one(name: str, number: int) -> None:
        room = f"{name} {number}"
        await desk.dispatch("brief", room=room)
        await asyncio.sleep(INSTANTS[number])
        await ENDINGS[name][0](desk, jobs, room)

    await asyncio.gather(*(one(name, number) for name in ENDINGS for number in range(len(INSTANTS))))
    await until(lambda: not worker.active_jobs)
    assert set(jobs.endings.values()) == {1}
    assert jobs.callbacks == collections.Counter(jobs.contexts.keys()), "once for each job that began"
    for room, live in desk.server.rooms.items():
        await until(lambda live=live: not live.participants)
        for dispatch in desk.server._core.dispatcher.machine.dispatches(room):
            for job in dispatch.state.jobs:
                name = room.rsplit(" ", 1)[0]
                wanted = JobStatus.JS_SUCCESS if ENDINGS[name][1] else JobStatus.JS_FAILED
                assert job.state.status == wanted or not job.state.participant_identity, (room, job)
    assert desk.server.statistics()["peers"] == 0


@pytest.mark.parametrize("how", ["aclose", "drain"])
async def test_the_end_of_a_worker_at_any_instant_ends_its_jobs_once(desk: Desk, how: str):
    for number in range(5):
        jobs = Jobs()
        worker = await jobs.hired(desk)
        rooms = [f"{how} {number} {each}" for each in range(4)]
        dispatching = [asyncio.ensure_future(desk.dispatch("brief", room=room)) for room in rooms]
        await asyncio.sleep(0.01 * number)
        async with asyncio.timeout(10):
            await (worker.aclose() if how == "aclose" else worker.drain(timeout=0.05))
        await asyncio.gather(*dispatching)
        assert set(jobs.endings.values()) <= {1} and len(jobs.endings) >= len(jobs.contexts)
        assert jobs.callbacks == collections.Counter(jobs.contexts.keys())
        for room in rooms:
            await until(lambda room=room: not desk.server.rooms[room].participants)
            await desk.api.room.delete_room(api.DeleteRoomRequest(room=room))


async def test_a_hundred_jobs_at_once_fill_four_workers_and_each_runs_once(desk: Desk):
    ran: collections.Counter[str] = collections.Counter()
    most: collections.Counter[int] = collections.Counter()
    workers: list[AgentServer] = []

    async def entrypoint(ctx: JobContext) -> None:
        ran.update([ctx.job.room.name])
        for number, worker in enumerate(workers):
            most[number] = max(most[number], len(worker.active_jobs))
        await asyncio.Event().wait()

    for _ in range(4):
        options = WorkerOptions(
            entrypoint_fnc=entrypoint, agent_name="many", max_jobs=25, entrypoint_timeout=0.1, load_fnc=lambda: 0.1
        )
        workers.append(await desk.work(AgentServer(options)))
    names = [f"room-{number}" for number in range(120)]
    await asyncio.gather(*(desk.dispatch("many", room=name) for name in names))
    await until(lambda: len(ran) == 100)
    assert [len(worker.active_jobs) for worker in workers] == [25] * 4
    gone, *left = workers
    gone_rooms = {each.job.room.name for each in gone.active_jobs}
    await gone.aclose()
    options = WorkerOptions(entrypoint_fnc=entrypoint, agent_name="many", max_jobs=45, entrypoint_timeout=0.1)
    workers.append(await desk.work(AgentServer(options)))
    await until(lambda: len(ran) == 120)
    assert set(ran.values()) == {1} and max(most.values()) <= 45
    assert all(most[number] <= 25 for number in range(4)) and len(gone_rooms) == 25 and left

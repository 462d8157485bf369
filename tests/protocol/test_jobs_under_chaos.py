"""Dispatch and worker machines together: whatever comes and goes, each job runs once and none is lost."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.protocol import dispatch_records as r
from greenroom.protocol import worker_io as io
from greenroom.protocol.dispatch import Dispatch
from greenroom.protocol.job_run import Ended, JobRun, Leave, Limits, Phase
from greenroom.protocol.worker import Worker, WorkerSettings
from greenroom.wire import messages as m

ENDED = (m.JobStatus.JS_SUCCESS, m.JobStatus.JS_FAILED)


class SimulatedWorker:
    """A worker whose program may be slow, unwilling or silent; its jobs run until they are told or like to end."""

    def __init__(self, world: World, slots: int, manners: random.Random | None) -> None:
        self.world = world
        self.slots = slots
        self.manners = manners
        self.machine = Worker(WorkerSettings(m.RegisterWorkerRequest(agent_name="x"), 2.0, slots, 10_000), lambda: 1.0)
        self.connection: int | None = None
        self.connect_at: float | None = 0.0
        self.asked: deque[str] = deque()
        self.running: dict[str, m.Job] = {}
        self.alive = True

    def apply(self, outputs: list[io.Output]) -> None:
        for output in outputs:
            match output:
                case io.Connect(delay):
                    self.connect_at = self.world.now + delay
                case io.Send(message) if self.connection is not None:
                    self.world.wire.append(("up", self.connection, message))
                case io.Ask(job):
                    self.asked.append(job.id)
                case io.Launch(job):
                    self.world.launched(self, job)
                case io.Shutdown(job_id):
                    self.finish(job_id)

    def connect(self) -> None:
        self.connection, self.connect_at = next(self.world.connections), None
        self.world.by_connection[self.connection] = self
        self.world.tell(r.WorkerOpened(self.connection))
        self.apply(self.machine.opened(self.world.now))

    def answer(self) -> None:
        job_id = self.asked.popleft()
        chance = self.manners.random() if self.manners is not None else 0.0
        if chance < 0.7:
            self.apply(self.machine.accept(self.world.now, job_id, io.Acceptance(identity=f"agent-{job_id}")))
        elif chance < 0.9:
            self.apply(self.machine.decline(self.world.now, job_id, terminate=False))

    def finish(self, job_id: str) -> None:
        job = self.running.pop(job_id, None)
        if job is not None:
            self.world.finished[job_id] = self
            self.apply(self.machine.job_outcome(job_id, ""))
            self.world.wire.append(
                ("leave", self.connection or 0, r.ParticipantGone(job.room.name, f"agent-{job_id}", True))
            )
            self.apply(self.machine.job_ended(self.world.now, job_id, ""))

    def lose(self, *, noticed: bool) -> None:
        """The network cuts the socket; the server may notice much later."""
        if self.connection is not None:
            connection, self.connection = self.connection, None
            self.world.half_open.append(connection)
            if noticed:
                self.world.notice()
            self.asked.clear()
            self.apply(self.machine.lost("cut"))


class World:
    """Machines, messages on their way, and virtual time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.connections = itertools.count(1)
        numbers = itertools.count(1)
        self.dispatch = Dispatch(
            lambda prefix: f"{prefix}{next(numbers)}", wall=0.0, reoffer=True, server_info=m.ServerInfo()
        )
        self.workers: list[SimulatedWorker] = []
        self.by_connection: dict[int, SimulatedWorker] = {}
        self.wire: deque[tuple[str, int, Any]] = deque()
        self.half_open: deque[int] = deque()
        self.gone: deque[r.ParticipantGone] = deque()
        self.ever: set[str] = set()
        self.finished: dict[str, SimulatedWorker] = {}
        self.rooms: list[str] = []

    def add(self, slots: int, manners: random.Random | None) -> None:
        worker = SimulatedWorker(self, slots, manners)
        self.workers.append(worker)
        worker.apply(worker.machine.start())

    def launched(self, worker: SimulatedWorker, job: m.Job) -> None:
        assert job.id not in self.ever, "a job runs twice"
        self.ever.add(job.id)
        worker.running[job.id] = job
        assert len(worker.running) <= worker.slots
        worker.apply(worker.machine.job_started(job.id))
        self.tell(r.AgentAppeared(job.room.name, f"agent-{job.id}"))

    def tell(self, event: r.DispatchInput) -> None:
        for output in self.dispatch.step(self.now, event):
            match output:
                case r.SendWorker(connection, message):
                    self.wire.append(("down", connection, message))
                case r.AssignJob(connection, job):
                    assignment = m.JobAssignment(token="t")
                    assignment.job.CopyFrom(job)
                    self.wire.append(("down", connection, m.ServerMessage(assignment=assignment)))
                case r.ReleaseAgent(room, identity, when):
                    self.release(room, identity, when)

    def release(self, room: str, identity: str, when: r.Release) -> None:
        for worker in self.workers:
            if identity.removeprefix("agent-") in worker.running:
                if when is r.Release.ALWAYS:
                    worker.finish(identity.removeprefix("agent-"))
                return
        self.gone.append(r.ParticipantGone(room, identity))

    def notice(self) -> None:
        if self.half_open:
            connection = self.half_open.popleft()
            self.by_connection.pop(connection, None)
            self.wire = deque(each for each in self.wire if each[0] == "leave" or each[1] != connection)
            self.tell(r.WorkerClosed(connection))

    def kill(self, worker: SimulatedWorker) -> None:
        worker.alive = False
        self.workers.remove(worker)
        worker.running.clear()
        if worker.connection is not None:
            self.half_open.append(worker.connection)
            self.notice()

    def deliver(self) -> None:
        way, connection, message = self.wire.popleft()
        worker = self.by_connection.get(connection)
        if way == "leave":
            self.tell(message)
        elif way == "up":
            self.tell(r.WorkerSaid(connection, message))
        elif worker is not None and worker.connection == connection and worker.alive:
            worker.apply(worker.machine.received(self.now, message))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            deadlines = [self.dispatch.deadline, *(each.machine.deadline for each in self.workers)]
            deadlines += [each.connect_at for each in self.workers]
            soonest = min((each for each in deadlines if each is not None), default=end)
            if soonest > end:
                break
            self.now = max(self.now, soonest)
            self.tell(r.Wake())
            for worker in self.workers:
                worker.apply(worker.machine.tick(self.now))
                if worker.connect_at is not None and worker.connect_at <= self.now:
                    worker.connect()
            self.flush()
        self.now = end

    def flush(self) -> None:
        while self.wire or self.gone:
            if self.wire:
                self.deliver()
            else:
                self.tell(self.gone.popleft())

    def open_room(self) -> None:
        name = f"room-{len(self.rooms)}"
        self.rooms.append(name)
        self.tell(r.RoomOpened(m.Room(sid=name, name=name), (m.RoomAgentDispatch(agent_name="x"),)))

    def happen(self) -> None:
        """Something, anything."""
        busy = [worker for worker in self.workers if worker.running]
        asked = [worker for worker in self.workers if worker.asked]
        match self.chance.choices(
            ["room", "deliver", "gone", "answer", "finish", "cut", "notice", "time"], [3, 12, 3, 6, 2, 1, 1, 2]
        )[0]:
            case "room":
                self.open_room()
            case "deliver" if self.wire:
                self.deliver()
            case "gone" if self.gone:
                self.tell(self.gone.popleft())
            case "answer" if asked:
                self.chance.choice(asked).answer()
            case "finish" if busy:
                worker = self.chance.choice(busy)
                worker.finish(self.chance.choice(list(worker.running)))
            case "cut" if self.workers:
                self.chance.choice(self.workers).lose(noticed=self.chance.random() < 0.5)
            case "notice":
                self.notice()
            case "time":
                self.pass_time(self.chance.choice([0.1, 1.0, 5.0]))

    def runs_of(self, room: str) -> list[m.Job]:
        return [job for worker in self.workers for job in worker.running.values() if job.room.name == room]

    def jobs_of(self, room: str) -> Iterator[m.Job]:
        for dispatch in self.dispatch.dispatches(room):
            yield from dispatch.state.jobs


@pytest.mark.parametrize("seed", range(60))
def test_no_job_runs_twice_and_none_is_lost(seed: int):
    world = World(seed)
    for _ in range(4):
        world.add(slots=world.chance.randint(1, 4), manners=world.chance)
    for step in range(600):
        world.happen()
        if step in (200, 350, 500) and world.workers:  # as often as a job may lose its worker
            world.kill(world.chance.choice(world.workers))
            world.add(slots=3, manners=world.chance)
    for worker in world.workers:
        worker.manners = None
    world.add(slots=10_000, manners=None)
    for _ in range(200):
        world.notice()
        world.pass_time(1.0)
        for worker in world.workers:
            while worker.asked:
                worker.answer()
        world.flush()
    for room in world.rooms:
        jobs, runs = list(world.jobs_of(room)), world.runs_of(room)
        finished = [job for job in jobs if job.id in world.finished]
        reported = [job for job in finished if job.state.status == m.JobStatus.JS_SUCCESS]
        assert len(runs) + len(reported) == 1, (room, jobs, runs)
        for job in finished:
            assert job in reported or not world.finished[job.id].alive, "only the dead do not report"
        if runs:
            assert [job.id for job in jobs if job.state.status not in ENDED] == [runs[0].id]
    for worker in world.workers:
        assert worker.machine.running == len(worker.running)


def test_a_hundred_jobs_at_once_are_spread_and_no_limit_is_exceeded():
    world = World(0)
    for _ in range(4):
        world.add(slots=25, manners=None)
    world.pass_time(0.0)
    for _ in range(100):
        world.open_room()
    while world.wire or any(worker.asked for worker in world.workers):
        world.flush()
        for worker in world.workers:
            while worker.asked:
                worker.answer()
    assert [len(worker.running) for worker in world.workers] == [25, 25, 25, 25]


def test_a_burst_goes_to_all_workers_although_their_loads_differ_a_little():
    world = World(0)
    for load in (0.0, 0.1, 0.2, 0.3):
        world.add(slots=25, manners=None)
        world.pass_time(0.0)
        worker = world.workers[-1]
        worker.apply(worker.machine.set_load(0.0, load))
        world.pass_time(3.0)
    for _ in range(40):
        world.open_room()
    shares = [len(worker.asked) for worker in world.workers if not world.flush()]
    assert sum(shares) == 40 and shares == sorted(shares, reverse=True) and min(shares) >= 5, shares


# -- the end of one job ----------------------------------------------------------------------------------------------

ENDINGS = {
    "shutdown": lambda run, now: run.shutdown(now, "shutdown()"),
    "signal": lambda run, now: run.shutdown(now, "worker closed"),
    "room deleted": lambda run, now: run.room_ended(now, "room deleted"),
    "disconnected": lambda run, now: run.room_ended(now, "disconnected"),
    "terminated": lambda run, now: run.shutdown(now, "ended by the server"),
    "cancelled": lambda run, now: run.failed(now, "cancelled"),
    "crashed": lambda run, now: run.failed(now, "crashed"),
    "link lost": None,
}
LIMITS = Limits(entrypoint=1.0, callbacks=2.0, session=1.0)


INSTANTS = (0.0, 0.1, 0.3, 0.5, 0.9, 1.0, 1.5, 2.5)
PROGRAMS = (None, 0.3, 3.0)


@pytest.mark.parametrize("first", ENDINGS)
def test_whatever_ends_a_job_whenever_it_is_reported_once(first: str):
    """Two causes, each at eight instants of a job's life and end, for programs that return soon, late and never."""
    for second, earlier, later, returns in itertools.product(ENDINGS, INSTANTS, INSTANTS, PROGRAMS):
        causes = ((first, earlier), (second, later))
        machine, run = Worker(WorkerSettings(m.RegisterWorkerRequest()), lambda: 1.0), JobRun(LIMITS)
        machine.adopt("j")
        out, reports = run.start(0.0), []
        leaving, done, ended = None, False, False
        for now in (tick / 10 for tick in range(80)):
            for name in (name for name, at in causes if at == now):
                by_the_entrypoint = name in ("cancelled", "crashed")
                if name != "link lost" and not (by_the_entrypoint and done):
                    ended, done = True, done or by_the_entrypoint
                    out += ENDINGS[name](run, now)
            if returns == now and not done:
                done = True
                out += run.returned(now)
            out += run.tick(now)
            leaves = [each for each in out if isinstance(each, Leave)]
            if leaves and leaving is None:
                leaving = now + 0.5
                reports += machine.job_outcome("j", leaves[0].error) or [leaves[0]]
                run.session_over(now)
            if leaving == now:
                out += run.left()
        endings = [each for each in out if isinstance(each, Ended)]
        assert len(endings) == len(reports) == len(leaves) == ended, (causes, returns)
        assert (run.phase is Phase.ENDED) == ended
        if endings:
            assert not machine.job_ended(10.0, "j", endings[0].error) and not machine.running

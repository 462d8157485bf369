"""Programs that misbehave: their job ends with a readable reason, and nothing else happens to anybody else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import psutil
import pytest
from livekit import api

from greenroom.agents import AgentServer, AutoSubscribe, JobContext, JobExecutorType, JobRequest, WorkerOptions
from greenroom.errors import AssignmentTimeoutError, ConfigError, StateError
from greenroom.protocol import job_run
from greenroom.protocol import worker as worker_machine
from tests.interop.official import joined, until

from . import rough
from .conftest import KEY, SECRET, Desk

pytestmark = pytest.mark.loopback

TASK, THREAD, PROCESS = JobExecutorType.TASK, JobExecutorType.THREAD, JobExecutorType.PROCESS


@pytest.fixture(autouse=True)
async def short_grace(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Who ignores being cancelled is not worth waiting for here; and nobody does so longer than a test."""
    monkeypatch.setattr(job_run, "CANCEL_GRACE", 0.2)
    rough.mercy.clear()
    yield
    rough.mercy.set()


def worker(entrypoint, kind: JobExecutorType = TASK, **options) -> AgentServer:
    options = {"agent_name": "rough", "entrypoint_timeout": 0.2, "shutdown_process_timeout": 1.0, **options}
    return AgentServer(WorkerOptions(entrypoint_fnc=entrypoint, job_executor_type=kind, **options))


async def ended(worker: AgentServer) -> None:
    """Every job of the worker is over."""
    await until(lambda: not worker.active_jobs)


async def here(desk: Desk, room: str = "lab") -> None:
    """An agent has joined the room."""
    await until(lambda: room in desk.server.rooms and desk.server.rooms[room].participants)


MISTAKES = {
    "raise": "LookupError: its own mistake",
    "strange": "Strange: neither fish nor flesh",
    "exit": "SystemExit: 3",
    "interrupt": "KeyboardInterrupt",
    "cancelled": "CancelledError",
    "cancels itself": "CancelledError",
    "wordless": "Unspeakable",
    "wordy": "and that was all",
    "nested loop": "cannot be called from a running event loop",
}


@pytest.mark.parametrize("kind", list(JobExecutorType))
@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited")
async def test_whatever_an_entrypoint_raises_ends_its_own_job_with_a_reason(desk: Desk, kind: JobExecutorType):
    """All at once in one worker, beside a job that goes on."""
    rough_worker = await desk.work(worker(rough.misbehave, kind))
    endings: list[str] = []
    rough_worker.on("job_ended", lambda job_id, error: endings.append(job_id))
    await desk.dispatch("rough", room="bystander", metadata="nothing")
    await until(lambda: len(rough_worker.active_jobs) == 1)
    await asyncio.gather(*(desk.dispatch("rough", room=mistake, metadata=mistake) for mistake in MISTAKES))
    for mistake, words in MISTAKES.items():
        error = (await desk.job("JS_FAILED", mistake)).state.error
        assert words in error and len(error) < 11_000, mistake
    await until(lambda: len(rough_worker.active_jobs) == 1)
    assert len(endings) == len(set(endings)) == len(MISTAKES)
    assert (await desk.job("JS_RUNNING", "bystander")).state.error == ""


@pytest.mark.parametrize("kind", [TASK, PROCESS])
async def test_a_child_that_a_job_forks_does_not_go_on_as_if_it_were_the_job(desk: Desk, kind, capfd):
    forking = await desk.work(worker(rough.fork, kind))
    await desk.dispatch("rough")
    room = desk.server.rooms["lab"]
    await until(lambda: any("child" in each.info().attributes for each in room.machine.state.members.values()))
    [agent] = room.machine.state.members.values()
    assert agent.info().attributes["child"] == "1" and len(forking.active_jobs) == 1
    said = capfd.readouterr().err
    assert "forked by a job's code ends here" in said and "the child went on" not in said


@pytest.mark.parametrize("kind", list(JobExecutorType))
async def test_an_entrypoint_that_cannot_be_stopped_holds_neither_its_slot_nor_the_worker(desk: Desk, kind):
    deaf = await desk.work(worker(rough.deaf, kind, max_jobs=1))
    for room in ("first", "second"):
        await desk.dispatch("rough", room=room)
        await until(lambda: deaf.active_jobs)
        await here(desk, room)
        await desk.api.room.delete_room(api.DeleteRoomRequest(room=room))
        await ended(deaf)
    await desk.dispatch("rough", room="third")
    await here(desk, "third")
    async with asyncio.timeout(15):
        await deaf.aclose()


# -- the end of a job --------------------------------------------------------------------------------


async def test_callbacks_that_fail_keep_no_other_from_running_once(desk: Desk):
    ran: list[str] = []

    def note(name: str, error: BaseException | None = None):
        def callback() -> None:
            ran.append(name)
            if error is not None:
                raise error

        return callback

    async def with_reason(reason: str) -> None:
        ran.append(reason)

    async def entrypoint(ctx: JobContext) -> None:
        for error in (LookupError(), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), rough.Strange()):
            ctx.add_shutdown_callback(note(type(error).__name__, error))
        ctx.add_shutdown_callback(with_reason)
        ctx.add_shutdown_callback(note("last"))
        await ctx.connect()
        ctx.shutdown("enough")

    callbacks = await desk.work(worker(entrypoint))
    await desk.dispatch("rough")
    assert (await desk.job("JS_SUCCESS")).state.error == ""
    await ended(callbacks)
    assert sorted(ran) == sorted(
        ["LookupError", "SystemExit", "KeyboardInterrupt", "CancelledError", "Strange", "enough", "last"]
    )


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_callback_that_hangs_is_given_up_after_the_others_ran(desk: Desk, deaf: bool, caplog):
    ran: list[str] = []

    async def hangs() -> None:
        while not rough.mercy.is_set():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not deaf:
                    raise

    async def entrypoint(ctx: JobContext) -> None:
        ctx.add_shutdown_callback(hangs)
        ctx.add_shutdown_callback(lambda: ran.append("other"))
        await ctx.connect()
        ctx.shutdown("enough")

    callbacks = await desk.work(worker(entrypoint))
    await desk.dispatch("rough")
    await until(lambda: ran == ["other"])
    await ended(callbacks)
    assert "goes on without its shutdown callbacks" in caplog.text
    await until(lambda: not desk.server.rooms["lab"].participants)


@pytest.mark.parametrize("how", ["hangs", "exits", "raises"])
async def test_the_handler_of_a_sessions_end_has_its_own_time_and_keeps_nobody(desk: Desk, how: str):
    order: list[str] = []
    server = AgentServer(session_end_timeout=0.3, entrypoint_timeout=0.2, shutdown_process_timeout=5.0)

    async def session_end(ctx: JobContext) -> None:
        order.append("session end" if ctx.room.isconnected() else "too late")
        if how == "hangs":
            await asyncio.Event().wait()
        raise SystemExit if how == "exits" else LookupError("in the handler")

    @server.rtc_session(agent_name="rough", on_session_end=session_end)
    async def entrypoint(ctx: JobContext) -> None:
        ctx.add_shutdown_callback(lambda: order.append("callback"))
        await ctx.connect()
        ctx.shutdown("enough")

    await desk.work(server)
    await desk.dispatch("rough")
    assert (await desk.job("JS_SUCCESS")).state.error == ""
    await ended(server)
    assert order == ["session end", "callback"] and not desk.server.rooms["lab"].participants


async def test_participant_entrypoints_that_misbehave_end_themselves_only(desk: Desk, caplog):
    met: list[str] = []

    async def exits(ctx: JobContext, participant) -> None:
        raise SystemExit(1)

    async def deaf(ctx: JobContext, participant) -> None:
        while not rough.mercy.is_set():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    def plain(ctx: JobContext, participant) -> None:
        met.append(participant.identity)

    async def entrypoint(ctx: JobContext) -> None:
        for function in (exits, deaf, plain):
            ctx.add_participant_entrypoint(function)
        ctx.add_shutdown_callback(lambda: met.append("callback"))
        await ctx.connect()

    participants = await desk.work(worker(entrypoint))
    async with joined(desk.server, "ada"):
        made = await desk.dispatch("rough")
        await until(lambda: met == ["ada"])
        assert len(participants.active_jobs) == 1
        await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
        await ended(participants)
    assert met == ["ada", "callback"] and "ignores that it is cancelled" in caplog.text


# -- requests --------------------------------------------------------------------------------


async def test_requests_that_misbehave_free_their_slot_and_go_to_others(desk: Desk, monkeypatch, caplog):
    monkeypatch.setattr(worker_machine, "ANSWER_TIMEOUT", 0.3)
    caught: dict[str, BaseException] = {}

    async def request(req: JobRequest) -> None:
        match req.room.name:
            case "raises":
                raise LookupError("in the request function")
            case "exits":
                raise SystemExit
            case "hangs":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as error:
                    caught["hangs"] = error
                    raise
            case "is late":
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    await _caught(caught, "is late", req.accept(rough.wait))
            case "answers twice":
                await req.accept(rough.wait)
                await _caught(caught, "answers twice", req.reject())
            case "accepts nothing":
                await _caught(caught, "accepts nothing", req.accept("rough.wait"))
                await _caught(caught, "no entrypoint", req.accept())

    options = WorkerOptions(request_fnc=request, agent_name="rough", max_jobs=1, entrypoint_timeout=0.1)
    rough_worker = await desk.work(AgentServer(options))
    waiting = ["raises", "exits", "is silent", "hangs", "is late", "accepts nothing"]
    for room in waiting:
        await desk.dispatch("rough", room=room)
        offers = desk.server._core.dispatcher.machine
        await until(lambda offers=offers, room=room: _waits(offers, room))
        assert not rough_worker.active_jobs
    await desk.dispatch("rough", room="answers twice")
    await until(lambda: rough_worker.active_jobs and "answers twice" in caught)
    kinds = {name: type(error) for name, error in caught.items()}
    assert kinds == {
        "hangs": asyncio.CancelledError,
        "is late": AssignmentTimeoutError,
        "answers twice": StateError,
        "accepts nothing": ConfigError,
        "no entrypoint": ConfigError,
    }
    assert "in the request function" in caplog.text and "not answered within" in caplog.text

    async def willing(req: JobRequest) -> None:
        await req.accept(rough.wait, auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)

    other = await desk.work(AgentServer(WorkerOptions(request_fnc=willing, agent_name="rough", entrypoint_timeout=0.1)))
    await until(lambda: len(other.active_jobs) == len(waiting))
    assert {each.job.room.name for each in other.active_jobs} == set(waiting)


async def _caught(caught: dict[str, BaseException], name: str, answering) -> None:
    try:
        await answering
    except Exception as error:
        caught[name] = error


def _waits(machine, room: str) -> bool:
    """Whether the room's job was offered and declined."""
    jobs = [job for record in machine._dispatches.get(room, {}).values() for job in record.jobs.values()]
    return bool(jobs) and all(job.waiting and job.tried for job in jobs)


async def test_a_load_function_that_fails_says_so_once_and_no_number_means_full(desk: Desk, caplog):
    asked = asyncio.Event()
    told: list[float] = [0.1]

    def load() -> float:
        asked.set()
        if not told:
            raise LookupError("no load today")
        return told[0]

    loaded = await desk.work(worker(rough.answer, load_fnc=load, load_threshold=0.7))
    told[0] = float("nan")
    await until(lambda: loaded._running.machine.full)
    told.clear()
    for _ in range(3):
        asked.clear()
        await asked.wait()
    assert caplog.text.count("load_fnc failed") == 1
    told.append(0.2)
    await until(lambda: not loaded._running.machine.full)
    await desk.dispatch("rough")
    await desk.job("JS_RUNNING")


# -- processes --------------------------------------------------------------------------------


async def test_a_process_that_dies_says_of_what(desk: Desk):
    dying = await desk.work(worker(rough.misbehave, PROCESS))
    await asyncio.gather(*(desk.dispatch("rough", room=way, metadata=way) for way in ("segfault", "leave")))
    endings: dict[str, str] = {}
    dying.on("job_ended", lambda job_id, error: endings.update({job_id: error}))
    await until(lambda: len(endings) == 2)
    assert sorted(endings.values()) == ["its process ended with status 7", "its process was ended by SIGSEGV"]


async def test_a_process_that_left_a_fork_behind_is_over_when_it_has_died(desk: Desk):
    leaving = await desk.work(worker(rough.forks_and_dies, PROCESS))
    endings: list[str] = []
    leaving.on("job_ended", lambda job_id, error: endings.append(error))
    await desk.dispatch("rough")
    async with asyncio.timeout(6):
        await until(lambda: endings == ["its process ended with status 9"])


async def test_a_stopped_process_is_killed_when_its_job_is_to_end(desk: Desk):
    stopped = await desk.work(worker(rough.answer, PROCESS))
    made = await desk.dispatch("rough")
    await here(desk)
    [process] = stopped._running._executor._jobs.values()
    os.kill(process.pid, signal.SIGSTOP)
    await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
    await ended(stopped)
    await until(lambda: not psutil.pid_exists(process.pid))


async def test_an_idle_process_that_is_killed_is_replaced_and_the_next_job_succeeds(desk: Desk):
    prewarmed = await desk.work(worker(rough.answer, PROCESS, num_idle_processes=2))
    executor = prewarmed._running._executor
    before = {each.pid for each in executor._idle}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await desk.dispatch("rough", room="at once")
    await desk.job("JS_RUNNING", "at once")
    await until(lambda: len(executor._idle) == 2, 1.5)
    assert not before & {each.pid for each in executor._idle}
    await desk.dispatch("rough", room="later")
    await desk.job("JS_RUNNING", "later")


async def test_jobs_survive_the_process_that_they_were_forked_from_and_new_ones_begin(desk: Desk):
    forking = await desk.work(worker(rough.answer, PROCESS, num_idle_processes=1))
    executor = forking._running._executor
    await desk.dispatch("rough", room="before")
    await desk.job("JS_RUNNING", "before")
    os.kill(executor._server.pid, signal.SIGKILL)
    await asyncio.gather(*(desk.dispatch("rough", room=f"after-{number}") for number in range(4)))
    for number in range(4):
        await desk.job("JS_RUNNING", f"after-{number}")
    assert len(forking.active_jobs) == 5
    await desk.job("JS_RUNNING", "before")
    processes = [each.pid for each in [*executor._jobs.values(), *executor._idle]]
    await forking.aclose()
    await until(lambda: not any(map(psutil.pid_exists, processes)))


async def test_signals_to_the_whole_group_do_not_cut_jobs(desk: Desk):
    """As service managers send them, while the worker lets its jobs finish."""
    group = await desk.work(worker(rough.answer, PROCESS, num_idle_processes=1))
    executor = group._running._executor
    await desk.dispatch("rough")
    await desk.job("JS_RUNNING")
    [process] = executor._jobs.values()
    for pid in (executor._server.pid, process.pid):
        for each in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, each)
    await desk.dispatch("rough", room="second")
    await desk.job("JS_RUNNING", "second")
    assert len(group.active_jobs) == 2 and psutil.pid_exists(process.pid)


async def test_a_job_that_is_ended_before_its_process_is_there_does_not_begin(desk: Desk):
    ending = await desk.work(worker(rough.answer, PROCESS, num_idle_processes=0))
    executor = ending._running._executor
    os.kill(executor._server.pid, signal.SIGSTOP)
    endings: list[str] = []
    ending.on("job_ended", lambda job_id, error: endings.append(error))
    made = await desk.dispatch("rough")
    await until(lambda: ending.active_jobs)
    await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
    await until(lambda: endings == [""])
    os.kill(executor._server.pid, signal.SIGCONT)
    await desk.dispatch("rough", room="second")
    await desk.job("JS_RUNNING", "second")
    await until(lambda: len(desk.server.rooms["second"].participants) == 1)
    assert not desk.server.rooms["lab"].participants


@pytest.mark.parametrize(
    ("prewarm", "says"),
    [(rough.prewarm_fails, "what prewarm_fnc raised"), (rough.prewarm_hangs, "initialize_process_timeout=0.5")],
)
async def test_a_prewarm_function_that_fails_or_hangs_ends_the_worker_with_a_reason(desk: Desk, prewarm, says):
    options = {"prewarm_fnc": prewarm, "num_idle_processes": 1, "initialize_process_timeout": 0.5}
    failing = worker(rough.answer, PROCESS, **options)
    failing.update_options(ws_url=desk.url, api_key=KEY, api_secret=SECRET)
    async with asyncio.timeout(10):
        with pytest.raises(ConfigError, match=says):
            await failing.run(devmode=True)


async def test_a_prewarm_function_that_fails_in_the_workers_own_process_is_raised(desk: Desk):
    failing = worker(rough.answer, TASK, prewarm_fnc=rough.prewarm_fails)
    failing.update_options(ws_url=desk.url, api_key=KEY, api_secret=SECRET)
    with pytest.raises(LookupError, match="nothing to prewarm"):
        await failing.run(devmode=True)


async def test_a_program_that_cannot_be_sent_to_a_process_is_refused_with_a_reason(desk: Desk):
    await desk.work(worker(lambda ctx: rough.answer(ctx), PROCESS))
    await desk.dispatch("rough")
    assert "top level of its module" in (await desk.job("JS_FAILED")).state.error

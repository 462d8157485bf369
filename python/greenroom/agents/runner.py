"""Runs one job on the running event loop: the machine of its life with a clock, a task and a room."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import inspect
import logging
import os
import traceback
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from greenroom import rtc
from greenroom.agents.context import JobContext, JobProcess
from greenroom.agents.job import AutoDisconnect, AutoSubscribe, RunningJobInfo
from greenroom.protocol import job_run as run
from greenroom.runtime.tasks import TaskSet

__all__ = ["JobLaunch", "JobRunner", "Watcher", "import_for_joining"]

log = logging.getLogger("greenroom.agents")

_FOR_JOINING = (
    "encodings.idna",
    "jwt",
    "uuid",
    "greenroom.rtc._connection",
    "greenroom.rtc._dispatch",
    "greenroom.rtc._rpc_runner",
    "greenroom.rtc._stream_runner",
    "greenroom.rtc.data_track",
    "greenroom.rtc.e2ee",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLaunch:
    """Everything a job needs to run.

    Attributes:
        auto_subscribe: the room is joined so before the entrypoint runs; None = the entrypoint joins it.
        session_end: runs when the entrypoint is over, before the room is left.
    """

    info: RunningJobInfo
    entrypoint: Callable[[JobContext], Awaitable[None] | None]
    auto_subscribe: AutoSubscribe | None = None
    auto_disconnect: AutoDisconnect = AutoDisconnect.NONE
    limits: run.Limits = field(default_factory=run.Limits)
    session_end: Callable[[JobContext], Awaitable[None] | None] | None = None
    session_end_timeout: float = 300.0
    api_key: str = ""
    api_secret: str = ""

    def limits_of_end(self) -> run.Limits:
        """How long the steps of its end may take."""
        session = self.session_end_timeout if self.session_end is not None else 0.0
        return dataclasses.replace(self.limits, session=session)


class Watcher(Protocol):
    """Who is told how a job fares."""

    def joined(self) -> None:
        """Its agent is in the room."""

    def started(self) -> None:
        """Its entrypoint runs."""

    async def outcome(self, error: str) -> None:
        """Its entrypoint is over and the agent is about to leave. Returns when that was reported."""

    def ended(self, error: str) -> None:
        """Nothing of it is left; `error` is "" when it went well."""


def import_for_joining() -> None:
    """Import what joining a room needs and `import greenroom.rtc` leaves for later, so that no job waits for it."""
    for name in _FOR_JOINING:
        importlib.import_module(name)


class JobRunner:
    """One job."""

    def __init__(self, launch: JobLaunch, proc: JobProcess, watcher: Watcher) -> None:
        self._launch = launch
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._machine = run.JobRun(launch.limits_of_end())
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = TaskSet(log)
        self._entry: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self.context = JobContext(launch, proc, self._connected)
        _loops.add(self._loop)

    def start(self) -> None:
        """Begin."""
        self._apply(self._machine.start(self._loop.time()))

    def shutdown(self, reason: str) -> None:
        """End the job, in order."""
        self._apply(self._machine.shutdown(self._loop.time(), reason))

    async def wait(self) -> None:
        """Return when the job is over."""
        await self._over.wait()

    # -- the entrypoint ----------------------------------------------------------------------------------------------

    async def _run_entrypoint(self) -> None:
        self.context._bind(self.shutdown)
        try:
            if self._launch.auto_subscribe is not None:
                # No other task runs between the end of connecting and the entrypoint's first suspension: the room
                # delivers its first event after it.
                await self.context.connect(auto_subscribe=self._launch.auto_subscribe)
            self._watcher.started()
            result = self._launch.entrypoint(self.context)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError as error:
            if self._machine.phase is run.Phase.RUNNING:
                self._failed(error)  # by the program itself: nobody here has cancelled it
            else:
                self._apply(self._machine.returned(self._loop.time()))
            raise
        except BaseException as error:  # noqa: BLE001 - also sys.exit() and the like end this job only
            self._failed(error)
        else:
            self._apply(self._machine.returned(self._loop.time()))

    def _failed(self, error: BaseException) -> None:
        job = self.context.job
        if self._machine.phase is not run.Phase.RUNNING:
            log.info("job %s: its entrypoint ended with %r after the job was to end", job.id, error)
            self._apply(self._machine.returned(self._loop.time()))
            return
        trace = "".join(traceback.format_exception(type(error), error, _user_frames(error)))
        trace = run.shorten_error(trace)
        log.error("job %s in room %r: the entrypoint failed, the job ends\n%s", job.id, job.room.name, trace)
        self._apply(self._machine.failed(self._loop.time(), trace))

    def _connected(self) -> None:
        self._machine.connected()
        self._schedule()
        self.context.room.on("disconnected", self._room_ended)
        self._watcher.joined()

    def _room_ended(self, reason: rtc.DisconnectReason) -> None:
        words = rtc.DisconnectReason(reason).name.lower().replace("_", " ")
        self._apply(self._machine.room_ended(self._loop.time(), f"room disconnected: {words}"))

    # -- the machine -------------------------------------------------------------------------------------------------

    def _apply(self, outputs: list[run.Output]) -> None:
        for output in outputs:
            self._carry_out(output)
        self._schedule()

    def _carry_out(self, output: run.Output) -> None:
        job = self.context.job
        match output:
            case run.RunEntrypoint():
                self._entry = self._tasks.spawn(self._run_entrypoint(), name=f"entrypoint of job {job.id}")
            case run.CancelEntrypoint():
                if self._entry is not None:
                    self._entry.cancel()
            case run.Leave(reason=reason, error=error):
                self._leaving = self._tasks.spawn(self._leave(reason, error), name=f"end of job {job.id}")
            case run.Abandon(what=what):
                task = self._entry if what == "entrypoint" else self._leaving
                log.error("job %s goes on without its %s, which hang here:\n%s", job.id, what, _stack(task))
                if task is not None:
                    task.cancel()
            case run.WarnNotConnected():
                log.warning("job %s has not joined its room: is `await ctx.connect()` missing?", job.id)
            case run.Ended(error=error):
                self._over.set()
                self._watcher.ended(error)

    async def _leave(self, reason: str, error: str) -> None:
        self.context._bind(self.shutdown)
        try:
            try:
                await self._watcher.outcome(error)
            except Exception:
                log.exception("job %s: its outcome could not be reported", self.context.job.id)
            await self._end_session()
            self._machine.session_over(self._loop.time())
            self._schedule()
            await self.context._end(reason)
        finally:
            self._apply(self._machine.left())

    async def _end_session(self) -> None:
        """Call the handler of the session's end, if there is one. Whatever it does, the job goes on ending."""
        handler, job = self._launch.session_end, self.context.job
        if handler is None:
            return
        handling = self._tasks.spawn(_call(handler, self.context), name=f"end of the session of job {job.id}")
        await asyncio.wait([handling], timeout=self._launch.session_end_timeout)
        if not handling.done():
            log.error("job %s goes on without its session's end, which hangs here:\n%s", job.id, _stack(handling))
            handling.cancel()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._machine.deadline is not None:
            self._timer = self._loop.call_at(self._machine.deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._apply(self._machine.tick(self._loop.time()))


async def _call(function: Callable[[JobContext], Awaitable[None] | None], context: JobContext) -> None:
    """Run a program's function so that what it raises, sys.exit() included, is an error of its own only."""
    try:
        result = function(context)
        if inspect.isawaitable(result):
            await result
    except asyncio.CancelledError:
        raise
    except BaseException:
        log.exception("job %s: %r failed", context.job.id, function)


#: Loops with jobs.
_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def _end_in_child() -> None:
    """Keep a fork of a job's process from going on as if it were that: both would share every socket."""
    for loop in list(_loops):
        with contextlib.suppress(RuntimeError):
            loop.call_soon(_exit_child)
        if isinstance(ready := getattr(loop, "_ready", None), deque):
            ready.rotate(1)  # what waits before it may need a lock whose holder was not forked


def _exit_child() -> None:
    os.write(2, b"a process forked by a job's code ends here: only the one that was forked has the job\n")
    os._exit(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_in_child)


def _user_frames(error: BaseException) -> TracebackType | None:
    """The traceback without our own frame at its top."""
    trace = error.__traceback__
    return trace.tb_next if trace is not None and trace.tb_next is not None else trace


def _stack(task: asyncio.Task[None] | None) -> str:
    """Where a task waits, innermost last."""
    lines: list[str] = []
    awaited: Any = task.get_coro() if task is not None else None
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        lines += traceback.format_stack(frame, limit=1)
        awaited = awaited.cr_await
    return "".join(lines)

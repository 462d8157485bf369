"""Where jobs run: as tasks of this loop, or each in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from greenroom.agents.context import JobProcess
from greenroom.agents.options import JobExecutorType
from greenroom.agents.runner import JobLaunch, JobRunner
from greenroom.errors import ConfigError
from greenroom.runtime.bridge import abandon_bridge

__all__ = ["Events", "Executor", "ProcSetup", "TaskExecutor", "ThreadExecutor", "preload", "prewarm"]

log = logging.getLogger("greenroom.agents")

Prewarm = Callable[[JobProcess], Any]
#: Seconds that a job's thread has beyond the job's own limits.
_THREAD_GRACE = 2.0


@dataclass(frozen=True, slots=True)
class ProcSetup:
    """What a process needs before its first job: the prewarm function, modules to import, the proxy for HTTP."""

    prewarm_fnc: Prewarm | None = None
    preload_modules: Sequence[str] = ()
    http_proxy: str | None = None


class Events(Protocol):
    """Who is told how jobs fare; always on the worker's loop."""

    def job_joined(self, job_id: str) -> None:
        """Its agent is in the room."""

    def job_started(self, job_id: str) -> None:
        """Its entrypoint runs."""

    async def job_outcome(self, job_id: str, error: str) -> None:
        """Its entrypoint is over and the agent is about to leave. Returns when that was reported."""

    def job_ended(self, job_id: str, error: str) -> None:
        """It is over; `error` is "" when it went well."""


class Executor(Protocol):
    """Runs jobs."""

    async def start(self) -> None:
        """Get ready. Raises whatever the prewarm function raises."""

    def launch(self, launch: JobLaunch) -> None:
        """Run a job."""

    def shutdown(self, job_id: str, reason: str) -> None:
        """End a job, in order. An unknown one is ignored."""

    async def close(self) -> None:
        """End what is left. Idempotent."""


class TaskExecutor:
    """All jobs on the worker's own loop."""

    def __init__(self, events: Events, setup: ProcSetup) -> None:
        self._events = events
        self._setup = setup
        self._proc = JobProcess(executor_type=JobExecutorType.TASK, http_proxy=setup.http_proxy)
        self._runners: dict[str, JobRunner] = {}

    async def start(self) -> None:
        """Import what is to be imported before, and run the prewarm function."""
        preload(self._setup.preload_modules)
        await prewarm(self._setup.prewarm_fnc, self._proc)

    def launch(self, launch: JobLaunch) -> None:
        """Run a job."""
        job_id = launch.info.job.id
        runner = self._runners[job_id] = JobRunner(launch, self._proc, _JobTask(self._events, self._runners, job_id))
        runner.start()

    def shutdown(self, job_id: str, reason: str) -> None:
        """End a job, in order."""
        if job_id in self._runners:
            self._runners[job_id].shutdown(reason)

    async def close(self) -> None:
        """End every job and wait for it."""
        runners = list(self._runners.values())
        for runner in runners:
            runner.shutdown("worker closed")
        await asyncio.gather(*(runner.wait() for runner in runners))


class _JobTask:
    def __init__(self, events: Events, runners: dict[str, JobRunner], job_id: str) -> None:
        self._events = events
        self._runners = runners
        self._job_id = job_id

    def joined(self) -> None:
        self._events.job_joined(self._job_id)

    def started(self) -> None:
        self._events.job_started(self._job_id)

    async def outcome(self, error: str) -> None:
        await self._events.job_outcome(self._job_id, error)

    def ended(self, error: str) -> None:
        del self._runners[self._job_id]
        self._events.job_ended(self._job_id, error)


class ThreadExecutor:
    """Each job in a thread with a loop of its own."""

    def __init__(self, events: Events, setup: ProcSetup) -> None:
        self._events = events
        self._setup = setup
        self._loop = asyncio.get_running_loop()
        self._proc = JobProcess(executor_type=JobExecutorType.THREAD, http_proxy=setup.http_proxy)
        self._jobs: dict[str, _JobThread] = {}

    async def start(self) -> None:
        """Import what is to be imported before, and run the prewarm function."""
        preload(self._setup.preload_modules)
        await prewarm(self._setup.prewarm_fnc, self._proc)

    def launch(self, launch: JobLaunch) -> None:
        """Run a job."""
        self._jobs[launch.info.job.id] = _JobThread(launch, self._proc, self._events, self._gone)

    def shutdown(self, job_id: str, reason: str) -> None:
        """End a job, in order."""
        if job_id in self._jobs:
            self._jobs[job_id].shutdown(reason)

    async def close(self) -> None:
        """End every job and wait for it, but for no thread that hangs."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.shutdown("worker closed")
        if jobs:
            await asyncio.wait([job.over for job in jobs])
            await asyncio.wait([job.finished for job in jobs], timeout=_THREAD_GRACE)

    def _gone(self, job_id: str, error: str) -> None:
        if (job := self._jobs.pop(job_id, None)) is not None:
            job.over.set_result(None)
            self._events.job_ended(job_id, error)


class _JobThread:
    def __init__(self, launch: JobLaunch, proc: JobProcess, events: Events, gone: Callable[[str, str], None]) -> None:
        self._launch = launch
        self._proc = proc
        self._events = events
        self._gone = gone
        self._worker_loop = asyncio.get_running_loop()
        self._job_id = launch.info.job.id
        self._error = "the job's thread failed"
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: JobRunner | None = None
        self._reason: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        #: Done when the job is over, and when its thread is.
        self.over: asyncio.Future[None] = self._worker_loop.create_future()
        self.finished: asyncio.Future[None] = self._worker_loop.create_future()
        # A daemon, so that an entrypoint that never ends cannot keep the process.
        self.thread = threading.Thread(target=self._main, name=f"job {self._job_id}", daemon=True)
        self.thread.start()

    def joined(self) -> None:
        self._tell(self._events.job_joined, self._job_id)

    def started(self) -> None:
        self._tell(self._events.job_started, self._job_id)

    async def outcome(self, error: str) -> None:
        reported = self._events.job_outcome(self._job_id, error)
        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reported, self._worker_loop))
        except RuntimeError:
            reported.close()  # the worker has left this thread behind, and ended

    def ended(self, error: str) -> None:
        self._error = error

    def shutdown(self, reason: str) -> None:
        if self._deadline is None:
            self._deadline = self._worker_loop.call_later(
                self._launch.limits_of_end().total + _THREAD_GRACE, self._abandon
            )
        with self._lock:
            self._reason = reason
            if self._loop is not None and self._runner is not None:
                self._loop.call_soon_threadsafe(self._runner.shutdown, reason)

    def _abandon(self) -> None:
        """The thread hangs, and threads cannot be killed: take its agent out of the room and go on without it."""
        if self.over.done():
            return
        frame = sys._current_frames().get(self.thread.ident or 0)
        where = "".join(traceback.format_stack(frame)) if frame is not None else ""
        advice = "it stays until this process ends; JobExecutorType.PROCESS can kill such jobs"
        log.error("job %s does not end, because its thread hangs here; %s:\n%s", self._job_id, advice, where)
        with self._lock:
            loop = self._loop
        if loop is not None:
            abandon_bridge(loop)
        self._gone(self._job_id, "its thread hangs and was left behind")

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        # A thread that was left behind may come back when the worker's loop is long over.
        with contextlib.suppress(RuntimeError):
            self._worker_loop.call_soon_threadsafe(function, *arguments)

    def _finish(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.finished.done():
            self.finished.set_result(None)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - whatever it was, the worker must hear that the job is over
            self._error = repr(error)
        finally:
            self._tell(self._gone, self._job_id, self._error)
            self._tell(self._finish)

    async def _run(self) -> None:
        runner = JobRunner(self._launch, self._proc, self)
        runner.start()
        with self._lock:
            self._loop, self._runner = asyncio.get_running_loop(), runner
            if self._reason is not None:
                runner.shutdown(self._reason)
        await runner.wait()
        with self._lock:
            self._runner = None
        # The end of `asyncio.run` waits for tasks that do not let themselves be cancelled: the job is over before.
        self._tell(self._gone, self._job_id, self._error)


def preload(modules: Sequence[str]) -> None:
    """Import modules before the first job needs them.

    Raises:
        ConfigError: there is no such module.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(f"preload_modules: {name} cannot be imported: {error}") from error


async def prewarm(function: Prewarm | None, proc: JobProcess) -> None:
    """Call the prewarm function, sync or async."""
    if function is not None:
        result = function(proc)
        if inspect.isawaitable(result):
            await result

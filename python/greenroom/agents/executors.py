"""Where jobs run: as tasks of this loop, or each in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from greenroom.agents.context import JobProcess
from greenroom.agents.options import JobExecutorType
from greenroom.agents.runner import JobLaunch, JobRunner
from greenroom.errors import ConfigError

__all__ = ["Events", "Executor", "ProcSetup", "TaskExecutor", "ThreadExecutor", "preload", "prewarm"]

log = logging.getLogger("greenroom.agents")

Prewarm = Callable[[JobProcess], Any]


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
        """End every job and wait for it."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.shutdown("worker closed")
        await asyncio.gather(*(asyncio.to_thread(job.thread.join) for job in jobs))

    def _gone(self, job_id: str, error: str) -> None:
        if self._jobs.pop(job_id, None) is not None:
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
        # A daemon, so that an entrypoint that never ends cannot keep the process.
        self.thread = threading.Thread(target=self._main, name=f"job {self._job_id}", daemon=True)
        self.thread.start()

    def joined(self) -> None:
        self._worker_loop.call_soon_threadsafe(self._events.job_joined, self._job_id)

    def started(self) -> None:
        self._worker_loop.call_soon_threadsafe(self._events.job_started, self._job_id)

    async def outcome(self, error: str) -> None:
        reported = self._events.job_outcome(self._job_id, error)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reported, self._worker_loop))

    def ended(self, error: str) -> None:
        self._error = error

    def shutdown(self, reason: str) -> None:
        with self._lock:
            self._reason = reason
            if self._loop is not None and self._runner is not None:
                self._loop.call_soon_threadsafe(self._runner.shutdown, reason)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - whatever it was, the worker must hear that the job is over
            self._error = repr(error)
        finally:
            self._worker_loop.call_soon_threadsafe(self._gone, self._job_id, self._error)

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

"""Each job in a process of its own, forked from one that has loaded the program already.

A job's process lives as long as the kernel says so: its socket ends when it ends. There is no heartbeat that it would
have to answer, so code that blocks its loop, or even the interpreter, cannot get a job killed; only a job that was told
to end and does not within its time limits is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenroom.agents.executors import Events, ProcSetup
from greenroom.agents.forking import ForkServer
from greenroom.agents.forkserver import frame
from greenroom.agents.loading import preparations
from greenroom.agents.runner import JobLaunch
from greenroom.errors import ConfigError
from greenroom.runtime.tasks import TaskSet

__all__ = ["ProcessExecutor", "ProcessLimits"]

log = logging.getLogger("greenroom.agents")

MEMORY_INTERVAL = 1.0
_KILL_GRACE = 2.0
#: Seconds in which the status of a process that has ended becomes known, and in which the last it said is read.
_STATUS_DELAY = 1.0
#: Seconds before a process takes the place of one that ended while it waited for a job, where its forerunner did too.
_REFILL_FIRST, _REFILL_LONGEST = 0.1, 10.0
#: How many processes may end before they have begun a job until that is given up.
_ATTEMPTS = 3
#: Bytes of the longest message from a process.
_LONGEST_MESSAGE = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Memory of a job in MB (0 = any), seconds for the prewarm function, how many processes wait for jobs."""

    warn_mb: float
    limit_mb: float
    initialize_timeout: float
    idle: int


class ProcessExecutor:
    """Runs each job in a process of its own."""

    def __init__(self, events: Events, setup: ProcSetup, limits: ProcessLimits) -> None:
        if not hasattr(os, "fork"):
            raise ConfigError("jobs in processes need fork; use JobExecutorType.TASK or THREAD on this system")
        self._events = events
        self._limits = limits
        self._setup = setup
        self._prewarm = _by_reference(setup.prewarm_fnc, "prewarm_fnc")
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet(log)
        self._server = ForkServer(self._config)
        self._idle: deque[_Process] = deque()
        self._filling = 0
        self._refill_delay = 0.0
        self._jobs: dict[str, _Process] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    async def start(self) -> None:
        """Load the program in the process that jobs are forked from, and fork those that wait for jobs.

        Raises:
            ConfigError: the program cannot be loaded, or the prewarm function fails.
        """
        await self._server.start()
        forks = await asyncio.gather(*(self._fork() for _ in range(self._limits.idle)), return_exceptions=True)
        for each in forks:
            if isinstance(each, _Process):
                self._keep_idle(each)
        for each in forks:
            if isinstance(each, BaseException):
                raise each
        self._tasks.spawn(self._watch_memory(), name="memory of job processes")

    def launch(self, launch: JobLaunch) -> None:
        """Run a job.

        Raises:
            ConfigError: its entrypoint cannot be found from another process.
        """
        order = _by_reference(launch, "the entrypoint")
        job_id = launch.info.job.id
        self._starting[job_id] = self._tasks.spawn(self._run(launch, order), name=f"process of job {job_id}")

    def shutdown(self, job_id: str, reason: str) -> None:
        """End a job, in order; kill its process if it does not end in time."""
        process = self._jobs.get(job_id)
        if process is not None and process.deadline is None:
            process.order("shutdown", reason)
            process.deadline = self._loop.call_later(process.patience, process.kill, "did not end in time")
        elif process is None and job_id in self._starting:
            self._starting[job_id].cancel()

    async def close(self) -> None:
        """End every job and process. Idempotent."""
        if self._closing:
            return
        self._closing = True
        for job_id in [*self._jobs, *self._starting]:
            self.shutdown(job_id, "worker closed")
        running = [process.over for process in self._jobs.values()]
        if running:
            await asyncio.wait(running)
        await asyncio.sleep(0)
        await self._tasks.close()
        while self._idle:
            self._idle.popleft().close()
        await self._server.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        root = logging.getLogger()
        handler = root.handlers[0].formatter if root.handlers else None
        return {
            "path": sys.path,
            "argv": sys.argv,
            "program": _program(),
            "prepare": preparations,
            "preload": self._setup.preload_modules,
            "http_proxy": self._setup.http_proxy,
            "level": logging.getLevelName(root.level),
            "readable": type(handler).__name__ != "_JsonFormatter",
        }

    async def _fork(self) -> _Process:
        """A process that has run the prewarm function and waits for a job."""
        fork = await self._server.fork()
        reader, writer = await asyncio.open_connection(sock=fork.link, limit=_LONGEST_MESSAGE)
        process = _Process(fork.pid, fork.ended, reader, writer)
        # A process that this one has forked may hold the link too.
        fork.ended.add_done_callback(lambda _: self._loop.call_later(_STATUS_DELAY, writer.transport.abort))
        writer.write(self._prewarm)
        try:
            async with asyncio.timeout(self._limits.initialize_timeout):
                ready = await process.hear()
        except TimeoutError:
            process.kill(f"was not ready within initialize_process_timeout={self._limits.initialize_timeout:g} s")
            ready = None
        except BaseException:
            process.kill("is not needed")
            process.close()
            raise
        if not ready:
            cause = process.verdict or f"{await process.cause()}; what prewarm_fnc raised is above"
            process.close()
            raise ConfigError(f"a job process {cause}")
        return process

    async def _take(self) -> _Process:
        """A process for a job: one that waits, or a new one."""
        while self._idle:
            process = self._idle.popleft()
            try:
                if process.watch is not None:
                    process.watch.cancel()
                    await asyncio.wait([process.watch])
            except asyncio.CancelledError:
                process.close()
                raise
            if not process.reader.at_eof():
                self._refill_delay = 0.0
                return process
            process.close()
        return await self._fork()

    async def _run(self, launch: JobLaunch, order: bytes) -> None:
        job_id = launch.info.job.id
        error = ""  # the end of a job that was told to end before it began
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                process = await self._take()
                self._tasks.spawn(self._refill(), name="idle process")
                error = await self._supervise(process, launch, order)
                if process.began or process.verdict or process.deadline is not None or attempt == _ATTEMPTS:
                    break
                log.warning("job %s begins in another process", job_id)
        except ConfigError as failure:
            error = str(failure)
            log.error("job %s: %s", job_id, failure)
        finally:
            self._starting.pop(job_id, None)
            self._events.job_ended(job_id, error)

    async def _supervise(self, process: _Process, launch: JobLaunch, order: bytes) -> str:
        """Run the job in the process until that ends; returns what went wrong, or ""."""
        job_id = launch.info.job.id
        process.patience = launch.limits_of_end().total + _KILL_GRACE
        self._jobs[job_id] = process
        process.over = self._loop.create_future()
        process.writer.write(order)
        error = None
        try:
            while message := await process.hear():
                process.began = True
                if "joined" in message:
                    self._events.job_joined(job_id)
                elif "started" in message:
                    self._events.job_started(job_id)
                elif "outcome" in message:
                    await self._events.job_outcome(job_id, message["outcome"])
                    process.order("acknowledge", "")
                elif "ended" in message:
                    error = message["ended"]
                    process.end_within(_KILL_GRACE)
        finally:
            del self._jobs[job_id]
            process.close()
        if error is None:
            error = f"its process {process.verdict or await process.cause()}"
            log.error("job %s: %s", job_id, error)
        return error

    def _keep_idle(self, process: _Process) -> None:
        process.watch = self._tasks.spawn(self._watch(process), name="watch over an idle process")
        self._idle.append(process)

    async def _watch(self, process: _Process) -> None:
        """Nothing comes from a process without a job but its end: put another one in its place."""
        await process.hear()
        if process not in self._idle:
            return
        self._idle.remove(process)
        self._tasks.spawn(self._refill(self._refill_delay), name="idle process")
        self._refill_delay = min(max(_REFILL_FIRST, 2 * self._refill_delay), _REFILL_LONGEST)
        log.warning("a process that waited for a job %s; another one takes its place", await process.cause())
        process.close()

    async def _refill(self, delay: float = 0.0) -> None:
        """Have as many processes wait for jobs as is wanted."""
        await asyncio.sleep(delay)
        while len(self._idle) + self._filling < self._limits.idle and not self._closing:
            self._filling += 1
            try:
                self._keep_idle(await self._fork())
            finally:
                self._filling -= 1

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_INTERVAL)
            for job_id, process in list(self._jobs.items()):
                used = process.memory_mb()
                if self._limits.limit_mb and used > self._limits.limit_mb:
                    process.kill(f"used {used:.0f} MB, more than job_memory_limit_mb={self._limits.limit_mb:g}")
                elif self._limits.warn_mb and used > self._limits.warn_mb and not process.warned:
                    process.warned = True
                    log.warning("job %s uses %.0f MB (job_memory_warn_mb=%g)", job_id, used, self._limits.warn_mb)


@dataclass(slots=True, eq=False)
class _Process:
    """A job's process as the worker sees it.

    Attributes:
        ended: its wait status.
        began: whether it has said anything about its job.
        watch: notices its end while it waits for a job.
        verdict: why we have killed it.
        patience: seconds that its job may take to end.
        deadline: kills it when the time for that is up.
        over: done when it has no job any more.
    """

    pid: int
    ended: asyncio.Future[int]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    began: bool = False
    watch: asyncio.Task[None] | None = None
    verdict: str = ""
    warned: bool = False
    patience: float = 0.0
    deadline: asyncio.TimerHandle | None = None
    over: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def hear(self) -> dict[str, Any] | None:
        """What the process says next; None when it has ended."""
        try:
            line = await self.reader.readline()
        except ConnectionError:
            return None
        message: dict[str, Any] | None = json.loads(line) if line else None
        return message

    def order(self, what: str, argument: str) -> None:
        """Tell the process something."""
        if not self.writer.is_closing():
            self.writer.write(frame((what, argument)))

    def kill(self, verdict: str) -> None:
        """End the process at once; its job ends with this verdict."""
        if not self.over.done() and not self.verdict and not self.ended.done():
            self.verdict = verdict
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def end_within(self, seconds: float) -> None:
        """Its job is over: it is about to end by itself, and killed if it does not."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = asyncio.get_running_loop().call_later(seconds, self.kill, "did not end after its job")

    async def cause(self) -> str:
        """How it has ended, in words."""
        await asyncio.wait([self.ended], timeout=_STATUS_DELAY)
        if not self.ended.done():
            return "died"
        code = os.waitstatus_to_exitcode(self.ended.result())
        if code >= 0:
            return f"ended with status {code}"
        name = signal.Signals(-code).name
        return f"was ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")

    def close(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        self.writer.close()
        if not self.over.done():
            self.over.set_result(None)

    def memory_mb(self) -> float:
        """Resident memory."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE / 1e6
        except (OSError, IndexError):
            return 0.0


def _by_reference(thing: object, what: str) -> bytes:
    try:
        return frame(thing)
    except Exception as error:
        raise ConfigError(
            f"{what} must be a function at the top level of its module to run in a process of its own: {error}"
        ) from error


def _program() -> str:
    """The file that this process runs, when its functions belong to `__main__`."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    package = getattr(main, "__package__", None)
    return str(path) if path and not package else ""

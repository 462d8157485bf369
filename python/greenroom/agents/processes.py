"""Each job in a process of its own, forked from one that has loaded the program already.

A job's process lives as long as the kernel says so: its socket ends when it ends. There is no heartbeat that it would
have to answer, so code that blocks its loop, or even the interpreter, cannot get a job killed; only a job that was told
to end and does not within its time limits is.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenroom.agents.executors import Events, ProcSetup
from greenroom.agents.forkserver import LENGTH, frame
from greenroom.agents.loading import preparations
from greenroom.agents.runner import JobLaunch
from greenroom.errors import ConfigError, StateError
from greenroom.protocol.job_run import CANCEL_GRACE
from greenroom.runtime.tasks import TaskSet

__all__ = ["ProcessExecutor", "ProcessLimits"]

log = logging.getLogger("greenroom.agents")

MEMORY_INTERVAL = 1.0
_KILL_GRACE = 2.0
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
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._idle: asyncio.Queue[_Process] = asyncio.Queue()
        self._jobs: dict[str, _Process] = {}
        self._closing = False

    async def start(self) -> None:
        """Load the program in the process that jobs are forked from, and fork those that wait for jobs.

        Raises:
            ConfigError: the program cannot be loaded, or the prewarm function fails.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "greenroom.agents.forkserver", str(theirs.fileno())]
            # One arena per process: threads of the media engine would each begin one of their own in every job.
            environment = {"MALLOC_ARENA_MAX": "1", **os.environ}
            self._server = await asyncio.to_thread(
                subprocess.Popen, command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._control = ours
        ours.sendall(frame(self._config()))
        reader, self._control_writer = await asyncio.open_connection(sock=ours)
        answer = json.loads(await reader.readline() or b'{"error": "it ended"}')
        if "error" in answer:
            raise ConfigError(f"the program cannot be loaded for job processes:\n{answer['error']}")
        self._tasks.spawn(self._listen(reader), name="fork server's reader")
        processes = await asyncio.gather(*(self._fork() for _ in range(self._limits.idle)))
        for process in processes:
            self._idle.put_nowait(process)
        self._tasks.spawn(self._watch_memory(), name="memory of job processes")

    def launch(self, launch: JobLaunch) -> None:
        """Run a job.

        Raises:
            ConfigError: its entrypoint cannot be found from another process.
        """
        order = _by_reference(launch, "the entrypoint")
        self._tasks.spawn(self._run(launch, order), name=f"process of job {launch.info.job.id}")

    def shutdown(self, job_id: str, reason: str) -> None:
        """End a job, in order; kill its process if it does not end in time."""
        process = self._jobs.get(job_id)
        if process is not None and process.deadline is None:
            process.order("shutdown", reason)
            process.deadline = self._loop.call_later(process.patience, process.kill, "did not end in time")

    async def close(self) -> None:
        """End every job and process. Idempotent."""
        if self._closing:
            return
        self._closing = True
        for job_id in list(self._jobs):
            self.shutdown(job_id, "worker closed")
        running = [process.over for process in self._jobs.values()]
        if running:
            await asyncio.wait(running)
        await asyncio.sleep(0)
        while not self._idle.empty():
            self._idle.get_nowait().writer.close()
        await self._tasks.close()
        if self._control is not None and self._server is not None:
            self._control_writer.close()
            await asyncio.to_thread(self._server.wait)

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

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "forked" in message:
                self._forks.pop(message["forked"]).set_result(message["pid"])
        if not self._closing:
            log.error("the process that jobs are forked from has ended")

    def _require_control(self) -> socket.socket:
        if self._control is None:
            raise StateError("the executor was not started")
        return self._control

    async def _fork(self) -> _Process:
        control = self._require_control()
        number = next(self._numbers)
        forked = self._forks[number] = self._loop.create_future()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(control, [LENGTH.pack(number)], [theirs.fileno()])
        reader, writer = await asyncio.open_connection(sock=ours)
        process = _Process(await forked, reader, writer)
        writer.write(self._prewarm)
        try:
            async with asyncio.timeout(self._limits.initialize_timeout):
                ready = await process.hear()
        except TimeoutError:
            process.kill("was not ready in time")
            ready = None
        if not ready:
            raise ConfigError(f"a job process did not get ready: {process.verdict or 'prewarm_fnc failed, see above'}")
        return process

    async def _run(self, launch: JobLaunch, order: bytes) -> None:
        job_id = launch.info.job.id
        error = "its process could not be started"
        try:
            process = self._idle.get_nowait() if not self._idle.empty() else await self._fork()
            if not self._closing and self._limits.idle:
                self._tasks.spawn(self._refill(), name="idle process")
            error = await self._supervise(process, launch, order)
        except ConfigError as failure:
            error = str(failure)
            log.error("job %s: %s", job_id, failure)
        finally:
            self._jobs.pop(job_id, None)
            self._events.job_ended(job_id, error)

    async def _supervise(self, process: _Process, launch: JobLaunch, order: bytes) -> str:
        """Run the job in the process until that ends; returns what went wrong, or ""."""
        job_id = launch.info.job.id
        limits = launch.limits
        process.patience = limits.entrypoint + CANCEL_GRACE + limits.callbacks + launch.session_end_timeout
        if launch.session_end is None:
            process.patience -= launch.session_end_timeout
        process.patience += _KILL_GRACE
        self._jobs[job_id] = process
        process.over = self._loop.create_future()
        process.writer.write(order)
        error = None
        try:
            while message := await process.hear():
                if "joined" in message:
                    self._events.job_joined(job_id)
                elif "started" in message:
                    self._events.job_started(job_id)
                elif "outcome" in message:
                    await self._events.job_outcome(job_id, message["outcome"])
                    process.order("acknowledge", "")
                elif "ended" in message:
                    error = message["ended"]
        finally:
            process.close()
        if error is None:
            error = f"its process {process.verdict or 'died'}"
            log.error("job %s: %s", job_id, error)
        return error

    async def _refill(self) -> None:
        if self._idle.qsize() < self._limits.idle:
            self._idle.put_nowait(await self._fork())

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
    """A job's process as the worker sees it."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
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
        if not self.over.done() and not self.verdict:
            self.verdict = verdict
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

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
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{what} must be a function at the top level of its module to run in a process of its own: {error}"
        ) from error


def _program() -> str:
    """The file that this process runs, when its functions belong to `__main__`."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    package = getattr(main, "__package__", None)
    return str(path) if path and not package else ""

"""The process that job processes are forked from: it has loaded the program, so a fork has too.

Started by `processes.ProcessExecutor` as `python -m greenroom.agents.forkserver FD`. It has one thread and no event
loop, so forking is safe. It takes requests on the socket FD; when the worker is gone it ends, after its last job.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from greenroom.agents import logs
from greenroom.agents.context import JobProcess
from greenroom.agents.executors import preload, prewarm
from greenroom.agents.loading import load
from greenroom.agents.options import JobExecutorType
from greenroom.agents.runner import JobLaunch, JobRunner, import_for_joining
from greenroom.agents.watchdog import Watchdog
from greenroom.protocol.job_run import CANCEL_GRACE
from greenroom.runtime.tasks import TaskSet

__all__ = ["LENGTH", "frame", "main"]

log = logging.getLogger("greenroom.agents")

#: Before each pickled message from the worker.
LENGTH = struct.Struct("!I")
_ACKNOWLEDGE_TIMEOUT = 1.0
#: Seconds that jobs have to end once their worker is gone.
_LAST_GRACE = 30.0


def frame(message: object) -> bytes:
    """A message from the worker as bytes."""
    payload = pickle.dumps(message)
    return LENGTH.pack(len(payload)) + payload


def main() -> None:
    """Load the program, then fork on request until the worker is gone."""
    # Signals to the whole group are the worker's business: it decides when its jobs end. They are not ignored but
    # handled by doing nothing, so that programs that a job starts have them as usual.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        config = _read(control)
        _load(config)
    except BaseException:  # noqa: BLE001 - whatever the program does while it is loaded, the worker must hear of it
        _tell(control, error=traceback.format_exc())
        return
    gc.collect()
    gc.freeze()
    _tell(control, loaded=True)
    _serve(control, config["http_proxy"])


def _load(config: dict[str, Any]) -> None:
    sys.path[:] = config["path"]
    sys.argv[:] = config["argv"]
    (logs.to_terminal if config["readable"] else logs.to_json)(config["level"])
    for name in config["prepare"]:
        module, function = name.split(":")
        getattr(importlib.import_module(module), function)()
    preload(config["preload"])
    import_for_joining()
    if config["program"]:
        load(Path(config["program"]), guarded=False, as_main=True)


def _serve(control: socket.socket, http_proxy: str | None) -> None:
    wake_read, wake_write = socket.socketpair()
    for end in (wake_read, wake_write):
        end.setblocking(False)
    signal.set_wakeup_fd(wake_write.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if wake_read in ready:
                wake_read.recv(4096)
                children -= set(_reap(control))
            if control in ready:
                request, descriptors, _, _ = socket.recv_fds(control, LENGTH.size, 1)
                if not request:
                    _wait_for(children)
                    return
                number = LENGTH.unpack(request)[0]
                try:
                    pid = os.fork()
                except OSError as error:
                    os.close(descriptors[0])
                    _tell(control, forked=number, pid=0, refused=str(error))
                    continue
                if pid == 0:
                    selector.close()
                    _become_job(control, (wake_read, wake_write), descriptors[0], http_proxy)
                os.close(descriptors[0])
                children.add(pid)
                _tell(control, forked=number, pid=pid)


def _reap(control: socket.socket | None) -> Iterator[int]:
    """The processes that have ended since; their status is told to the worker, if it is there."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if control is not None:
            _tell(control, exited=pid, status=status)
        yield pid


def _wait_for(children: set[int]) -> None:
    """The worker is gone: the jobs know and end; those that do not within their time are killed."""
    deadline = time.monotonic() + _LAST_GRACE
    while children and time.monotonic() < deadline:
        children -= set(_reap(None))
        time.sleep(0.02)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _tell(control: socket.socket, **message: Any) -> None:
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        sys.exit(0)


def _read(control: socket.socket) -> Any:
    size = LENGTH.unpack(control.recv(LENGTH.size, socket.MSG_WAITALL))[0]
    return pickle.loads(control.recv(size, socket.MSG_WAITALL))


# -- in a job's process ----------------------------------------------------------------------------------------------


def _become_job(
    control: socket.socket, wake: tuple[socket.socket, ...], descriptor: int, http_proxy: str | None
) -> None:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (control, *wake):
            end.close()
        _run(_JobProcessMain(socket.socket(fileno=descriptor), http_proxy).run())
        code = 0
    except BaseException:  # noqa: BLE001 - the fork must never return into the server's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Like `asyncio.run`, but a task that ignores its cancellation does not keep the process."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=CANCEL_GRACE))


class _JobProcessMain:
    """One job, told what to do by the worker over a socket."""

    def __init__(self, link: socket.socket, http_proxy: str | None) -> None:
        self._link = link
        self._proc = JobProcess(executor_type=JobExecutorType.PROCESS, http_proxy=http_proxy)
        self._acknowledged = asyncio.Event()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def run(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=self._link)
        watchdog = Watchdog()
        tasks = TaskSet(log)
        try:
            await prewarm(await self._next(), self._proc)
            self._say(ready=True)
            launch: JobLaunch = await self._next()
            runner = JobRunner(launch, self._proc, self)
            runner.start()
            tasks.spawn(self._obey(runner), name="orders of the worker")
            await runner.wait()
            await tasks.close()
            await self._writer.drain()
        except asyncio.IncompleteReadError:
            return  # the worker is gone, or did not need this process
        finally:
            watchdog.close()
            self._writer.close()

    def joined(self) -> None:
        self._say(joined=True)

    def started(self) -> None:
        self._say(started=True)

    async def outcome(self, error: str) -> None:
        self._say(outcome=error)
        try:
            async with asyncio.timeout(_ACKNOWLEDGE_TIMEOUT):
                await self._acknowledged.wait()
        except TimeoutError:
            return

    def ended(self, error: str) -> None:
        self._say(ended=error)

    async def _obey(self, runner: JobRunner) -> None:
        try:
            while True:
                order, argument = await self._next()
                if order == "shutdown":
                    runner.shutdown(argument)
                else:
                    self._acknowledged.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            self._acknowledged.set()
            runner.shutdown("the worker is gone")

    async def _next(self) -> Any:
        size = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))[0]
        return pickle.loads(await self._reader.readexactly(size))

    def _say(self, **message: Any) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()

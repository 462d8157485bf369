"""The process that job processes are forked from, as the worker sees it: it is started anew when something ends it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenroom.agents.forkserver import LENGTH, frame
from greenroom.errors import ConfigError
from greenroom.runtime.tasks import TaskSet

__all__ = ["Fork", "ForkServer"]

log = logging.getLogger("greenroom.agents")

#: Seconds before another start after a failed one, doubling.
_RESTART_FIRST, _RESTART_LONGEST = 0.1, 10.0
#: Seconds before another request when the fork server does not take one now.
_BUSY = 0.05


@dataclass(frozen=True, slots=True)
class Fork:
    """A new process: our end of the link to it, and its wait status once it has ended.

    The status does not come if the process that it was forked from ends before it; the link's end tells in any case.
    """

    pid: int
    link: socket.socket
    ended: asyncio.Future[int]


class ForkServer:
    """Loads the program in a process of its own and forks that on request."""

    def __init__(self, config: Callable[[], dict[str, Any]]) -> None:
        """Prepare it; nothing is started yet.

        Args:
            config: what the process has to load, see `forkserver`.
        """
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet(log)
        self._numbers = itertools.count(1)
        self._forks: dict[int, asyncio.Future[tuple[int, asyncio.Future[int]] | None]] = {}
        self._children: dict[int, asyncio.Future[int]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._loaded = asyncio.Event()
        self._closing = False

    @property
    def pid(self) -> int:
        """The id of the process that runs now; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Load the program.

        Raises:
            ConfigError: the program cannot be loaded.
        """
        reader = await self._load()
        self._tasks.spawn(self._keep(reader), name="fork server's reader")

    async def fork(self) -> Fork:
        """A new process, as soon as there is one to fork it from.

        Raises:
            ConfigError: the system has no process or memory left.
        """
        while True:
            await self._loaded.wait()
            ours, theirs = socket.socketpair()
            try:
                forked = await self._request(theirs)
            except BaseException:
                ours.close()
                raise
            if forked is not None:
                return Fork(forked[0], ours, forked[1])
            ours.close()

    async def close(self) -> None:
        """End it; it waits for the processes it has forked. Idempotent."""
        self._closing = True
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        await self._tasks.close()

    async def _load(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "greenroom.agents.forkserver", str(theirs.fileno())]
            # One arena per process: threads of the media engine would each begin one of their own in every job.
            environment = {"MALLOC_ARENA_MAX": "1", **os.environ}
            self._process = await asyncio.to_thread(
                subprocess.Popen, command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(frame(self._config()))
        try:
            answer = json.loads(await reader.readline() or b'{"error": "it ended"}')
        except BaseException:
            writer.close()
            raise
        if "error" in answer:
            writer.close()
            raise ConfigError(f"the program cannot be loaded for job processes:\n{answer['error']}")
        self._control, self._writer = ours, writer
        self._loaded.set()
        return reader

    async def _keep(self, reader: asyncio.StreamReader) -> None:
        """Listen, and start anew what was ended by somebody else."""
        while True:
            await self._listen(reader)
            self._loaded.clear()
            if self._writer is not None:
                self._writer.close()
            forks, self._forks = self._forks, {}
            for forked in forks.values():
                if not forked.done():
                    forked.set_result(None)
            if self._closing:
                return
            log.error("the process that jobs are forked from has ended and is started anew")
            reader = await self._load_again()

    async def _load_again(self) -> asyncio.StreamReader:
        delay = _RESTART_FIRST
        while True:
            if self._process is not None:
                await asyncio.to_thread(self._process.wait)
            try:
                return await self._load()
            except (ConfigError, OSError) as error:
                log.error("it cannot be started, the next attempt is in %g s: %s", delay, error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _RESTART_LONGEST)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except ConnectionError:
                return
            if not line:
                return
            message = json.loads(line)
            if "forked" in message:
                self._on_fork(message["forked"], message["pid"], message.get("refused", ""))
            elif "exited" in message and (child := self._children.pop(message["exited"], None)) is not None:
                child.set_result(message["status"])

    def _on_fork(self, number: int, pid: int, refused: str) -> None:
        forked = self._forks.pop(number)
        if refused:
            if not forked.done():
                forked.set_exception(ConfigError(f"a job process could not be forked: {refused}"))
            return
        ended = self._children[pid] = self._loop.create_future()
        if not forked.done():
            forked.set_result((pid, ended))

    async def _request(self, link: socket.socket) -> tuple[int, asyncio.Future[int]] | None:
        """Ask for a fork that has this end of a link; None when the fork server has ended meanwhile."""
        number = next(self._numbers)
        with link:
            while self._loaded.is_set() and self._control is not None:
                try:
                    socket.send_fds(self._control, [LENGTH.pack(number)], [link.fileno()])
                    break
                except BlockingIOError:
                    await asyncio.sleep(_BUSY)
                except OSError:
                    await asyncio.sleep(_BUSY)  # it has ended; its reader is about to notice
            else:
                return None
        forked: asyncio.Future[tuple[int, asyncio.Future[int]] | None] = self._loop.create_future()
        self._forks[number] = forked
        return await forked

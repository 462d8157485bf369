"""`greenroom dev agent.py` and its relatives: workers run from a program's file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from greenroom.cli.api import Api
from greenroom.cli.output import notes
from greenroom.errors import ConfigError, RequestError
from greenroom.runtime.tasks import TaskSet
from greenroom.server import Server
from greenroom.wire.tokens import VideoGrants

__all__ = ["end_process", "reloading", "run"]

log = logging.getLogger("greenroom.cli")

#: Seconds that jobs may take to end before their process is killed.
_GRACE = 5.0


def run(file: Path, arguments: Sequence[str]) -> None:
    """Run the worker of a file in this process, as `python FILE ARGUMENTS` does when it ends with `cli.run_app`.

    Raises:
        ConfigError: there is no such file, or it has no worker.
    """
    from greenroom.agents import cli
    from greenroom.agents.loading import load

    cli.run_app(load(file, as_main=True).server, arguments)


@contextlib.asynccontextmanager
async def reloading(file: Path, server: Server) -> AsyncIterator[None]:
    """Run the worker of a file in a process of its own, anew whenever Python code beside it is saved.

    Raises:
        ConfigError: there is no such file, or files cannot be watched here.
    """
    tasks = TaskSet(log)
    worker = Worker(file, server)
    tasks.spawn(worker.keep_running(), name="worker")
    try:
        yield
    finally:
        await tasks.close()


class Worker:
    """The process that runs an agent's file for a server in this process."""

    def __init__(self, file: Path, server: Server) -> None:
        if not file.is_file():
            raise ConfigError(f"there is no file {file}")
        self._file = file
        key, secret = next(iter(server.keys.items()))
        self._api = Api(server.url, key, secret)
        self._rooms = server.rooms

    async def keep_running(self) -> None:
        """Run it until cancelled."""
        try:
            from watchfiles import PythonFilter, awatch
        except ImportError:
            raise ConfigError("to run an agent while developing, install greenroom[agents]") from None
        process = await self._start()
        try:
            async for changes in awatch(self._file.resolve().parent, watch_filter=PythonFilter()):
                names = ", ".join(sorted({Path(path).name for _, path in changes}))
                notes.print(f"[bold]{names}[/] changed: running it anew")
                dispatches = await self._running_dispatches()
                await end_process(process)
                process = await self._start()
                await self._hand_over(dispatches)
        finally:
            await end_process(process)

    async def _start(self) -> Process:
        api = {"LIVEKIT_URL": self._api.url, "LIVEKIT_API_KEY": self._api.key, "LIVEKIT_API_SECRET": self._api.secret}
        command = [sys.executable, "-m", "greenroom", "run", str(self._file), "dev"]
        return await asyncio.create_subprocess_exec(*command, env={**os.environ, **api})

    async def _running_dispatches(self) -> list[dict[str, Any]]:
        """The dispatches of all rooms whose agent is there."""
        found: list[dict[str, Any]] = []
        for room in list(self._rooms):
            reply = await self._call("ListDispatch", {"room": room})
            found += [each for each in reply.get("agent_dispatches", []) if each.get("state", {}).get("jobs")]
        return found

    async def _hand_over(self, dispatches: Sequence[dict[str, Any]]) -> None:
        """Ask for the same agents once more, in rooms that are still there: the next worker gets them."""
        for each in dispatches:
            room = each["room"]
            with contextlib.suppress(RequestError):
                await self._call("DeleteDispatch", {"room": room, "dispatch_id": each["id"]})
                named = {"agent_name": each.get("agent_name", ""), "metadata": each.get("metadata", "")}
                await self._call("CreateDispatch", {"room": room, **named})

    async def _call(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        grants = VideoGrants(room_admin=True, room=request["room"])
        return await self._api.call(f"AgentDispatchService/{method}", request, grants)


async def end_process(process: Process) -> None:
    """End a process, and its jobs, whatever they do."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()

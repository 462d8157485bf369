"""A TCP proxy that can be cut: at once, or so that neither side notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from greenroom.runtime.tasks import TaskSet


class Proxy:
    """Passes connections on to a port of this machine."""

    def __init__(self, port: int, tasks: TaskSet) -> None:
        self.target = port
        self.port = 0
        self._tasks = tasks
        self._open: set[asyncio.StreamWriter] = set()
        self._up = asyncio.Event()
        self._up.set()
        self._refusing = False

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._refusing = True
        for writer in list(self._open):
            writer.transport.abort()

    def stall(self) -> None:
        """Let nothing through any more; nobody is told."""
        self._up.clear()

    def restore(self) -> None:
        self._refusing = False
        self._up.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._open |= {writer, back}
        ways = [self._tasks.spawn(self._pass(*way), name="proxy") for way in ((reader, back), (there, writer))]
        await asyncio.wait(ways)
        self._open -= {writer, back}

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                await self._up.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


@contextlib.asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    import logging

    tasks = TaskSet(logging.getLogger("proxy"))
    made = Proxy(port, tasks)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.restore()
        made.cut()
        await tasks.close()

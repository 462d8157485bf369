"""One client's signalling socket: a bounded queue out, limits in."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from aiohttp import WSCloseCode, WSMsgType, web

from greenroom.runtime.tasks import TaskSet
from greenroom.server.options import ServerOptions
from greenroom.wire import messages as m
from greenroom.wire.signal import encode, encode_text

__all__ = ["ClientSocket"]

log = logging.getLogger("greenroom.server")


class ClientSocket:
    """A websocket as a room sees it: messages are put without waiting, and a client that does not take them is cut.

    As an async context manager it sends what is put, and at the end closes the websocket.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.WriteTransport | None,
        *,
        queue_size: int,
        send_timeout: float,
    ) -> None:
        """Wrap an accepted websocket.

        Args:
            socket: the websocket, prepared.
            transport: the TCP connection under it, to cut it when the client does not answer.
            queue_size: bytes that may wait to be sent.
            send_timeout: seconds that one message may take to leave.
        """
        self._socket = socket
        self._transport = transport
        self._queue: deque[bytes | str] = deque()
        self._queued = 0
        self._queue_size = queue_size
        self._send_timeout = send_timeout
        self._wake = asyncio.Event()
        self._closing = False
        self._tasks = TaskSet(log)
        self.text = False

    @classmethod
    async def accept(cls, request: web.BaseRequest, options: ServerOptions, heartbeat: float) -> Self:
        """Turn a request into a websocket with the server's limits; it is pinged every `heartbeat` seconds."""
        socket = web.WebSocketResponse(
            heartbeat=heartbeat, max_msg_size=options.signal_size, timeout=options.half_open_timeout
        )
        await socket.prepare(request)
        return cls(
            socket, request.transport, queue_size=options.send_queue_size, send_timeout=options.half_open_timeout
        )

    @property
    def response(self) -> web.WebSocketResponse:
        """What the handler of the request returns in the end."""
        return self._socket

    async def __aenter__(self) -> Self:
        self._tasks.spawn(self._write(), name="signalling writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self._tasks.close(grace=self._send_timeout)

    def send(self, message: m.Message, encoded: bytes | None = None) -> None:
        """Queue a message; `encoded` is its binary form when that exists already."""
        if self._closing:
            return
        frame: bytes | str = encode_text(message) if self.text else encoded or encode(message)
        self._queued += len(frame)
        if self._queued > self._queue_size:
            log.warning("a client does not read its signalling socket; it is cut")
            self._queue.clear()
            self.close()
            return
        self._queue.append(frame)
        self._wake.set()

    def close(self) -> None:
        """Close once what is queued has left. Idempotent."""
        self._closing = True
        self._wake.set()

    async def frames(self) -> AsyncIterator[bytes | str]:
        """What the client sends, until its socket or ours ends."""
        async for frame in self._socket:
            if self._closing:
                return
            if frame.type == WSMsgType.BINARY:
                self.text = False
                yield frame.data
            elif frame.type == WSMsgType.TEXT:
                self.text = True
                yield frame.data

    async def _write(self) -> None:
        """Send what is queued until `close`; then close the websocket."""
        try:
            while await self._send_queued():
                await self._wake.wait()
                self._wake.clear()
            async with asyncio.timeout(self._send_timeout):
                await self._socket.close(code=WSCloseCode.OK)
        except (ConnectionError, TimeoutError, RuntimeError) as error:
            log.debug("a signalling socket ended while sending: %s", error)
        finally:
            self._closing = True
            self._queue.clear()
            if not self._socket.closed and self._transport is not None:
                self._transport.abort()

    async def _send_queued(self) -> bool:
        while self._queue:
            frame = self._queue.popleft()
            async with asyncio.timeout(self._send_timeout):
                if isinstance(frame, str):
                    await self._socket.send_str(frame)
                else:
                    await self._socket.send_bytes(frame)
            self._queued -= len(frame)
        return not self._closing

"""Websockets to a server, as a client and as a worker: messages in and out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar, cast

from greenroom.errors import ProtocolError
from greenroom.runtime.proxies import proxy_for
from greenroom.runtime.tasks import TaskSet
from greenroom.runtime.websocket import CloseConnection, SocketRefusedError, WebSocket
from greenroom.wire import messages as m
from greenroom.wire.signal import MAX_SIGNAL_SIZE, decode, encode

__all__ = ["OUTBOX_LIMIT", "MessageSocket", "SignalSocket", "SocketRefusedError"]

_Sent = TypeVar("_Sent", bound=m.Message)
_Received = TypeVar("_Received")

log = logging.getLogger("greenroom.runtime")

#: How many messages that cannot be read are worth a warning each.
_IGNORED_IN_LOG = 3
#: Seconds in which what was sent last must leave when the socket is closed, and then for the server to close its side.
FLUSH_TIMEOUT = 1.0
#: Bytes that may wait for a server that does not read; then the connection counts as lost.
OUTBOX_LIMIT = 2 * MAX_SIGNAL_SIZE


class MessageSocket(Generic[_Sent, _Received]):
    """One open websocket. `send` never waits; what arrives goes to `on_message`, its end to `on_closed`, once.

    After `close()` neither is called any more.
    """

    #: What the connection is for, in logs, and what arrives on it.
    name: ClassVar[str]
    received: ClassVar[type[m.Message]]

    def __init__(
        self,
        socket: WebSocket,
        on_message: Callable[[_Received], None],
        on_closed: Callable[[str], None],
        heartbeat: float | None = None,
    ) -> None:
        """Take over an open socket. `heartbeat`: seconds between pings; None = none."""
        self._socket = socket
        self._on_message = on_message
        self._on_closed = on_closed
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._given_up = ""
        self._ignored = 0
        self._closed = False
        self._tasks = TaskSet(log)
        self._writer = self._tasks.spawn(self._write(), name=f"{self.name} writer")
        self._reader = self._tasks.spawn(self._read(), name=f"{self.name} reader")
        if heartbeat is not None:
            self._tasks.spawn(self._beat(heartbeat), name=f"{self.name} heartbeat")

    def send(self, message: _Sent) -> None:
        """Queue a message. After the socket's end it is dropped; more than `OUTBOX_LIMIT` bytes end the socket."""
        if self._closed or self._given_up or self._writer.done():
            return
        payload = encode(message)
        self._waiting += len(payload)
        if self._waiting > OUTBOX_LIMIT:
            self._give_up(f"the server does not read: more than {OUTBOX_LIMIT} bytes wait for it")
            return
        self._outbox.put_nowait(payload)

    async def flush(self) -> None:
        """Return when what was sent so far has been written, or the socket is gone."""
        if not self._closed and not self._writer.done():
            written = self._tasks.spawn(self._outbox.join(), name=f"{self.name} flush")
            await asyncio.wait([written, self._writer], timeout=FLUSH_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            written.cancel()

    async def close(self) -> None:
        """Send what is queued, then close. Idempotent, safe from within a callback's task."""
        if self._closed:
            return
        self._closed = True
        self._outbox.put_nowait(None)
        try:
            await asyncio.wait([self._writer], timeout=FLUSH_TIMEOUT)
            self._socket.close()
            if self._reader is not asyncio.current_task():
                await asyncio.wait([self._reader], timeout=FLUSH_TIMEOUT)
        finally:
            self._socket.abort()
            await self._tasks.close()

    async def _write(self) -> None:
        while (payload := await self._outbox.get()) is not None:
            try:
                await self._socket.send(payload)
            except (ConnectionError, RuntimeError) as error:
                log.debug("a %s message could not be sent: %s", self.name, error)
                return
            finally:
                self._waiting -= len(payload)
                self._outbox.task_done()

    async def _read(self) -> None:
        while not isinstance(content := await self._socket.receive(), CloseConnection):
            if not self._closed:
                self._take(content)
        if not self._closed:
            self._on_closed(f"the {self.name} connection was lost: {self._given_up or _words(content)}")

    def _take(self, content: bytes | str) -> None:
        try:
            message = cast(_Received, decode(self.received, content))
        except ProtocolError as error:
            self._ignored += 1
            level = logging.WARNING if self._ignored <= _IGNORED_IN_LOG else logging.DEBUG
            log.log(level, "a %s message was ignored (%d so far): %s", self.name, self._ignored, error)
            return
        try:
            self._on_message(message)
        except Exception:
            log.exception("handling a %s message failed", self.name)

    async def _beat(self, interval: float) -> None:
        while not self._reader.done():
            heard = self._socket.heard
            self._socket.ping()
            await asyncio.sleep(interval / 2)
            if self._socket.heard == heard:
                self._give_up(f"the server did not answer within {interval / 2:g} s")
                return
            await asyncio.sleep(interval / 2)

    def _give_up(self, words: str) -> None:
        self._given_up = words
        self._socket.abort()


class SignalSocket(MessageSocket[m.SignalRequest, m.SignalResponse]):
    """A client's signalling connection."""

    name = "signalling"
    received = m.SignalResponse

    @classmethod
    async def open(
        cls,
        url: str,
        token: str,
        on_message: Callable[[m.SignalResponse], None],
        on_closed: Callable[[str], None],
    ) -> SignalSocket:
        """Connect, through the environment's proxy if there is one.

        Raises:
            SocketRefusedError: the server answered with something else than a websocket, or not at all.
        """
        socket = await WebSocket.open(url, token, max_size=MAX_SIGNAL_SIZE, proxy=proxy_for(url))
        return cls(socket, on_message, on_closed)


def _words(closed: CloseConnection) -> str:
    if closed.code == 1006:
        return "it ended without a word"
    return f"code {closed.code}" + (f", {closed.reason}" if closed.reason else "")

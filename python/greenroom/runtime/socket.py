"""Websockets to a server, as a client and as a worker: messages in and out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

from greenroom.errors import GreenroomError, ProtocolError
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m
from greenroom.wire.signal import MAX_SIGNAL_SIZE, decode, encode

if TYPE_CHECKING:
    import aiohttp

__all__ = ["MessageSocket", "SignalSocket", "SocketRefusedError", "connect", "fetch_text"]

_Sent = TypeVar("_Sent", bound=m.Message)
_Received = TypeVar("_Received")

log = logging.getLogger("greenroom.runtime")

#: Seconds in which what was sent last must leave when the socket is closed.
FLUSH_TIMEOUT = 1.0


class SocketRefusedError(GreenroomError):
    """The server did not accept the websocket at `url`. `status` is the HTTP one, 0 when there was no answer at all."""

    def __init__(self, message: str, url: str, status: int) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class MessageSocket(Generic[_Sent, _Received]):
    """One open websocket. `send` never waits; what arrives goes to `on_message`, its end to `on_closed`, once.

    After `close()` neither is called any more.
    """

    #: What the connection is for, in logs, and what arrives on it.
    name: ClassVar[str]
    received: ClassVar[type[m.Message]]

    def __init__(
        self,
        client: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        on_message: Callable[[_Received], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._client = client
        self._socket = socket
        self._on_message = on_message
        self._on_closed = on_closed
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False
        self._tasks = TaskSet(log)
        self._writer = self._tasks.spawn(self._write(), name=f"{self.name} writer")
        self._tasks.spawn(self._read(), name=f"{self.name} reader")

    def send(self, message: _Sent) -> None:
        """Queue a message. After the socket's end it is dropped."""
        if not self._closed:
            self._outbox.put_nowait(encode(message))

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
        finally:
            await self._shut()

    async def _shut(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await self._socket.close()
        except TimeoutError:
            log.debug("the server did not close its side of the %s socket", self.name)
        finally:
            await self._tasks.close()
            await self._client.close()

    async def _write(self) -> None:
        while (payload := await self._outbox.get()) is not None:
            try:
                await self._socket.send_bytes(payload)
            except (ConnectionError, RuntimeError) as error:
                log.debug("a %s message could not be sent: %s", self.name, error)
                return
            finally:
                self._outbox.task_done()

    async def _read(self) -> None:
        import aiohttp

        async for frame in self._socket:
            if self._closed:
                return
            if frame.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                try:
                    message = cast(_Received, decode(self.received, frame.data))
                except ProtocolError as error:
                    log.warning("a %s message was ignored: %s", self.name, error)
                    continue
                try:
                    self._on_message(message)
                except Exception:
                    log.exception("handling a %s message failed", self.name)
        if not self._closed:
            self._on_closed(f"the server closed the {self.name} connection (code {self._socket.close_code})")


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
        """Connect.

        Raises:
            SocketRefusedError: the server answered with something else than a websocket, or not at all.
        """
        client, socket = await connect(url, token, max_msg_size=MAX_SIGNAL_SIZE)
        return cls(client, socket, on_message, on_closed)


async def connect(
    url: str, token: str, *, max_msg_size: int, heartbeat: float | None = None, proxy: str | None = None
) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    """Open a websocket with a token; who calls closes both. `heartbeat` is in seconds.

    Raises:
        SocketRefusedError: the server answered with something else than a websocket, or not at all.
    """
    import aiohttp

    client = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})
    try:
        return client, await client.ws_connect(url, max_msg_size=max_msg_size, heartbeat=heartbeat, proxy=proxy)
    except BaseException as error:
        await client.close()
        if isinstance(error, aiohttp.WSServerHandshakeError):
            raise SocketRefusedError(error.message, url, error.status) from error
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            raise SocketRefusedError(str(error), url, 0) from error
        raise


async def fetch_text(url: str, token: str, limit: float) -> tuple[int, str]:
    """GET with the token, within `limit` seconds: the status and the text; status 0 when the server does not answer."""
    import aiohttp

    try:
        async with (
            asyncio.timeout(limit),
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client,
            client.get(url) as response,
        ):
            return response.status, await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return 0, str(error)

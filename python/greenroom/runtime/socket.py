"""The client's signalling socket: messages in and out over one websocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from greenroom.errors import GreenroomError, ProtocolError
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m
from greenroom.wire.signal import MAX_SIGNAL_SIZE, decode_response, encode

if TYPE_CHECKING:
    import aiohttp

__all__ = ["SignalSocket", "SocketRefusedError", "fetch_text"]

log = logging.getLogger("greenroom.runtime")

#: Seconds in which what was sent last must leave when the socket is closed.
FLUSH_TIMEOUT = 1.0


class SocketRefusedError(GreenroomError):
    """The server did not accept the websocket at `url`. `status` is the HTTP one, 0 when there was no answer at all."""

    def __init__(self, message: str, url: str, status: int) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class SignalSocket:
    """One open socket. `send` never waits; what arrives goes to `on_message`, its end to `on_closed`, once.

    After `close()` neither is called any more.
    """

    def __init__(
        self,
        client: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        on_message: Callable[[m.SignalResponse], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._client = client
        self._socket = socket
        self._on_message = on_message
        self._on_closed = on_closed
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False
        self._tasks = TaskSet(log)
        self._writer = self._tasks.spawn(self._write(), name="signalling writer")
        self._tasks.spawn(self._read(), name="signalling reader")

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
        import aiohttp

        client = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})
        try:
            socket = await client.ws_connect(url, max_msg_size=MAX_SIGNAL_SIZE)
        except BaseException as error:
            await client.close()
            if isinstance(error, aiohttp.WSServerHandshakeError):
                raise SocketRefusedError(error.message, url, error.status) from error
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                raise SocketRefusedError(str(error), url, 0) from error
            raise
        return cls(client, socket, on_message, on_closed)

    def send(self, message: m.SignalRequest) -> None:
        """Queue a message. After the socket's end it is dropped."""
        if not self._closed:
            self._outbox.put_nowait(encode(message))

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
            log.debug("the server did not close its side of the signalling socket")
        finally:
            await self._tasks.close()
            await self._client.close()

    async def _write(self) -> None:
        while (payload := await self._outbox.get()) is not None:
            try:
                await self._socket.send_bytes(payload)
            except (ConnectionError, RuntimeError) as error:
                log.debug("a signalling message could not be sent: %s", error)
                return

    async def _read(self) -> None:
        import aiohttp

        async for frame in self._socket:
            if self._closed:
                return
            if frame.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                try:
                    message = decode_response(frame.data)
                except ProtocolError as error:
                    log.warning("a signalling message was ignored: %s", error)
                    continue
                try:
                    self._on_message(message)
                except Exception:
                    log.exception("handling the message %s failed", message.WhichOneof("message"))
        if not self._closed:
            self._on_closed(f"the server closed the signalling connection (code {self._socket.close_code})")


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

"""The worker's websocket to the server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from greenroom.runtime.socket import SocketRefusedError
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants, encode_token

if TYPE_CHECKING:
    import aiohttp

__all__ = ["WorkerLink"]

log = logging.getLogger("greenroom.agents")

_HEARTBEAT = 30.0
_MAX_MESSAGE = 2 * 1024 * 1024
_CONNECT_TIMEOUT = 10.0
_FLUSH_TIMEOUT = 1.0
_TOKEN_LIFETIME = 3600.0


class WorkerLink:
    """One open socket. `send` never waits; what arrives goes to `on_message`, its end to `on_closed`, once."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        on_message: Callable[[m.ServerMessage], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._client = client
        self._socket = socket
        self._on_message = on_message
        self._on_closed = on_closed
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False
        self._tasks = TaskSet(log)
        self._writer = self._tasks.spawn(self._write(), name="worker socket's writer")
        self._tasks.spawn(self._read(), name="worker socket's reader")

    @classmethod
    async def open(
        cls,
        credentials: tuple[str, str, str],
        proxy: str | None,
        on_message: Callable[[m.ServerMessage], None],
        on_closed: Callable[[str], None],
    ) -> WorkerLink:
        """Connect to `/agent` of a server, with URL, key and secret.

        Raises:
            SocketRefusedError: the server answered with something else than a websocket, or not at all.
        """
        import aiohttp

        url, key, secret = credentials
        claims = Claims(video=VideoGrants(agent=True))
        token = encode_token(claims, key, secret, now=time.time(), lifetime=_TOKEN_LIFETIME)
        client = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                socket = await client.ws_connect(
                    f"{url.rstrip('/')}/agent", max_msg_size=_MAX_MESSAGE, heartbeat=_HEARTBEAT, proxy=proxy
                )
        except BaseException as error:
            await client.close()
            if isinstance(error, aiohttp.WSServerHandshakeError):
                raise SocketRefusedError(_refusal(url, error.status), url, error.status) from error
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                detail = str(error) or "it does not answer"
                raise SocketRefusedError(f"no server at {url} (LIVEKIT_URL, --url): {detail}", url, 0) from error
            raise
        return cls(client, socket, on_message, on_closed)

    def send(self, message: m.WorkerMessage) -> None:
        """Queue a message. After the socket's end it is dropped."""
        if not self._closed:
            self._outbox.put_nowait(message.SerializeToString())

    async def flush(self) -> None:
        """Return when what was sent so far has been written, or the socket is gone."""
        if not self._closed and not self._writer.done():
            written = asyncio.ensure_future(self._outbox.join())
            await asyncio.wait([written, self._writer], timeout=_FLUSH_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            written.cancel()

    async def close(self) -> None:
        """Send what is queued, then close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._outbox.put_nowait(None)
        try:
            await asyncio.wait([self._writer], timeout=_FLUSH_TIMEOUT)
            async with asyncio.timeout(_FLUSH_TIMEOUT):
                await self._socket.close()
        except TimeoutError:
            log.debug("the server did not close its side of the worker's socket")
        finally:
            await self._tasks.close()
            await self._client.close()

    async def _write(self) -> None:
        while (payload := await self._outbox.get()) is not None:
            try:
                await self._socket.send_bytes(payload)
            except (ConnectionError, RuntimeError) as error:
                log.debug("a message of the worker could not be sent: %s", error)
                return
            finally:
                self._outbox.task_done()

    async def _read(self) -> None:
        import aiohttp

        async for frame in self._socket:
            if self._closed:
                return
            if frame.type is not aiohttp.WSMsgType.BINARY:
                continue
            message = m.ServerMessage()
            try:
                message.ParseFromString(frame.data)
            except m.DecodeError as error:
                log.warning("a message of the server was ignored: %s", error)
                continue
            self._on_message(message)
        if not self._closed:
            self._on_closed(f"the server closed the worker's connection (code {self._socket.close_code})")


def _refusal(url: str, status: int) -> str:
    if status == 401:
        return f"{url} does not know the API key, or its secret is another (LIVEKIT_API_KEY, LIVEKIT_API_SECRET)"
    if status == 404:
        return f"{url} answers, but takes no agent workers: is it the server's URL?"
    return f"{url} refused the worker with HTTP status {status}"

"""Websockets to a server, as a client and as a worker: messages in and out."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

from greenroom.errors import GreenroomError, ProtocolError
from greenroom.runtime.proxies import proxy_for
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m
from greenroom.wire.signal import MAX_SIGNAL_SIZE, decode, encode

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Response

__all__ = ["OUTBOX_LIMIT", "MessageSocket", "SignalSocket", "SocketRefusedError", "connect"]

_Sent = TypeVar("_Sent", bound=m.Message)
_Received = TypeVar("_Received")

log = logging.getLogger("greenroom.runtime")
# Below this it would log every frame, and the token.
_library_log = logging.getLogger("greenroom.runtime.websockets")
_library_log.setLevel(logging.WARNING)

#: Seconds in which what was sent last must leave when the socket is closed, and then for the server to close its side.
FLUSH_TIMEOUT = 1.0
#: Bytes that may wait for a server that does not read; then the connection counts as lost.
OUTBOX_LIMIT = 2 * MAX_SIGNAL_SIZE
#: Seconds until a server's next address is tried beside the first (RFC 8305).
_NEXT_ADDRESS = 0.25
#: Characters of a server's refusal that are shown.
_MAX_WORDS = 1000


class SocketRefusedError(GreenroomError):
    """The server did not accept the websocket at `url`.

    `status` is the HTTP one and the message what the server said with it; 0 when there was no answer at all.
    """

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
        socket: ClientConnection,
        on_message: Callable[[_Received], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._socket = socket
        self._on_message = on_message
        self._on_closed = on_closed
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._cut = False
        self._closed = False
        self._tasks = TaskSet(log)
        self._writer = self._tasks.spawn(self._write(), name=f"{self.name} writer")
        self._tasks.spawn(self._read(), name=f"{self.name} reader")

    def send(self, message: _Sent) -> None:
        """Queue a message. After the socket's end it is dropped; more than `OUTBOX_LIMIT` bytes end the socket."""
        if self._closed or self._cut or self._writer.done():
            return
        payload = encode(message)
        self._waiting += len(payload)
        if self._waiting > OUTBOX_LIMIT:
            self._cut = True
            self._socket.transport.abort()
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
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await self._socket.close()
        except TimeoutError:
            log.debug("the server did not close its side of the %s socket", self.name)
        finally:
            self._socket.transport.abort()
            await self._tasks.close()

    async def _write(self) -> None:
        from websockets.exceptions import ConnectionClosed

        while (payload := await self._outbox.get()) is not None:
            try:
                await self._socket.send(payload)
            except ConnectionClosed as error:
                log.debug("a %s message could not be sent: %s", self.name, error)
                return
            finally:
                self._waiting -= len(payload)
                self._outbox.task_done()

    async def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        while not self._closed:
            try:
                frame = await self._socket.recv()
            except ConnectionClosed as ended:
                if not self._closed:
                    self._on_closed(self._ending(ended))
                return
            try:
                message = cast(_Received, decode(self.received, frame))
            except ProtocolError as error:
                log.warning("a %s message was ignored: %s", self.name, error)
                continue
            try:
                self._on_message(message)
            except Exception:
                log.exception("handling a %s message failed", self.name)

    def _ending(self, ended: ConnectionClosed) -> str:
        if self._cut:
            return f"the server does not read the {self.name} connection: more than {OUTBOX_LIMIT} bytes wait for it"
        return f"the {self.name} connection was lost: {ended}"


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
        return cls(await connect(url, token, max_size=MAX_SIGNAL_SIZE, proxy=proxy_for(url)), on_message, on_closed)


async def connect(
    url: str, token: str, *, max_size: int, heartbeat: float | None = None, proxy: str | None = None
) -> ClientConnection:
    """Open a websocket with a token; who calls closes it.

    Args:
        url: ws, wss, http or https.
        token: goes into the Authorization header.
        max_size: bytes of the longest message that may arrive; a longer one ends the connection.
        heartbeat: seconds between pings; half of that without an answer ends the connection. None = no pings.
        proxy: the URL of an HTTP proxy; None = the server is reached directly.

    Raises:
        SocketRefusedError: the server answered with something else than a websocket, or not at all.
    """
    from websockets.asyncio.client import connect as open_socket
    from websockets.exceptions import InvalidStatus, WebSocketException

    address = f"ws{url.removeprefix('http')}" if url.startswith("http") else url
    try:
        return await open_socket(
            address,
            additional_headers={"Authorization": f"Bearer {token}"},
            proxy=proxy,
            ssl=_tls() if address.startswith("wss:") else None,
            happy_eyeballs_delay=_NEXT_ADDRESS,
            compression=None,
            max_size=max_size,
            open_timeout=None,
            close_timeout=FLUSH_TIMEOUT,
            ping_interval=heartbeat,
            ping_timeout=heartbeat and heartbeat / 2,
            logger=_library_log,
        )
    except InvalidStatus as error:
        raise SocketRefusedError(_words(error.response), url, error.response.status_code) from error
    except (WebSocketException, OSError, ValueError, ImportError) as error:  # ImportError: a SOCKS proxy
        detail = f"{error}: {error.__cause__}" if error.__cause__ is not None else str(error)
        raise SocketRefusedError(detail or type(error).__name__, url, 0) from error


def _words(response: Response) -> str:
    """What a server says in a response that is no websocket."""
    text = bytes(response.body or b"").decode(errors="replace").strip()
    return text[:_MAX_WORDS] or response.reason_phrase


@functools.cache
def _tls() -> ssl.SSLContext:
    """Reads the system's certificates, which takes a while: once."""
    import ssl

    return ssl.create_default_context()

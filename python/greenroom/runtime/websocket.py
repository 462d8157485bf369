"""An open websocket of a client: the connection under it, through a proxy and TLS where they are asked for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import SplitResult, quote, unquote, urlsplit

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from greenroom.errors import GreenroomError

if TYPE_CHECKING:
    import ssl

__all__ = ["CloseConnection", "SocketRefusedError", "WebSocket"]

_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
#: Seconds until a server's next address is tried beside the first (RFC 8305).
_NEXT_ADDRESS = 0.25
_PIECE = 65_536
#: Bytes that are read of what a server refuses with, and characters that are shown.
_MAX_BODY = 65_536
_MAX_WORDS = 1000
_WRONG, _LOST, _TOO_BIG = 1002, 1006, 1009

_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class SocketRefusedError(GreenroomError):
    """The server did not accept the websocket at `url`.

    `status` is the HTTP one and the message what the server said with it; 0 when there was no answer at all.
    """

    def __init__(self, message: str, url: str, status: int) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class WebSocket:
    """One task receives; any may send. Who opened it aborts it in the end, whatever happened."""

    def __init__(self, streams: _Streams, max_size: int) -> None:
        self._machine = WSConnection(ConnectionType.CLIENT)
        self._reader, self._writer = streams
        self._max_size = max_size
        self._events: deque[Event] = deque()
        self._pieces: list[bytes | str] = []
        self._size = 0
        #: How often something has arrived: who does not answer a ping is gone.
        self.heard = 0

    @classmethod
    async def open(cls, url: str, token: str, *, max_size: int, proxy: str | None = None) -> WebSocket:
        """Connect.

        Args:
            url: ws, wss, http or https.
            token: goes into the Authorization header. One that cannot be there counts as refused (401).
            max_size: bytes of the longest message that may arrive; a longer one ends the connection.
            proxy: the URL of an HTTP proxy; None = the server is reached directly.

        Raises:
            SocketRefusedError: the server answered with something else than a websocket, or not at all.
        """
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SocketRefusedError("it has characters that no token has", url, 401)
        try:
            parts = _parts(url)
            streams = await (_connect(parts) if proxy is None else _connect_through(proxy, parts))
        except (OSError, ValueError) as error:
            raise SocketRefusedError(str(error) or type(error).__name__, url, 0) from error
        socket = cls(streams, max_size)
        try:
            await socket._shake_hands(parts, token)
        except _RefusedError as refused:
            socket.abort()
            raise SocketRefusedError(str(refused)[:_MAX_WORDS], url, refused.status) from None
        except BaseException:
            socket.abort()
            raise
        return socket

    async def send(self, content: bytes) -> None:
        """Send a message; returns when the connection takes more.

        Raises:
            ConnectionError: it has ended.
        """
        self._write(Message(content))
        await self._writer.drain()

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._write(Ping())

    async def receive(self) -> bytes | str | CloseConnection:
        """The next message, or how it has ended: 1005 = the server gave no code, 1006 = the connection just ended."""
        while True:
            match await self._next():
                case Message() as piece:
                    self._size += len(piece.data)
                    if self._size > self._max_size:
                        end = CloseConnection(_TOO_BIG, f"a message of more than {self._max_size} bytes")
                        self._write(end)
                        return end
                    if piece.data or not self._pieces:
                        self._pieces.append(piece.data)
                    if piece.message_finished:
                        return self._whole()
                case Ping() as ping:
                    self._write(ping.response())
                    with contextlib.suppress(ConnectionError):
                        # A server that asks and does not read the answers has to wait.
                        await self._writer.drain()
                case CloseConnection() as closed:
                    return closed

    def close(self) -> None:
        """Say the end. `receive` returns it when the server has said it too."""
        self._write(CloseConnection(1000))

    def abort(self) -> None:
        """End the connection now. Idempotent."""
        self._writer.transport.abort()

    async def _shake_hands(self, parts: SplitResult, token: str) -> None:
        headers = [(b"Authorization", f"Bearer {token}".encode()), (b"User-Agent", b"greenroom")]
        try:
            request = Request(host=_host(parts), target=_target(parts), extra_headers=headers)
            self._writer.write(self._machine.send(request))
        except (h11.LocalProtocolError, LocalProtocolError) as error:
            raise _RefusedError(0, f"the URL cannot be asked for: {error}".encode()) from error
        status, body = 0, b""
        while True:
            match await self._next():
                case AcceptConnection():
                    return
                case RejectConnection() as rejection:
                    status = rejection.status_code
                    if not rejection.has_body:
                        raise _RefusedError(status, b"")
                case RejectData() as piece:
                    body += piece.data
                    if piece.body_finished or len(body) > _MAX_BODY:
                        raise _RefusedError(status, body)
                case CloseConnection() as closed:
                    if not status:
                        body = f"that is no websocket server: {closed.reason or 'it ended the connection'}".encode()
                    raise _RefusedError(status, body)

    def _whole(self) -> bytes | str:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if isinstance(pieces[0], str):
            return "".join(piece for piece in pieces if isinstance(piece, str))
        return b"".join(piece for piece in pieces if not isinstance(piece, str))

    def _write(self, event: Event) -> None:
        """Send an event; when the end was said already, nothing."""
        with contextlib.suppress(LocalProtocolError):
            self._writer.write(self._machine.send(event))

    async def _next(self) -> Event:
        while not self._events:
            try:
                data = await self._reader.read(_PIECE)
            except OSError:
                data = b""
            self.heard += 1
            try:
                self._machine.receive_data(data or None)
                self._events.extend(self._machine.events())
            except RemoteProtocolError as error:
                return CloseConnection(_WRONG, str(error.__context__ or error))
            if not data and not self._events:
                return CloseConnection(_LOST)
        event = self._events.popleft()
        if isinstance(event, CloseConnection):
            # The answer, or what a server is told that broke the rules.
            self._write(event.response())
        return event


class _RefusedError(Exception):
    """There will be no websocket. `status` is the HTTP one, 0 when there was none, `body` what came with it."""

    def __init__(self, status: int, body: bytes) -> None:
        phrase = next((known.phrase for known in HTTPStatus if known == status), "")
        super().__init__(body.decode(errors="replace").strip() or phrase)
        self.status = status


async def _connect(parts: SplitResult) -> _Streams:
    tls = _tls() if parts.scheme in ("wss", "https") else None
    return await asyncio.open_connection(
        parts.hostname, _port(parts), ssl=tls, happy_eyeballs_delay=_NEXT_ADDRESS, limit=_PIECE
    )


async def _connect_through(proxy: str, parts: SplitResult) -> _Streams:
    """Let an HTTP proxy connect us (RFC 9110, CONNECT)."""
    way = urlsplit(proxy)
    if way.scheme not in ("http", "https") or not way.hostname:
        raise ValueError(f"the proxy must be http://host:port, not {way.scheme}://{way.hostname or ''}")
    reader, writer = await _connect(way)
    try:
        await _ask_proxy(reader, writer, way, f"{_bracketed(parts)}:{_port(parts)}")
        if parts.scheme in ("wss", "https"):
            await writer.start_tls(_tls(), server_hostname=parts.hostname)
        return reader, writer
    except BaseException:
        writer.transport.abort()
        raise


async def _ask_proxy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: SplitResult, target: str
) -> None:
    machine = h11.Connection(h11.CLIENT)
    headers = [("Host", target)]
    if proxy.username is not None:
        credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers.append(("Proxy-Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}"))
    writer.write(machine.send(h11.Request(method="CONNECT", target=target, headers=headers)) or b"")
    writer.write(machine.send(h11.EndOfMessage()) or b"")
    while True:
        try:
            event = machine.next_event()
        except h11.RemoteProtocolError as error:
            raise ConnectionError(f"the proxy {proxy.hostname} did not answer as a proxy does: {error}") from error
        match event:
            case h11.Response(status_code=status) if 200 <= status < 300:
                return
            case h11.Response(status_code=status):
                raise ConnectionError(f"the proxy {proxy.hostname} refused with HTTP status {status}")
            case h11.ConnectionClosed():
                raise ConnectionError(f"the proxy {proxy.hostname} did not answer")
            case _:
                machine.receive_data(await reader.read(_PIECE))


def _parts(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} does not begin with ws://host or wss://host")
    return parts


def _host(parts: SplitResult) -> str:
    usual = parts.port in (None, _PORTS[parts.scheme])
    return _bracketed(parts) if usual else f"{_bracketed(parts)}:{parts.port}"


def _bracketed(parts: SplitResult) -> str:
    name = parts.hostname or ""
    if not name.isascii():
        name = name.encode("idna").decode()
    return f"[{name}]" if ":" in name else name


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else path


@functools.cache
def _tls() -> ssl.SSLContext:
    """Reads the system's certificates, which takes a while: once."""
    import ssl

    return ssl.create_default_context()

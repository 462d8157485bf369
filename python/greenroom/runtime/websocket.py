"""An open websocket of a client: the connection under it, through a proxy and TLS where they are asked for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import os
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit

from greenroom.errors import GreenroomError
from greenroom.protocol.client_websocket import ClientWebSocket, Closed, Event, Message, Opened, Refused, Write

if TYPE_CHECKING:
    import ssl

__all__ = ["SocketRefusedError", "WebSocket"]

_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
#: Seconds until a server's next address is tried beside the first (RFC 8305).
_NEXT_ADDRESS = 0.25
_PIECE = 65_536
#: Characters of a server's refusal that are shown.
_MAX_WORDS = 1000

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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

    def __init__(self, machine: ClientWebSocket, streams: _Streams) -> None:
        self._machine = machine
        self._reader, self._writer = streams
        self._events: deque[Event] = deque()
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
            machine = ClientWebSocket(_host(parts), _target(parts), token, max_size=max_size, random=os.urandom)
            streams = await (_connect(parts) if proxy is None else _connect_through(proxy, parts))
        except (OSError, ValueError) as error:
            raise SocketRefusedError(str(error) or type(error).__name__, url, 0) from error
        socket = cls(machine, streams)
        try:
            socket._writer.write(machine.request)
            match await socket._next():
                case Refused(status=status, words=words):
                    raise SocketRefusedError(words[:_MAX_WORDS], url, status)
                case _:
                    return socket
        except BaseException:
            socket.abort()
            raise

    async def send(self, content: bytes) -> None:
        """Send a message; returns when the connection takes more.

        Raises:
            ConnectionError: it has ended.
        """
        self._writer.write(self._machine.message(content))
        await self._writer.drain()

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._writer.write(self._machine.ping())

    async def receive(self) -> bytes | str | Closed:
        """The next message, or how it has ended."""
        while True:
            match await self._next():
                case Message(content=content):
                    return content
                case Closed() as closed:
                    return closed
                case _:
                    continue

    def close(self) -> None:
        """Say the end. `receive` returns it when the server has said it too."""
        self._writer.write(self._machine.close())

    def abort(self) -> None:
        """End the connection now. Idempotent."""
        self._writer.transport.abort()

    async def _next(self) -> Opened | Refused | Message | Closed:
        while True:
            while self._events:
                match self._events.popleft():
                    case Write(data=data):
                        self._writer.write(data)
                        with contextlib.suppress(ConnectionError):
                            # A server that asks and does not read the answers has to wait.
                            await self._writer.drain()
                    case event:
                        return event
            try:
                data = await self._reader.read(_PIECE)
            except OSError:
                data = b""
            self.heard += 1
            self._events.extend(self._machine.received(data) if data else self._machine.ended())


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
        target = f"{_bracketed(parts)}:{_port(parts)}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if way.username is not None:
            credentials = f"{unquote(way.username)}:{unquote(way.password or '')}"
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}")
        writer.write("\r\n".join((*lines, "", "")).encode())
        status = _proxy_status(await reader.readuntil(b"\r\n\r\n"))
        if not 200 <= status < 300:
            raise ConnectionError(f"the proxy {way.hostname} refused with HTTP status {status}")
        if parts.scheme in ("wss", "https"):
            await writer.start_tls(_tls(), server_hostname=parts.hostname)
        return reader, writer
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.transport.abort()
        raise ConnectionError(f"the proxy {way.hostname} did not answer") from error
    except BaseException:
        writer.transport.abort()
        raise


def _parts(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} does not begin with ws://host or wss://host")
    return parts


def _proxy_status(head: bytes) -> int:
    version, _, rest = head.partition(b" ")
    return int(rest[:3]) if version.startswith(b"HTTP/1.") and rest[:3].isdigit() else 0


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

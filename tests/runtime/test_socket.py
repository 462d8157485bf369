"""A client's websocket against servers that behave, refuse, fall silent, or do not read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, Pong

from greenroom.runtime import socket as sockets
from greenroom.runtime import websocket as websockets
from greenroom.runtime.proxies import proxy_for
from greenroom.runtime.socket import OUTBOX_LIMIT, SignalSocket, SocketRefusedError
from greenroom.runtime.websocket import CloseConnection, WebSocket
from greenroom.wire import messages as m
from greenroom.wire.signal import MAX_SIGNAL_SIZE

pytestmark = pytest.mark.loopback

TOKEN = "a-secret-token"
PING = m.SignalRequest(ping=7)


class Far:
    """A server that does with each websocket what `serve` says, and what our side heard of it."""

    def __init__(self) -> None:
        self.url = ""
        self.received: asyncio.Queue[m.SignalResponse] = asyncio.Queue()
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.sockets: list[SignalSocket] = []

    async def open(self, url: str | None = None) -> SignalSocket:
        async with asyncio.timeout(10):
            socket = await SignalSocket.open(url or self.url, TOKEN, self.received.put_nowait, self.closed.put_nowait)
        self.sockets.append(socket)
        return socket


Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


@contextlib.asynccontextmanager
async def far(serve: Serve, ssl: object = None) -> AsyncIterator[Far]:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await serve(socket)
        return socket

    app = web.Application()
    app.router.add_get("/rtc", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
    await site.start()
    end = Far()
    end.url = f"{'wss' if ssl else 'ws'}://127.0.0.1:{runner.addresses[0][1]}/rtc"
    try:
        yield end
    finally:
        for socket in end.sockets:
            await socket.close()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: object = None
) -> AsyncIterator[int]:
    """A TCP server that answers as told; its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


async def echo(socket: web.WebSocketResponse) -> None:
    async for frame in socket:
        if frame.type is WSMsgType.BINARY:
            request = m.SignalRequest.FromString(frame.data)
            await socket.send_bytes(m.SignalResponse(pong=request.ping).SerializeToString())


async def soon(queue: asyncio.Queue):
    async with asyncio.timeout(10):
        return await queue.get()


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_messages_go_both_ways_in_order():
    async with far(echo) as end:
        socket = await end.open()
        for number in range(50):
            socket.send(m.SignalRequest(ping=number))
        assert [(await soon(end.received)).pong for _ in range(50)] == list(range(50))


async def test_the_token_and_the_messages_are_not_logged(caplog):
    caplog.set_level("DEBUG")
    async with far(echo) as end:
        socket = await end.open()
        socket.send(m.SignalRequest(update_metadata=m.UpdateParticipantMetadata(metadata="a private remark")))
        socket.send(PING)
        await soon(end.received)
        await socket.close()
    assert TOKEN not in caplog.text and "private" not in caplog.text


async def test_a_server_is_found_by_name():
    async with far(echo) as end:
        (await end.open(end.url.replace("127.0.0.1", "localhost"))).send(PING)
        assert (await soon(end.received)).pong == 7


async def test_what_was_sent_before_closing_arrives_and_nothing_is_heard_afterwards():
    heard: list[int] = []
    done = asyncio.Event()

    async def listen(socket: web.WebSocketResponse) -> None:
        async for frame in socket:
            heard.append(m.SignalRequest.FromString(frame.data).ping)
        done.set()

    async with far(listen) as end:
        socket = await end.open()
        for number in range(20):
            socket.send(m.SignalRequest(ping=number))
        await socket.close()
        await socket.close()
        socket.send(PING)
        async with asyncio.timeout(10):
            await done.wait()
        assert heard == list(range(20))
        assert end.closed.empty()


async def test_json_in_text_frames_is_read_and_nonsense_is_left_out(caplog):
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\xff\xff\xff")
        await socket.send_str("{nonsense")
        await socket.send_str('{"pong": "5"}')
        await socket.receive()

    async with far(talk) as end:
        await end.open()
        assert (await soon(end.received)).pong == 5
    assert caplog.text.count("was ignored") == 2


async def test_a_failing_handler_does_not_end_the_connection(caplog):
    async with far(echo) as end:
        heard: list[int] = []
        both = asyncio.Event()

        def on_message(message: m.SignalResponse) -> None:
            heard.append(message.pong)
            if len(heard) == 2:
                both.set()
            raise LookupError("lost")

        socket = await SignalSocket.open(end.url, TOKEN, on_message, end.closed.put_nowait)
        end.sockets.append(socket)
        socket.send(m.SignalRequest(ping=1))
        socket.send(m.SignalRequest(ping=2))
        async with asyncio.timeout(10):
            await both.wait()
    assert heard == [1, 2]
    assert caplog.text.count("handling a signalling message failed") == 2


# -- endings -----------------------------------------------------------------------------------------------------------


async def test_the_end_is_told_once_with_its_code():
    async def leave(socket: web.WebSocketResponse) -> None:
        await socket.close(code=1001, message=b"going away")

    async with far(leave) as end:
        socket = await end.open()
        assert "code 1001, going away" in await soon(end.closed)
        socket.send(PING)
        await socket.close()
        assert end.closed.empty()


async def test_a_message_beyond_the_limit_ends_the_connection():
    async def flood(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(bytes(MAX_SIGNAL_SIZE + 1))
        await socket.receive()

    async with far(flood) as end:
        await end.open()
        assert "code 1009, a message of more than" in await soon(end.closed)
        assert end.received.empty()


async def test_a_server_that_does_not_read_is_given_up_at_the_limit():
    go = asyncio.Event()

    async def stuck(socket: web.WebSocketResponse) -> None:
        await go.wait()

    async with far(stuck) as end:
        socket = await end.open()
        message = m.SignalRequest(update_metadata=m.UpdateParticipantMetadata(metadata="x" * 100_000))
        size = message.ByteSize()
        # What the kernel and the server's reader hold is not ours: far more is given than the limit.
        for _ in range(40 * OUTBOX_LIMIT // size):
            socket.send(message)
            assert socket._waiting <= OUTBOX_LIMIT + size
            await asyncio.sleep(0)
            if not end.closed.empty():
                break
        assert "does not read" in await soon(end.closed)
        async with asyncio.timeout(10):
            await socket.close()
        go.set()


async def test_closing_does_not_wait_for_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(sockets, "FLUSH_TIMEOUT", 0.05)
    go = asyncio.Event()

    async def silent(socket: web.WebSocketResponse) -> None:
        await go.wait()

    async with far(silent) as end:
        socket = await end.open()
        async with asyncio.timeout(10):
            await socket.close()
        assert socket._socket._writer.is_closing() and not socket._tasks
        go.set()


async def test_closing_can_be_cancelled_and_still_frees_everything():
    go = asyncio.Event()

    async def silent(socket: web.WebSocketResponse) -> None:
        await go.wait()

    async with far(silent) as end:
        socket = await end.open()
        closing = asyncio.create_task(socket.close())
        for _ in range(5):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert socket._socket._writer.is_closing()
        go.set()


async def test_a_peer_that_answers_no_ping_is_given_up():
    go = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
        writer.write(_accept(key))
        await go.wait()

    closed: asyncio.Queue[str] = asyncio.Queue()
    async with raw(deaf) as port:
        socket = await WebSocket.open(f"ws://127.0.0.1:{port}", TOKEN, max_size=1000)
        signalling = SignalSocket(socket, lambda message: None, closed.put_nowait, 0.1)
        assert "did not answer within 0.05 s" in await soon(closed)
        await signalling.close()
        go.set()


async def test_a_peer_that_answers_pings_is_kept():
    pings: asyncio.Queue[bytes] = asyncio.Queue()
    closed: asyncio.Queue[str] = asyncio.Queue()

    async def alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
        writer.write(_accept(key))
        while ping := await reader.read(6):
            pings.put_nowait(ping)
            writer.write(b"\x8a\x00")

    async with raw(alive) as port:
        socket = await WebSocket.open(f"ws://127.0.0.1:{port}", TOKEN, max_size=1000)
        signalling = SignalSocket(socket, lambda message: None, closed.put_nowait, 0.2)
        for _ in range(4):
            assert (await soon(pings))[:2] == b"\x89\x80"
        assert closed.empty()
        await signalling.close()


# -- servers that break the rules -------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, bits: int = 0) -> bytes:
    """A server's frame (RFC 6455, 5.2)."""
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes((final << 7 | bits << 4 | opcode,)) + length + payload


@contextlib.asynccontextmanager
async def answered_with(data: bytes) -> AsyncIterator[tuple[WebSocket, asyncio.Queue[Event]]]:
    """A websocket whose server sends `data` when it is open, and what the server reads then."""
    read: asyncio.Queue[Event] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = WSConnection(ConnectionType.SERVER)
        server.receive_data(await reader.readuntil(b"\r\n\r\n"))
        list(server.events())
        writer.write(server.send(AcceptConnection()) + data)
        while received := await reader.read(1000):
            server.receive_data(received)
            for event in server.events():
                read.put_nowait(event)

    async with raw(serve) as port:
        socket = await WebSocket.open(f"ws://127.0.0.1:{port}", TOKEN, max_size=60_000)
        try:
            yield socket, read
        finally:
            socket.abort()


async def test_pieces_are_put_together_and_control_frames_may_come_between_them():
    text = "grüß".encode()
    data = (
        frame(1, text[:3], final=False) + frame(9, b"?") + frame(0, b"", final=False) + frame(10) + frame(0, text[3:])
    )
    async with answered_with(data + frame(2, b"one", final=False) + frame(0, b" two")) as (socket, read):
        assert await socket.receive() == "grüß"
        assert await socket.receive() == b"one two"
        assert await soon(read) == Pong(b"?")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(2, b"x", bits=4), 1002),
        (frame(3, b"x"), 1002),
        (frame(11), 1002),
        (b"\x82\x81\0\0\0\0x", 1002),
        (frame(9, bytes(126)), 1002),
        (frame(9, b"x", final=False), 1002),
        (frame(0, b"x"), 1002),
        (frame(2, b"x", final=False) + frame(2, b"y"), 1002),
        (frame(8, b"\x03"), 1002),
        (frame(8, (1005).to_bytes(2, "big")), 1002),
        (frame(8, (1000).to_bytes(2, "big") + b"\xff"), 1007),
        (frame(1, b"\xff"), 1007),
        (b"\x82\x7f" + b"\xff" * 8, 1002),
        (frame(2, bytes(40_000), final=False) + frame(0, bytes(40_000)), 1009),
    ],
)
async def test_a_server_that_breaks_the_rules_is_told_and_left(data: bytes, code: int):
    async with answered_with(frame(2, b"before") + data) as (socket, read):
        assert await socket.receive() == b"before"
        end = await socket.receive()
        assert isinstance(end, CloseConnection) and end.code == code and end.reason
        told = await soon(read)
        assert isinstance(told, CloseConnection) and told.code == code


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=200))
async def test_no_bytes_of_a_server_raise_anything(data: bytes):
    async with answered_with(data + frame(8)) as (socket, _):
        socket._reader.feed_eof()
        async with asyncio.timeout(10):
            while not isinstance(await socket.receive(), CloseConnection):
                pass


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "body", "status", "words"),
    [
        (b"401 Unauthorized\r\ncontent-length: 13", b"invalid token", 401, "invalid token"),
        (b"404 Not Found\r\ntransfer-encoding: chunked", b"4\r\ngone\r\n0\r\n\r\n", 404, "gone"),
        (b"503 Service Unavailable\r\ncontent-length: 0", b"", 503, "Service Unavailable"),
        (b"500 Oh\r\nconnection: close", b"x" * 5000, 500, "x" * 1000),
    ],
)
async def test_a_refusal_has_the_status_and_the_servers_words(head: bytes, body: bytes, status: int, words: str):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %s\r\n\r\n%s" % (head, body))
        await writer.drain()

    async with raw(refuse) as port:
        with pytest.raises(SocketRefusedError) as refused:
            await Far().open(f"ws://127.0.0.1:{port}/rtc")
    assert (refused.value.status, refused.value.message) == (status, words)
    assert refused.value.url == f"ws://127.0.0.1:{port}/rtc"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-server\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000,
    ],
)
async def test_what_is_no_websocket_server_is_said(answer: bytes):
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with raw(other) as port:
        with pytest.raises(SocketRefusedError, match=r"that is no websocket server: .") as refused:
            await Far().open(f"ws://127.0.0.1:{port}/rtc")
    assert refused.value.status == 0


@pytest.mark.parametrize("token", ["a token", "token\n", "t\u00f6ken"])
async def test_what_can_be_no_token_is_refused_before_anything_is_sent(token: str):
    with pytest.raises(SocketRefusedError, match="characters that no token has") as refused:
        await WebSocket.open("ws://127.0.0.1:1", token, max_size=1000)
    assert refused.value.status == 401


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/rtc", "ws://no-such-host.invalid/rtc", "gopher://host/rtc"])
async def test_where_no_server_is_the_status_is_none(url: str):
    with pytest.raises(SocketRefusedError) as refused:
        await Far().open(url)
    assert refused.value.status == 0 and refused.value.message


async def test_connecting_can_be_cancelled_and_leaves_no_connection():
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        gone.set()

    async with raw(silent) as port:
        before = asyncio.all_tasks()
        opening = asyncio.create_task(Far().open(f"ws://127.0.0.1:{port}/rtc"))
        async with asyncio.timeout(10):
            await arrived.wait()
            opening.cancel()
            await asyncio.wait([opening])
            await gone.wait()
        assert opening.cancelled()
        assert asyncio.all_tasks() - before <= {task for task in asyncio.all_tasks() if "silent" in repr(task)}


# -- TLS and proxies ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for 127.0.0.1."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", path, "-out", path.with_suffix(".crt")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def _server_tls(certificate: Path):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch):
    """Our side trusts the certificate, as an administrator would have it: by SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    websockets._tls.cache_clear()
    yield
    websockets._tls.cache_clear()


async def test_over_tls_a_trusted_server_is_talked_to(certificate: Path, trusting: None):
    async with far(echo, _server_tls(certificate)) as end:
        (await end.open(end.url.replace("wss://", "https://"))).send(PING)
        assert (await soon(end.received)).pong == 7


async def test_over_tls_a_server_nobody_vouches_for_is_refused(certificate: Path):
    async with far(echo, _server_tls(certificate)) as end:
        with pytest.raises(SocketRefusedError, match="certificate verify failed") as refused:
            await end.open()
        assert refused.value.status == 0


@contextlib.asynccontextmanager
async def proxy(credentials: bytes | None = None, tls: object = None) -> AsyncIterator[tuple[int, list[str]]]:
    """An HTTP proxy that tunnels everything to 127.0.0.1; its port, and who was asked for."""
    asked: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode().split("\r\n")[0].split()
        if credentials and b"Basic " + base64.b64encode(credentials) not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            return
        assert method == "CONNECT"
        asked.append(target)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while piece := await source.read(65536):
                    sink.write(piece)
            sink.close()

        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))

    async with raw(tunnel, tls) as port:
        yield port, asked


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ws_proxy", "all_proxy"])
async def test_the_environments_proxy_is_used(variable: str, monkeypatch: pytest.MonkeyPatch):
    async with far(echo) as end, proxy() as (port, asked):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
        name = end.url.replace("127.0.0.1", "server.example")
        (await end.open(name)).send(PING)
        assert (await soon(end.received)).pong == 7
    assert asked == [name.removeprefix("ws://").removesuffix("/rtc")]


async def test_tls_goes_through_the_proxy_too(certificate: Path, trusting: None):
    async with far(echo, _server_tls(certificate)) as end, proxy() as (port, asked):
        async with asyncio.timeout(10):
            socket = await WebSocket.open(end.url, TOKEN, max_size=1000, proxy=f"http://127.0.0.1:{port}")
            await socket.send(PING.SerializeToString())
            assert m.SignalResponse.FromString(await socket.receive()).pong == 7
            socket.close()
            assert isinstance(await socket.receive(), CloseConnection)
        socket.abort()
    assert len(asked) == 1


async def test_the_proxy_itself_may_be_behind_tls(certificate: Path, trusting: None):
    tls = _server_tls(certificate)
    async with far(echo, tls) as end, proxy(tls=tls) as (port, asked):
        async with asyncio.timeout(10):
            socket = await WebSocket.open(end.url, TOKEN, max_size=1000, proxy=f"https://127.0.0.1:{port}")
            await socket.send(PING.SerializeToString())
            assert m.SignalResponse.FromString(await socket.receive()).pong == 7
        socket.abort()
    assert len(asked) == 1


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"x" * 200_000, b"nonsense\r\n\r\n"])
async def test_a_proxy_that_does_not_answer_is_said(answer: bytes):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with raw(silent) as port:
        with pytest.raises(SocketRefusedError, match=r"the proxy 127\.0\.0\.1 (did not answer|refused)") as refused:
            await WebSocket.open("ws://server.example", TOKEN, max_size=1000, proxy=f"http://127.0.0.1:{port}")
    assert refused.value.status == 0


async def test_a_proxys_credentials_come_from_its_url_and_its_refusal_is_said():
    async with far(echo) as end, proxy(b"ada:secret") as (port, asked):
        async with asyncio.timeout(10):
            socket = await WebSocket.open(end.url, TOKEN, max_size=1000, proxy=f"http://ada:secret@127.0.0.1:{port}")
            socket.abort()
            with pytest.raises(SocketRefusedError, match="407") as refused:
                await WebSocket.open(end.url, TOKEN, max_size=1000, proxy=f"http://127.0.0.1:{port}")
        assert refused.value.status == 0
    assert len(asked) == 1


async def test_a_proxy_that_is_none_for_http_is_refused():
    with pytest.raises(SocketRefusedError, match=r"must be http://host:port, not socks5h://127\.0\.0\.1"):
        await WebSocket.open("ws://server.example", TOKEN, max_size=1000, proxy="socks5h://127.0.0.1:1")


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("ws://server.example/rtc", {}, None),
        ("ws://server.example", {"https_proxy": "http://p:1"}, None),
        ("wss://server.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://server.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("wss://server.example", {"https_proxy": "http://p:1", "wss_proxy": "http://q:2"}, "http://q:2"),
        ("wss://server.example", {"all_proxy": "http://p:1"}, "http://p:1"),
        ("wss://server.example", {"https_proxy": "http://p:1", "no_proxy": ".example"}, None),
        ("wss://server.example:99", {"https_proxy": "http://p:1", "no_proxy": "server.example:98"}, "http://p:1"),
        ("wss://user:word@server.example:98", {"https_proxy": "http://p:1", "no_proxy": "server.example:98"}, None),
        ("ws://server.example", {"http_proxy": "http://p:1", "no_proxy": "a, server.example"}, None),
        ("ws://myserver.example", {"http_proxy": "http://p:1", "no_proxy": "server.example"}, "http://p:1"),
        ("ws://server.example", {"http_proxy": "http://p:1", "NO_PROXY": "*"}, None),
        ("ws://server.example", {"http_proxy": "", "HTTP_PROXY": "http://p:1"}, None),
        ("ws://server.example", {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None),
        ("wss://server.example", {"HTTPS_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://p:1"),
        ("ws://127.0.0.1:7880", {"http_proxy": "http://p:1"}, None),
        ("ws://[::1]:7880", {"http_proxy": "http://p:1"}, None),
        ("ws://localhost:7880", {"http_proxy": "http://p:1"}, None),
        ("", {"http_proxy": "http://p:1"}, None),
    ],
)
def test_which_proxy_the_environment_names(url: str, environment: dict[str, str], expected: str | None, monkeypatch):
    for name in ("ws", "wss", "http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == expected


def _accept(key: bytes) -> bytes:
    import hashlib

    digest = hashlib.sha1(key.strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    return head + b"sec-websocket-accept: " + base64.b64encode(digest) + b"\r\n\r\n"

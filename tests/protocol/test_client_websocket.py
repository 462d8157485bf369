"""The client's end of a websocket, against bytes that a good, a strange and a hostile server sends."""

from __future__ import annotations

import base64
import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.protocol.client_websocket import (
    ClientWebSocket,
    Closed,
    Message,
    Opened,
    Refused,
    Write,
    encode_frame,
)

MAX_SIZE = 70_000
KEY = base64.b64encode(bytes(16))
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


def machine(token: str = "token", host: str = "host:7880", target: str = "/rtc?a=b") -> ClientWebSocket:
    return ClientWebSocket(host, target, token, max_size=MAX_SIZE, random=bytes)


def opened() -> ClientWebSocket:
    client = machine()
    assert client.received(ANSWER) == [Opened()]
    return client


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0) -> bytes:
    """As a server sends it: not masked."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + (size & 0xFFFF).to_bytes(2, "big")
    if size >= 1 << 16:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([final << 7 | reserved << 4 | opcode]) + length + payload


def unmasked(data: bytes) -> tuple[int, bytes]:
    """Opcode and payload of a short frame of ours."""
    assert data[1] & 0x80
    mask, content = data[2:6], data[6:]
    assert len(content) == data[1] & 0x7F
    return data[0] & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(content))


# -- the handshake -----------------------------------------------------------------------------------------------------


def test_the_request_has_what_a_websocket_needs_and_the_token():
    head, *lines = machine().request.decode().split("\r\n")
    assert head == "GET /rtc?a=b HTTP/1.1"
    assert lines[-2:] == ["", ""]
    assert dict(line.split(": ", 1) for line in lines[:-2]) == {
        "Host": "host:7880",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY.decode(),
        "Authorization": "Bearer token",
        "User-Agent": "greenroom",
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [("token", {"token": "a\r\nCookie: b"}), ("path", {"target": "/a b"}), ("host", {"host": "h\n"})],
)
def test_nothing_can_be_smuggled_into_the_request(name: str, values: dict[str, str]):
    with pytest.raises(ValueError, match=f"the {name} has characters"):
        machine(**values)


def test_frames_may_follow_the_answer_at_once_and_informational_answers_come_before_it():
    data = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + ANSWER + frame(2, b"first")
    assert machine().received(data) == [Opened(), Message(b"first")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ANSWER.replace(ACCEPT, b"c29tZXRoaW5nIGVsc2U="), "Sec-WebSocket-Accept"),
        (ANSWER.replace(b"Sec-WebSocket-Accept", b"X"), "Sec-WebSocket-Accept"),
        (ANSWER.replace(b"WebSocket\r", b"h2c\r"), "something else"),
        (ANSWER.replace(b"keep-alive, Upgrade", b"close"), "something else"),
        (ANSWER[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "not offered"),
        (ANSWER[:-2] + b"Sec-WebSocket-Protocol: chat\r\n\r\n", "not offered"),
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP server"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP server"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP response"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "no line"),
        (b"HTTP/1.1 200 OK\r\nspace : x\r\n\r\n", "no line"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 4000, "longer than"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 4000 + b"\r\n", "longer than"),
    ],
)
def test_an_answer_that_is_none_is_refused_with_what_is_wrong(answer: bytes, words: str):
    client = machine()
    (refused,) = client.received(answer)
    assert isinstance(refused, Refused) and refused.status == 0 and words in refused.words
    assert client.received(ANSWER) == [] and client.ended() == []


@pytest.mark.parametrize(
    ("fields", "body", "words"),
    [
        (b"Content-Length: 5\r\n", b"words and what comes then", "words"),
        (b"Content-Length: 0\r\n", b"", "Reason"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nwor\r\n2;x=y\r\nds\r\n0\r\n\r\n", "words"),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\nwords\r\n", "Reason"),
    ],
)
def test_a_refusal_ends_with_the_body(fields: bytes, body: bytes, words: str):
    answer = b"HTTP/1.1 403 Reason\r\n" + fields + b"\r\n" + body
    client = machine()
    assert client.received(answer[: answer.index(b"\r\n\r\n") + 3]) == []
    assert client.received(answer[answer.index(b"\r\n\r\n") + 3 :]) == [Refused(403, words)]
    assert client.ended() == []


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b"", Refused(0, "the server ended the connection without an answer")),
        (b"HTTP/1.1 500 Re", Refused(0, "the server ended the connection without an answer")),
        (b"HTTP/1.1 500 Reason\r\n\r\nwor\xffds", Refused(500, "wor\ufffdds")),
        (b"HTTP/1.0 500\r\nContent-Length: 10\r\n\r\nword", Refused(500, "word")),
        (b"HTTP/1.1 500\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nword", Refused(500, "word")),
        (b"HTTP/1.1 500\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\nword", Refused(500, "word")),
        (b"HTTP/1.1 500 Reason\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nword", Refused(500, "word")),
    ],
)
def test_a_refusal_that_breaks_off_is_one_all_the_same(answer: bytes, refused: Refused):
    client = machine()
    assert client.received(answer) == [] and client.ended() == [refused]


def test_a_refusal_without_end_is_not_read_without_end():
    client = machine()
    assert client.received(b"HTTP/1.1 500 Reason\r\n\r\n") == []
    events = [event for _ in range(1000) for event in client.received(b"x" * 1000)]
    assert [type(event) for event in events] == [Refused] and len(client._buffer) < 100_000


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_SIZE])
def test_messages_of_every_length_arrive(size: int):
    content = bytes(range(256)) * (size // 256 + 1)
    assert opened().received(frame(2, content[:size])) == [Message(content[:size])]


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_what_we_send_is_masked_and_can_be_read(content: bytes, mask: bytes):
    data = encode_frame(2, content, mask)
    start = 2 if len(content) < 126 else 4
    assert data[0] == 0x82 and data[1] & 0x80
    length = data[1] & 0x7F if start == 2 else int.from_bytes(data[2:4], "big")
    assert length == len(content) and data[start : start + 4] == mask
    assert bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[start + 4 :])) == content


def test_a_long_message_of_ours_has_its_length_in_eight_bytes():
    data = opened().message(bytes(70_000))
    assert data[:10] == b"\x82\xff" + (70_000).to_bytes(8, "big") and len(data) == 70_000 + 14


def test_pieces_are_put_together_and_control_frames_may_come_between_them():
    client = opened()
    data = frame(1, "gr\u00fc".encode()[:3], final=False) + frame(9, b"?") + frame(0, b"", final=False) + frame(10)
    (pong,) = client.received(data)
    assert isinstance(pong, Write) and unmasked(pong.data) == (10, b"?")
    assert client.received(frame(0, "gr\u00fc\u00df".encode()[3:])) == [Message("gr\u00fc\u00df")]


STREAM = (
    ANSWER + frame(2, b"one") + frame(1, b"two", final=False) + frame(9, b"ping") + frame(0, b"three")
    + frame(2, bytes(300)) + frame(8, (1001).to_bytes(2, "big") + b"bye") + frame(2, b"too late")
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_how_the_bytes_are_cut_makes_no_difference(cuts: list[int]):
    client = machine()
    events = [
        event
        for start, end in pairwise([0, *sorted(cuts), len(STREAM)])
        for event in client.received(STREAM[start:end])
    ]
    assert events == machine().received(STREAM)
    assert [type(event) for event in events] == [Opened, Message, Write, Message, Message, Write, Closed]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_of_a_server_raise_anything(data: bytes):
    for client in (machine(), opened()):
        client.received(data)
        client.ended()
        assert client.received(data) == []


# -- endings -----------------------------------------------------------------------------------------------------------


def test_a_close_of_the_server_is_answered_once():
    client = opened()
    reply, closed = client.received(frame(8, (1001).to_bytes(2, "big") + b"going away"))
    assert isinstance(reply, Write) and unmasked(reply.data) == (8, (1001).to_bytes(2, "big"))
    assert closed == Closed(1001, "going away")
    assert client.received(frame(2, b"late")) == [] and client.ended() == [] and client.close() == b""


def test_a_close_without_a_code_is_answered_with_a_normal_one():
    reply, closed = opened().received(frame(8))
    assert isinstance(reply, Write) and unmasked(reply.data) == (8, (1000).to_bytes(2, "big"))
    assert closed == Closed(1005, "")


def test_our_own_close_is_said_once_and_its_answer_is_the_end():
    client = opened()
    assert unmasked(client.close()) == (8, (1000).to_bytes(2, "big"))
    assert client.close() == b""
    assert client.received(frame(2, b"sent before")) == [Message(b"sent before")]
    assert client.received(frame(8, (1000).to_bytes(2, "big"))) == [Closed(1000, "")]


def test_a_connection_that_ends_is_the_end():
    client = opened()
    assert client.received(frame(2, b"whole")[:-1]) == []
    assert client.ended() == [Closed(1006, "")] and client.ended() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(2, b"x", reserved=4), 1002),
        (frame(3, b"x"), 1002),
        (frame(11), 1002),
        (b"\x82\x81\0\0\0\0x", 1002),
        (frame(9, bytes(126)), 1002),
        (frame(9, b"x", final=False), 1002),
        (frame(0, b"x"), 1002),
        (frame(2, b"x", final=False) + frame(2, b"y"), 1002),
        (frame(8, b"\x03"), 1002),
        (frame(8, (1005).to_bytes(2, "big")), 1002),
        (frame(8, (2999).to_bytes(2, "big")), 1002),
        (frame(8, (5000).to_bytes(2, "big")), 1002),
        (frame(8, (1000).to_bytes(2, "big") + b"\xff"), 1007),
        (frame(1, b"\xff"), 1007),
        (frame(2, bytes(MAX_SIZE + 1))[:10], 1009),
        (b"\x82\x7f" + b"\xff" * 8, 1009),
        (frame(2, bytes(60_000), final=False) + frame(0, bytes(60_000), final=False)[:10], 1009),
    ],
)
def test_a_server_that_breaks_the_rules_is_told_and_left(data: bytes, code: int):
    client = opened()
    *_, reply, closed = client.received(data)
    assert isinstance(reply, Write) and unmasked(reply.data) == (8, code.to_bytes(2, "big"))
    assert isinstance(closed, Closed) and closed.code == code and closed.reason
    assert client.received(frame(2, b"more")) == []

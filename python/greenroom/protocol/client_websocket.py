"""The client's end of a websocket (RFC 6455): told what arrives, it says what to send and what it means.

No extension and no subprotocol is offered, so none is accepted.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

__all__ = ["ClientWebSocket", "Closed", "Event", "Message", "Opened", "Refused", "Write", "encode_frame"]

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Bytes of a response's head, and of the body that is read of a refusal.
_MAX_HEAD = 16_384
_MAX_BODY = 65_536
#: Bytes of a control frame's payload.
_MAX_CONTROL = 125

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_OPCODES = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_NORMAL, _PROTOCOL_ERROR, _NO_CODE, _LOST, _BAD_TEXT, _TOO_BIG = 1000, 1002, 1005, 1006, 1007, 1009

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: (.*))?")
_TOKEN = re.compile(r"[\x21-\x7e]*")


class Write(NamedTuple):
    """These bytes are to be sent."""

    data: bytes


class Opened(NamedTuple):
    """The server has accepted. Messages may be sent."""


class Refused(NamedTuple):
    """There will be no websocket. `status` is the HTTP one and `words` what came with it, or 0 and what is wrong."""

    status: int
    words: str


class Message(NamedTuple):
    """A whole message: the bytes of a binary one, the string of a text."""

    content: bytes | str


class Closed(NamedTuple):
    """The end; nothing follows. 1005 = the server gave no code, 1006 = the connection just ended."""

    code: int
    reason: str


Event: TypeAlias = Write | Opened | Refused | Message | Closed


class _State(enum.Enum):
    HEAD = "waiting for the response"
    BODY = "reading why it was refused"
    OPEN = "open"
    CLOSING = "we have said the end"
    OVER = "over"


class _Violation(Exception):
    """The server does what it must not."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ClientWebSocket:
    """One websocket, from the request to the end. Begin by sending `request`.

    Args:
        host: for the Host header: with the port if it is not the usual one.
        target: path and query, percent-encoded.
        token: goes into the Authorization header.
        max_size: bytes of the longest message to take.
        random: gives so many random bytes.

    Raises:
        ValueError: host, target or token cannot stand in a request.
    """

    def __init__(self, host: str, target: str, token: str, *, max_size: int, random: Callable[[int], bytes]) -> None:
        for name, value in (("host", host), ("path", target), ("token", token)):
            if not _TOKEN.fullmatch(value):
                raise ValueError(f"the {name} has characters that cannot be in a request")
        self._key = base64.b64encode(random(16))
        self._max_size = max_size
        self._random = random
        self._state = _State.HEAD
        self._buffer = bytearray()
        self._response: tuple[int, str, dict[str, str]] = (0, "", {})
        self._message = bytearray()
        self._kind: int | None = None
        lines = (
            f"GET {target} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {self._key.decode()}",
            f"Authorization: Bearer {token}",
            "User-Agent: greenroom",
        )
        #: The bytes to begin with.
        self.request = "\r\n".join((*lines, "", "")).encode()

    def received(self, data: bytes) -> list[Event]:
        """Bytes of the server."""
        if self._state is _State.OVER:
            return []
        self._buffer += data
        events: list[Event] = []
        try:
            events.extend(self._handshake())
            while self._state in (_State.OPEN, _State.CLOSING) and (frame := self._frame()) is not None:
                events.extend(self._take(*frame))
        except _Violation as violation:
            events.extend(self._fail(violation))
        return events

    def ended(self) -> list[Event]:
        """The connection has ended."""
        state, self._state = self._state, _State.OVER
        match state:
            case _State.HEAD:
                return [Refused(0, "the server ended the connection without an answer")]
            case _State.BODY:
                refusal = self._refusal(ended=True)
                return [refusal] if refusal is not None else []
            case _State.OPEN | _State.CLOSING:
                return [Closed(_LOST, "")]
            case _State.OVER:
                return []

    def message(self, content: bytes) -> bytes:
        """The bytes that send a binary message."""
        return encode_frame(_BINARY, content, self._random(4))

    def ping(self) -> bytes:
        """The bytes that ask for a sign of life."""
        return encode_frame(_PING, b"", self._random(4))

    def close(self) -> bytes:
        """The bytes that say the end, once: then none. `Closed` follows when the server has said it too."""
        if self._state is not _State.OPEN:
            return b""
        self._state = _State.CLOSING
        return self._close_frame(_NORMAL)

    # -- the response ----------------------------------------------------------------------------------------------

    def _handshake(self) -> Iterator[Event]:
        while self._state is _State.HEAD:
            end = self._buffer.find(b"\r\n\r\n")
            if not self._buffer.startswith(b"HTTP/1."[: len(self._buffer)]):
                raise _Violation(0, f"that is no HTTP server: it begins with {bytes(self._buffer[:20])!r}")
            if max(end, len(self._buffer) if end < 0 else 0) > _MAX_HEAD:
                raise _Violation(0, f"the head of the server's response is longer than {_MAX_HEAD} bytes")
            if end < 0:
                return
            self._response = status, _, fields = _parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if status == 101:
                self._check(fields)
                self._state = _State.OPEN
                yield Opened()
            elif status >= 200:
                self._state = _State.BODY
        if self._state is _State.BODY and (refusal := self._refusal(ended=False)) is not None:
            self._state = _State.OVER
            yield refusal

    def _check(self, fields: dict[str, str]) -> None:
        expected = base64.b64encode(hashlib.sha1(self._key + _MAGIC, usedforsecurity=False).digest()).decode()
        if fields.get("sec-websocket-accept") != expected:
            raise _Violation(0, "the server's Sec-WebSocket-Accept does not answer our request")
        upgrades = {each.strip().lower() for each in fields.get("connection", "").split(",")}
        if fields.get("upgrade", "").lower() != "websocket" or "upgrade" not in upgrades:
            raise _Violation(0, "the server switches to something else than a websocket")
        if fields.get("sec-websocket-extensions") or fields.get("sec-websocket-protocol"):
            raise _Violation(0, "the server chose an extension or a protocol that was not offered")

    def _refusal(self, *, ended: bool) -> Refused | None:
        """What the server refuses with, once its words are there, or are as long as they may get."""
        status, reason, fields = self._response
        body, complete = self._body(status, fields)
        if not complete and not ended and len(self._buffer) < _MAX_BODY:
            return None
        return Refused(status, body.decode(errors="replace").strip() or reason)

    def _body(self, status: int, fields: dict[str, str]) -> tuple[bytes, bool]:
        """The body as far as it is there, and whether that is all."""
        content = bytes(self._buffer)
        if status in (204, 304):
            return b"", True
        if "chunked" in fields.get("transfer-encoding", "").lower():
            return _unchunk(content)
        length = fields.get("content-length", "")
        size = int(length) if length.isdecimal() and len(length) < 10 else _MAX_BODY
        return content[:size], len(content) >= size

    # -- frames ----------------------------------------------------------------------------------------------------

    def _frame(self) -> tuple[int, bool, bytes] | None:
        """The next whole frame: opcode, whether it is the last of its message, payload."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, final, size = buffer[0] & 0x0F, bool(buffer[0] & 0x80), buffer[1] & 0x7F
        if buffer[0] & 0x70 or buffer[1] & 0x80 or opcode not in _OPCODES:
            raise _Violation(_PROTOCOL_ERROR, "a frame with reserved bits, a mask or an unknown opcode")
        if opcode >= _CLOSE and (size > _MAX_CONTROL or not final):
            raise _Violation(_PROTOCOL_ERROR, "a control frame that is too long or in pieces")
        start = 2 + {126: 2, 127: 8}.get(size, 0)
        if len(buffer) < start:
            return None
        if start > 2:
            size = int.from_bytes(buffer[2:start], "big")
        if opcode < _CLOSE and len(self._message) + size > self._max_size:
            raise _Violation(_TOO_BIG, f"a message of more than {self._max_size} bytes")
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        del buffer[: start + size]
        return opcode, final, payload

    def _take(self, opcode: int, final: bool, payload: bytes) -> Iterator[Event]:
        if opcode == _PING:
            yield Write(encode_frame(_PONG, payload, self._random(4)))
        elif opcode == _CLOSE:
            yield from self._closed(payload)
        elif opcode != _PONG:
            yield from self._piece(opcode, final, payload)

    def _piece(self, opcode: int, final: bool, payload: bytes) -> Iterator[Event]:
        if (opcode == _CONTINUATION) is (self._kind is None):
            raise _Violation(_PROTOCOL_ERROR, "a message begins within another, or goes on before it began")
        self._kind = opcode or self._kind
        self._message += payload
        if not final:
            return
        content, kind = bytes(self._message), self._kind
        self._message.clear()
        self._kind = None
        yield Message(_utf8(content) if kind == _TEXT else content)

    def _closed(self, payload: bytes) -> Iterator[Event]:
        code, reason = _NO_CODE, ""
        if payload:
            code, reason = int.from_bytes(payload[:2], "big"), _utf8(payload[2:])
            if len(payload) == 1 or not _may_be_sent(code):
                raise _Violation(_PROTOCOL_ERROR, "a close frame with a code that must not be sent")
        if self._state is _State.OPEN:
            yield Write(self._close_frame(_NORMAL if code == _NO_CODE else code))
        self._state = _State.OVER
        yield Closed(code, reason)

    def _fail(self, violation: _Violation) -> Iterator[Event]:
        state, self._state = self._state, _State.OVER
        if violation.code == 0:
            yield Refused(0, violation.reason)
            return
        if state is _State.OPEN:
            yield Write(self._close_frame(violation.code))
        yield Closed(violation.code, violation.reason)

    def _close_frame(self, code: int) -> bytes:
        return encode_frame(_CLOSE, code.to_bytes(2, "big"), self._random(4))


def encode_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """A whole message, or a control frame, as a client sends it: masked."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    pattern = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")
    return bytes((0x80 | opcode,)) + length + mask + masked


def _parse_head(head: bytes) -> tuple[int, str, dict[str, str]]:
    """Status, reason and fields (names in small letters; what comes twice is joined) of a response."""
    first, *lines = head.split(b"\r\n")
    parsed = _STATUS_LINE.fullmatch(first)
    if parsed is None:
        raise _Violation(0, f"that is no HTTP response: {first[:40]!r}")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise _Violation(0, f"that is no line of an HTTP response: {line[:40]!r}")
        name, value = name.lower(), value.strip()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return int(parsed[1]), (parsed[2] or b"").decode("latin-1").strip(), fields


def _unchunk(data: bytes) -> tuple[bytes, bool]:
    """What there is of a body that is sent in chunks, and whether that is all (or cannot be read on)."""
    body = bytearray()
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            return bytes(body), False
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            return bytes(body), True
        if size <= 0:
            return bytes(body), True
        body += data[:size]
        data = data[size + 2 :]


def _may_be_sent(code: int) -> bool:
    return 3000 <= code < 5000 or (1000 <= code <= 1014 and code not in (1004, _NO_CODE, _LOST))


def _utf8(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _Violation(_BAD_TEXT, f"a text that is not UTF-8: {error}") from error

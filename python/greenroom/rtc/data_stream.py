"""Text and byte streams: any amount of text or bytes to participants, under a topic."""

from __future__ import annotations

import codecs
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

from greenroom import _arguments as check
from greenroom.errors import StateError
from greenroom.protocol.client_streams import (
    CHUNK_SIZE,
    StreamHeader,
    chunk_packet,
    header_packet,
    split_bytes,
    split_utf8,
    trailer_packet,
)
from greenroom.rtc._ids import new_id
from greenroom.rtc._stream_content import Content, StreamError

if TYPE_CHECKING:
    from greenroom.rtc.local_participant import LocalParticipant
    from greenroom.wire import messages as m

__all__ = [
    "STREAM_CHUNK_SIZE",
    "BaseStreamInfo",
    "BaseStreamWriter",
    "ByteStreamHandler",
    "ByteStreamInfo",
    "ByteStreamReader",
    "ByteStreamWriter",
    "StreamError",
    "TextStreamHandler",
    "TextStreamInfo",
    "TextStreamReader",
    "TextStreamWriter",
]

STREAM_CHUNK_SIZE = CHUNK_SIZE


@dataclass
class BaseStreamInfo:
    """What is known of a stream.

    Attributes:
        timestamp: milliseconds since 1970.
        size: bytes of the whole content; None when the sender does not say.
    """

    stream_id: str
    mime_type: str
    topic: str
    timestamp: int
    size: int | None
    attributes: dict[str, str] | None


@dataclass
class TextStreamInfo(BaseStreamInfo):
    """What is known of a text stream."""

    attachments: list[str]


@dataclass
class ByteStreamInfo(BaseStreamInfo):
    """What is known of a byte stream."""

    name: str


_Info = TypeVar("_Info", bound=BaseStreamInfo)


class _StreamReader(Generic[_Info]):
    """What readers of text and of bytes share."""

    def __init__(self, info: _Info, content: Content) -> None:
        self._info = info
        self._content = content

    @property
    def info(self) -> _Info:
        """What the sender said about it."""
        return self._info

    def close(self) -> None:
        """Stop reading; what arrives later is dropped. Idempotent."""
        self._content.close()

    async def aclose(self) -> None:
        """Like `close`."""
        self.close()

    def _finish(self, error: str, attributes: Mapping[str, str]) -> None:
        self._info.attributes = (self._info.attributes or {}) | dict(attributes)
        self._content.end(error)


class TextStreamReader(_StreamReader[TextStreamInfo]):
    """Reads an incoming text: `async for piece in reader`, or `await reader.read_all()`.

    A stream that breaks off raises `StreamError` after everything that had arrived. One that is not read while more
    than `DataStreamOptions.max_unread_byte_length` waits raises it at once.
    """

    def __init__(self, header: StreamHeader, content: Content) -> None:
        super().__init__(text_info(header), content)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while (piece := await self._content.next()) is not None:
            if text := self._decoder.decode(piece):
                return text
        raise StopAsyncIteration

    async def read_all(self) -> str:
        """The whole text.

        Raises:
            StreamError: it broke off.
        """
        return "".join([piece async for piece in self])


class ByteStreamReader(_StreamReader[ByteStreamInfo]):
    """Reads incoming bytes: `async for piece in reader`, or `await reader.read_all()`.

    A stream that breaks off raises `StreamError` after everything that had arrived. One that is not read while more
    than `DataStreamOptions.max_unread_byte_length` waits raises it at once.
    """

    def __init__(self, header: StreamHeader, content: Content) -> None:
        super().__init__(byte_info(header), content)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._content.next()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def read_all(self) -> bytes:
        """All of it.

        Raises:
            StreamError: it broke off.
        """
        return b"".join([piece async for piece in self])


TextStreamHandler: TypeAlias = Callable[[TextStreamReader, str], Any]
ByteStreamHandler: TypeAlias = Callable[[ByteStreamReader, str], Any]


class BaseStreamWriter:
    """Sends one stream; opened by `stream_text` or `stream_bytes`, ended by `aclose` or `async with`."""

    def __init__(
        self,
        local_participant: LocalParticipant,
        header: StreamHeader,
        destination_identities: Sequence[str] | None,
        sender_identity: str | None = None,
    ) -> None:
        self._participant = local_participant
        self._header = header
        self._destinations = check.texts("destination_identities", destination_identities or ())
        self._sender_identity = check.given(check.text, "sender_identity", sender_identity)
        self._next_index = 0
        self._opened = False
        self._closed = False

    async def aclose(self, *, reason: str = "", attributes: dict[str, str] | None = None) -> None:
        """End the stream. A reason tells the readers that it is incomplete.

        Raises:
            StateError: it was closed before.
        """
        added = check.texts_by_name("attributes", attributes or {})
        trailer = trailer_packet(self._header.stream_id, check.text("reason", reason), added, self._destinations)
        if self._closed:
            raise StateError("the stream is already closed")
        await self._open()
        self._closed = True
        await self._send(trailer)

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not self._closed:
            await self.aclose(reason="" if error is None else f"the sender failed: {type(error).__name__}")

    async def _open(self) -> None:
        if not self._opened:
            self._opened = True
            await self._send(header_packet(self._header, self._destinations))

    async def _write(self, pieces: Iterable[bytes]) -> None:
        if self._closed:
            raise StateError("the stream is closed")
        await self._open()
        for piece in pieces:
            index, self._next_index = self._next_index, self._next_index + 1
            await self._send(chunk_packet(self._header.stream_id, index, piece, self._destinations))

    async def _send(self, packet: m.DataPacket) -> None:
        if self._sender_identity:
            packet.participant_identity = self._sender_identity
        await self._participant._send_packet(packet, reliable=True)


class TextStreamWriter(BaseStreamWriter):
    """Sends a text piece by piece."""

    def __init__(
        self,
        local_participant: LocalParticipant,
        *,
        topic: str = "",
        attributes: dict[str, str] | None = None,
        stream_id: str | None = None,
        total_size: int | None = None,
        reply_to_id: str | None = None,
        destination_identities: Sequence[str] | None = None,
        sender_identity: str | None = None,
    ) -> None:
        header = text_header(
            topic=topic, attributes=attributes, stream_id=stream_id, size=total_size, reply_to_id=reply_to_id
        )
        super().__init__(local_participant, header, destination_identities, sender_identity)

    @property
    def info(self) -> TextStreamInfo:
        """What the readers are told about it."""
        return text_info(self._header)

    async def write(self, text: str) -> None:
        """Send more text; waits while the connection is busy.

        Raises:
            StateError: the stream is closed.
            DisconnectedError: the room ended.
        """
        await self._write(split_utf8(check.text("text", text)))


class ByteStreamWriter(BaseStreamWriter):
    """Sends bytes piece by piece."""

    def __init__(
        self,
        local_participant: LocalParticipant,
        *,
        name: str,
        topic: str = "",
        attributes: dict[str, str] | None = None,
        stream_id: str | None = None,
        total_size: int | None = None,
        mime_type: str = "application/octet-stream",
        destination_identities: Sequence[str] | None = None,
    ) -> None:
        header = byte_header(
            topic=topic, attributes=attributes, stream_id=stream_id, size=total_size, name=name, mime_type=mime_type
        )
        super().__init__(local_participant, header, destination_identities)

    @property
    def info(self) -> ByteStreamInfo:
        """What the readers are told about it."""
        return byte_info(self._header)

    async def write(self, data: bytes) -> None:
        """Send more bytes; waits while the connection is busy.

        Raises:
            StateError: the stream is closed.
            DisconnectedError: the room ended.
        """
        await self._write(split_bytes(check.octets("data", data)))


def text_header(
    *,
    topic: str,
    attributes: Mapping[str, str] | None,
    stream_id: str | None,
    size: int | None,
    reply_to_id: str | None,
) -> StreamHeader:
    """The header of a text stream of ours."""
    general = _header(text=True, topic=topic, attributes=attributes, stream_id=stream_id, size=size)
    return general._replace(mime_type="text/plain", reply_to=check.text("reply_to_id", reply_to_id or ""))


def byte_header(
    *,
    topic: str,
    attributes: Mapping[str, str] | None,
    stream_id: str | None,
    size: int | None,
    name: str | None,
    mime_type: str | None,
) -> StreamHeader:
    """The header of a byte stream of ours."""
    general = _header(text=False, topic=topic, attributes=attributes, stream_id=stream_id, size=size)
    mime_type = check.text("mime_type", mime_type or "application/octet-stream")
    return general._replace(mime_type=mime_type, name=check.text("name", name or ""))


def _header(
    *, text: bool, topic: str, attributes: Mapping[str, str] | None, stream_id: str | None, size: int | None
) -> StreamHeader:
    return StreamHeader(
        stream_id=check.text("stream_id", stream_id or new_id()),
        text=text,
        topic=check.text("topic", topic),
        mime_type="",
        timestamp=time.time_ns() // 1_000_000,
        size=check.given(check.whole, "total_size", size, 0, 2**63 - 1),
        attributes=check.texts_by_name("attributes", attributes or {}),
    )


def text_info(header: StreamHeader) -> TextStreamInfo:
    """The public form of a text stream's header."""
    return TextStreamInfo(
        stream_id=header.stream_id,
        mime_type=header.mime_type,
        topic=header.topic,
        timestamp=header.timestamp,
        size=header.size,
        attributes=dict(header.attributes),
        attachments=list(header.attachments),
    )


def byte_info(header: StreamHeader) -> ByteStreamInfo:
    """The public form of a byte stream's header."""
    return ByteStreamInfo(
        stream_id=header.stream_id,
        mime_type=header.mime_type,
        topic=header.topic,
        timestamp=header.timestamp,
        size=header.size,
        attributes=dict(header.attributes),
        name=header.name,
    )

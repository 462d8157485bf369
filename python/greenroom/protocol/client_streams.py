"""Text and byte streams over data packets: taking apart what is sent, putting together what arrives."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from greenroom.wire import messages as m

__all__ = [
    "CHUNK_SIZE",
    "IncomingStreams",
    "StreamClosed",
    "StreamData",
    "StreamEvent",
    "StreamHeader",
    "StreamOpened",
    "chunk_packet",
    "compressed_or_plain",
    "header_packet",
    "split_bytes",
    "split_utf8",
    "trailer_packet",
]

CHUNK_SIZE = 15_000
MAX_PAYLOAD = 5 * 1024**3
#: Streams that one participant may have open here at a time; headers beyond are ignored.
MOST_OPEN = 1000


class StreamHeader(NamedTuple):
    """What is known of a stream before its content.

    Attributes:
        text: a text stream; else bytes.
        size: bytes of content, None when the sender did not say.
        timestamp: milliseconds since 1970.
    """

    stream_id: str
    text: bool
    topic: str
    mime_type: str
    timestamp: int
    attributes: Mapping[str, str]
    size: int | None = None
    name: str = ""
    reply_to: str = ""
    attachments: tuple[str, ...] = ()


class StreamOpened(NamedTuple):
    """A stream begins."""

    header: StreamHeader
    sender: str


class StreamData(NamedTuple):
    """The next bytes of a stream."""

    stream_id: str
    content: bytes


class StreamClosed(NamedTuple):
    """A stream is over; `error` says why it is incomplete, or is empty."""

    stream_id: str
    error: str
    attributes: Mapping[str, str]


StreamEvent: TypeAlias = StreamOpened | StreamData | StreamClosed


# -- outgoing ----------------------------------------------------------------------------------------------------------


def header_packet(
    header: StreamHeader, destinations: Sequence[str], *, inline: bytes | None = None, deflated: bool = False
) -> m.DataPacket:
    """The first packet of a stream; with `inline` also its only one."""
    message = m.DataStream.Header(
        stream_id=header.stream_id,
        timestamp=header.timestamp,
        topic=header.topic,
        mime_type=header.mime_type,
        attributes=dict(header.attributes),
    )
    if header.size is not None:
        message.total_length = header.size
    if header.text:
        message.text_header.CopyFrom(
            m.DataStream.TextHeader(reply_to_stream_id=header.reply_to, attached_stream_ids=list(header.attachments))
        )
    else:
        message.byte_header.CopyFrom(m.DataStream.ByteHeader(name=header.name))
    if inline is not None:
        message.inline_content = inline
        compression = m.DataStream.CompressionType
        message.compression = compression.DEFLATE_RAW if deflated else compression.NONE
    return m.DataPacket(stream_header=message, destination_identities=list(destinations))


def chunk_packet(stream_id: str, index: int, content: bytes, destinations: Sequence[str]) -> m.DataPacket:
    """One piece of content, at most CHUNK_SIZE bytes."""
    chunk = m.DataStream.Chunk(stream_id=stream_id, chunk_index=index, content=content)
    return m.DataPacket(stream_chunk=chunk, destination_identities=list(destinations))


def trailer_packet(
    stream_id: str, reason: str, attributes: Mapping[str, str], destinations: Sequence[str]
) -> m.DataPacket:
    """The last packet; a reason means that the stream is incomplete."""
    trailer = m.DataStream.Trailer(stream_id=stream_id, reason=reason, attributes=dict(attributes))
    return m.DataPacket(stream_trailer=trailer, destination_identities=list(destinations))


def compressed_or_plain(content: bytes) -> tuple[bytes, bool]:
    """The shorter of both forms, and whether it is the compressed one."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(content) + packer.flush()
    return (packed, True) if len(packed) < len(content) else (content, False)


def split_bytes(content: bytes, limit: int = CHUNK_SIZE) -> Iterator[bytes]:
    """Pieces of at most `limit` bytes."""
    for start in range(0, len(content), limit):
        yield content[start : start + limit]


def split_utf8(text: str, limit: int = CHUNK_SIZE) -> Iterator[bytes]:
    """Pieces of at most `limit` bytes, each valid UTF-8."""
    content = text.encode()
    start = 0
    while start < len(content):
        end = min(start + limit, len(content))
        while end < len(content) and content[end] & 0xC0 == 0x80:
            end -= 1
        yield content[start:end]
        start = end


# -- incoming ----------------------------------------------------------------------------------------------------------


class _Incoming:
    __slots__ = ("inflate", "next_index", "received", "sender", "size")

    def __init__(self, sender: str, size: int | None, deflated: bool) -> None:
        self.sender = sender
        self.size = size
        self.received = 0
        self.next_index = 0
        self.inflate = zlib.decompressobj(wbits=-15) if deflated else None


class IncomingStreams:
    """Streams that others are sending to us.

    Args:
        max_payload: bytes after which a stream is ended with an error.
    """

    def __init__(self, max_payload: int | None = None) -> None:
        self._max_payload = MAX_PAYLOAD if max_payload is None else max_payload
        self._streams: dict[str, _Incoming] = {}

    def packet(self, sender: str, packet: m.DataPacket) -> Iterator[StreamEvent]:
        """A header, chunk or trailer arrived."""
        match packet.WhichOneof("value"):
            case "stream_header":
                yield from self._header(sender, packet.stream_header)
            case "stream_chunk":
                yield from self._chunk(sender, packet.stream_chunk)
            case "stream_trailer":
                yield from self._trailer(sender, packet.stream_trailer)
            case _:
                return

    def sender_left(self, sender: str) -> Iterator[StreamEvent]:
        """Whatever this participant was sending stays incomplete."""
        for stream_id in [key for key, stream in self._streams.items() if stream.sender == sender]:
            yield self._close(stream_id, f"{sender} left before the stream was complete")

    def abandon(self, reason: str) -> Iterator[StreamEvent]:
        """No stream will be completed."""
        for stream_id in list(self._streams):
            yield self._close(stream_id, reason)

    def cancel(self, stream_id: str) -> None:
        """Nobody reads this stream."""
        self._streams.pop(stream_id, None)

    def _header(self, sender: str, header: m.DataStream.Header) -> Iterator[StreamEvent]:
        if header.stream_id in self._streams or self._open_of(sender) >= MOST_OPEN:
            return
        text = header.HasField("text_header")
        size = header.total_length if header.HasField("total_length") else None
        yield StreamOpened(
            StreamHeader(
                stream_id=header.stream_id,
                text=text,
                topic=header.topic,
                mime_type=header.mime_type,
                timestamp=header.timestamp,
                size=size,
                attributes=dict(header.attributes),
                name=header.byte_header.name,
                reply_to=header.text_header.reply_to_stream_id,
                attachments=tuple(header.text_header.attached_stream_ids),
            ),
            sender,
        )
        deflated = header.compression == m.DataStream.CompressionType.DEFLATE_RAW
        self._streams[header.stream_id] = _Incoming(sender, size, deflated)
        if header.HasField("inline_content"):
            yield from self._content(header.stream_id, header.inline_content)
            yield from self._finish(header.stream_id, {})

    def _open_of(self, sender: str) -> int:
        return sum(stream.sender == sender for stream in self._streams.values())

    def _chunk(self, sender: str, chunk: m.DataStream.Chunk) -> Iterator[StreamEvent]:
        stream = self._streams.get(chunk.stream_id)
        if stream is None or stream.sender != sender or chunk.chunk_index < stream.next_index:
            return
        if chunk.chunk_index > stream.next_index:
            yield self._close(chunk.stream_id, f"chunk {stream.next_index} is missing")
            return
        stream.next_index += 1
        yield from self._content(chunk.stream_id, chunk.content)

    def _trailer(self, sender: str, trailer: m.DataStream.Trailer) -> Iterator[StreamEvent]:
        stream = self._streams.get(trailer.stream_id)
        if stream is None or stream.sender != sender:
            return
        if trailer.reason:
            yield self._close(trailer.stream_id, trailer.reason, dict(trailer.attributes))
        else:
            yield from self._finish(trailer.stream_id, dict(trailer.attributes))

    def _content(self, stream_id: str, content: bytes) -> Iterator[StreamEvent]:
        stream = self._streams[stream_id]
        limit = self._max_payload if stream.size is None else min(self._max_payload, stream.size)
        if stream.inflate is not None:
            try:
                content = stream.inflate.decompress(content, limit - stream.received + 1)
            except zlib.error as error:
                yield self._close(stream_id, f"the content cannot be decompressed: {error}")
                return
        stream.received += len(content)
        if stream.received > limit:
            yield self._close(stream_id, f"the stream is longer than {limit} bytes")
        elif content:
            yield StreamData(stream_id, content)

    def _finish(self, stream_id: str, attributes: Mapping[str, str]) -> Iterator[StreamEvent]:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        short = stream.size is not None and stream.received < stream.size
        error = f"only {stream.received} of {stream.size} bytes arrived" if short else ""
        yield self._close(stream_id, error, attributes)

    def _close(self, stream_id: str, error: str, attributes: Mapping[str, str] | None = None) -> StreamClosed:
        del self._streams[stream_id]
        return StreamClosed(stream_id, error, attributes or {})

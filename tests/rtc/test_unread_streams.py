"""Streams that nobody reads hold no more memory than the room allows, whoever sends how much."""

from __future__ import annotations

import pytest

from greenroom import rtc
from greenroom.protocol.client_streams import MOST_OPEN, IncomingStreams, StreamOpened
from greenroom.rtc._stream_content import Content, StreamError, Unread
from greenroom.wire import messages as m

from .conftest import Studio, until


def content(unread: Unread) -> Content:
    return Content(unread, lambda: None)


async def test_the_fullest_stream_is_given_up_and_the_others_are_not():
    unread = Unread(1000)
    one, other = content(unread), content(unread)
    for _ in range(6):
        one.push(bytes(100))
    for _ in range(4):
        other.push(bytes(100))
    assert len(await other.next()) == 100
    other.push(bytes(100))
    other.push(bytes(100))
    with pytest.raises(StreamError, match="more than 1000 bytes waited, 600 of them here"):
        await one.next()
    for _ in range(5):
        assert len(await other.next()) == 100
    other.end("")
    assert await other.next() is None


async def test_what_is_read_dropped_or_closed_counts_no_longer():
    unread = Unread(1000)
    for _ in range(5):
        read, dropped, closed = content(unread), content(unread), content(unread)
        for each in (read, dropped, closed):
            each.push(bytes(300))
        await read.next()
        closed.close()
        del dropped, each
    last = content(unread)
    last.push(bytes(1000))
    assert len(await last.next()) == 1000


def header(stream_id: str) -> m.DataPacket:
    opened = m.DataStream.Header(stream_id=stream_id, text_header=m.DataStream.TextHeader())
    return m.DataPacket(stream_header=opened)


def test_one_sender_opens_a_limited_number_of_streams():
    streams = IncomingStreams()
    opened = [event for number in range(MOST_OPEN + 5) for event in streams.packet("ada", header(str(number)))]
    assert len(opened) == MOST_OPEN
    assert [type(event) for event in streams.packet("bob", header("b"))] == [StreamOpened]


def test_nobody_adds_to_or_ends_the_stream_of_another():
    streams = IncomingStreams()
    list(streams.packet("ada", header("s")))
    chunk = m.DataPacket(stream_chunk=m.DataStream.Chunk(stream_id="s", chunk_index=0, content=b"x"))
    trailer = m.DataPacket(stream_trailer=m.DataStream.Trailer(stream_id="s"))
    assert list(streams.packet("bob", chunk)) == list(streams.packet("bob", trailer)) == []
    assert len([*streams.packet("ada", chunk), *streams.packet("ada", trailer)]) == 2


@pytest.mark.loopback
async def test_a_reader_that_is_not_read_raises_and_the_room_goes_on(studio: Studio):
    ada = await studio.join("ada")
    bob = await studio.join("bob", data_stream=rtc.DataStreamOptions(max_unread_byte_length=200_000))
    await until(lambda: "bob" in ada.remote_participants)
    readers: list[rtc.ByteStreamReader] = []
    bob.register_byte_stream_handler("unread", lambda reader, sender: readers.append(reader))

    async def read(reader: rtc.ByteStreamReader, sender: str) -> None:
        got.append(await reader.read_all())

    got: list[bytes] = []
    bob.register_byte_stream_handler("read", read)
    await ada.local_participant.send_bytes(bytes(range(256)) * 2000, topic="unread", compress=False)
    await until(lambda: readers)
    with pytest.raises(rtc.StreamError, match="not read: more than 200000 bytes waited"):
        await until(lambda: readers[0]._content._error)
        await readers[0].read_all()
    async with await ada.local_participant.stream_bytes("again", topic="read") as writer:
        for _ in range(50):
            await writer.write(bytes(10_000))
    await until(lambda: got == [bytes(500_000)])

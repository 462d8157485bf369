"""Data packets, streams and data tracks: every byte arrives once, in order, or there is an error."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import PayloadTooLargeError
from greenroom.protocol.client_data import HISTORY_SIZE, DataLink
from greenroom.protocol.client_data_tracks import (
    MAX_FRAME,
    MAX_PACKET,
    DataTrackReassembly,
    FrameTooLargeError,
    frame_packets,
)
from greenroom.protocol.client_streams import (
    CHUNK_SIZE,
    IncomingStreams,
    StreamClosed,
    StreamData,
    StreamHeader,
    StreamOpened,
    chunk_packet,
    compressed_or_plain,
    header_packet,
    split_bytes,
    split_utf8,
    trailer_packet,
)
from greenroom.wire import messages as m
from greenroom.wire.data import LOSSY, MAX_PACKET_SIZE, RELIABLE, decode_packet


def user(payload: bytes) -> m.DataPacket:
    return m.DataPacket(user=m.UserPacket(payload=payload))


# -- packets -----------------------------------------------------------------------------------------------------------


def test_reliable_packets_are_numbered_and_lossy_ones_are_not():
    link = DataLink()
    sent = [link.encode(user(b"x"), reliable=reliable) for reliable in (True, False, True)]
    assert [label for label, _ in sent] == [RELIABLE, LOSSY, RELIABLE]
    packets = [decode_packet(payload) for _, payload in sent]
    assert [packet.sequence for packet in packets] == [1, 0, 2]
    assert [packet.kind for packet in packets] == [m.DataPacket.RELIABLE, m.DataPacket.LOSSY, m.DataPacket.RELIABLE]


def test_a_packet_that_is_too_long_is_refused_and_costs_no_number():
    link = DataLink()
    with pytest.raises(PayloadTooLargeError, match="send_bytes"):
        link.encode(user(b"x" * MAX_PACKET_SIZE), reliable=True)
    assert decode_packet(link.encode(user(b"x"), reliable=True)[1]).sequence == 1


def test_what_the_server_has_not_got_is_kept():
    link = DataLink()
    payloads = [link.encode(user(bytes([n])), reliable=True)[1] for n in range(5)]
    assert link.after(3) == payloads[3:]
    assert link.after(5) == []


def test_the_history_is_bounded():
    link = DataLink()
    for _ in range(100):
        link.encode(user(b"x" * 50_000), reliable=True)
    kept = link.after(0)
    assert sum(map(len, kept)) <= HISTORY_SIZE
    assert decode_packet(kept[-1]).sequence == 100


def test_what_arrives_twice_is_dropped_per_sender():
    link = DataLink()
    arrived = [("PA_a", 1), ("PA_b", 1), ("PA_a", 1), ("PA_a", 2), ("PA_a", 1), ("", 0), ("", 0)]
    packets = [m.DataPacket(participant_sid=sid, sequence=number) for sid, number in arrived]
    assert [link.accept(packet) for packet in packets] == [True, True, False, True, False, True, True]
    link.forget("PA_a")
    assert link.accept(packets[0])


# -- streams -----------------------------------------------------------------------------------------------------------


def header(*, text: bool = False, size: int | None = None, stream_id: str = "s") -> StreamHeader:
    return StreamHeader(
        stream_id=stream_id, text=text, topic="t", mime_type="x/y", timestamp=5, size=size, attributes={"a": "b"}
    )


def play(packets: list[m.DataPacket], streams: IncomingStreams | None = None) -> tuple[bytes, list[object]]:
    streams = streams or IncomingStreams()
    events = [event for packet in packets for event in streams.packet("ada", packet)]
    return b"".join(event.content for event in events if isinstance(event, StreamData)), events


def packets_of(content: bytes, size: int | None = None) -> list[m.DataPacket]:
    pieces = [chunk_packet("s", index, piece, []) for index, piece in enumerate(split_bytes(content))]
    return [header_packet(header(size=size), []), *pieces, trailer_packet("s", "", {"end": "yes"}, [])]


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 10 * CHUNK_SIZE + 7])
def test_bytes_of_any_length_arrive_whole(size):
    content = random.Random(size).randbytes(size)
    arrived, events = play(packets_of(content, size))
    assert arrived == content
    assert events[0] == StreamOpened(header(size=size), "ada")
    assert events[-1] == StreamClosed("s", "", {"end": "yes"})


@given(st.text(max_size=300), st.integers(4, 40))
def test_text_is_cut_between_characters(text, limit):
    pieces = list(split_utf8(text, limit))
    assert all(len(piece) <= limit for piece in pieces)
    assert "".join(piece.decode() for piece in pieces) == text


@pytest.mark.parametrize("content", [b"", b"short", b"a" * 100_000])
def test_a_small_stream_is_one_packet(content):
    packed, deflated = compressed_or_plain(content)
    assert deflated == (len(content) > 100)
    arrived, events = play([header_packet(header(size=len(content)), [], inline=packed, deflated=deflated)])
    assert arrived == content
    assert isinstance(events[-1], StreamClosed) and events[-1].error == ""


def test_a_missing_piece_is_an_error():
    packets = packets_of(b"x" * 3 * CHUNK_SIZE)
    del packets[2]
    _, events = play(packets)
    assert events[-1].error == "chunk 1 is missing"


def test_a_repeated_piece_is_taken_once():
    packets = packets_of(b"x" * 2 * CHUNK_SIZE)
    packets.insert(2, packets[1])
    assert len(play(packets)[0]) == 2 * CHUNK_SIZE


def test_a_stream_that_ends_short_or_long_is_an_error():
    assert "only 3 of 4" in play(packets_of(b"abc", 4))[1][-1].error
    assert "longer than 2" in play(packets_of(b"abc", 2))[1][-1].error


def test_the_senders_reason_for_breaking_off_is_told():
    packets = [header_packet(header(), []), trailer_packet("s", "disk full", {}, [])]
    assert play(packets)[1][-1] == StreamClosed("s", "disk full", {})


def test_a_sender_that_leaves_breaks_its_streams_off():
    streams = IncomingStreams()
    play([header_packet(header(), [])], streams)
    (closed,) = streams.sender_left("ada")
    assert "ada left" in closed.error
    assert list(streams.packet("ada", chunk_packet("s", 0, b"late", []))) == []


def test_a_compressed_bomb_is_stopped_at_the_limit():
    packed, _ = compressed_or_plain(b"\0" * 5_000_000)
    packet = header_packet(header(), [], inline=packed, deflated=True)
    arrived, events = play([packet], IncomingStreams(max_payload=1000))
    assert arrived == b"" and "longer than 1000" in events[-1].error


def test_broken_compression_is_an_error():
    packet = header_packet(header(), [], inline=b"\xff\xff", deflated=True)
    assert "cannot be decompressed" in play([packet])[1][-1].error


@given(st.lists(st.tuples(st.sampled_from("hct"), st.integers(0, 3), st.binary(max_size=5))))
def test_any_order_of_packets_keeps_the_promises(steps):
    """Opened once, data only while open, closed once: whatever arrives."""
    streams, open_now = IncomingStreams(), False
    for kind, number, content in steps:
        packet = {
            "h": header_packet(header(size=number or None), []),
            "c": chunk_packet("s", number, content, []),
            "t": trailer_packet("s", "", {}, []),
        }[kind]
        for event in streams.packet("ada", packet):
            match event:
                case StreamOpened():
                    assert not open_now
                    open_now = True
                case StreamData():
                    assert open_now
                case StreamClosed():
                    assert open_now
                    open_now = False


# -- data tracks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1188, 1189, 50_000])
@pytest.mark.parametrize("user_timestamp", [None, 2**60])
def test_a_frame_of_any_length_arrives_whole(size, user_timestamp):
    payload = random.Random(size).randbytes(size)
    packets = frame_packets(9, 65530, 3, 1, payload, user_timestamp)
    assert all(len(packet) <= MAX_PACKET for packet in packets)
    reassembly = DataTrackReassembly()
    frames = [frame for packet in packets if (frame := reassembly.packet(packet))]
    assert [(frame.payload, frame.user_timestamp) for frame in frames] == [(payload, user_timestamp)]


def test_packets_in_any_order_make_the_frame():
    payload = random.Random(5).randbytes(9000)
    packets = frame_packets(9, 65533, 3, 1, payload, None)
    random.Random(6).shuffle(packets)
    reassembly = DataTrackReassembly()
    (frame,) = [frame for packet in packets if (frame := reassembly.packet(packet))]
    assert frame.payload == payload


def test_an_incomplete_frame_makes_way_for_the_next():
    reassembly = DataTrackReassembly()
    assert reassembly.packet(frame_packets(9, 0, 1, 1, b"x" * 3000, None)[0]) is None
    frames = [reassembly.packet(packet) for packet in frame_packets(9, 10, 2, 1, b"y" * 3000, None)]
    assert frames[-1].payload == b"y" * 3000
    assert len(reassembly._partial) <= 1


def test_a_frame_that_is_too_long_is_refused():
    with pytest.raises(FrameTooLargeError):
        frame_packets(9, 0, 1, 1, b"x" * (MAX_FRAME + 1), None)


@given(st.lists(st.binary(max_size=40)))
def test_junk_on_a_data_track_is_ignored(junk):
    reassembly = DataTrackReassembly()
    for packet in junk:
        reassembly.packet(packet)

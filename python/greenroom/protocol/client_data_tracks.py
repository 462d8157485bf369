"""Packets of data tracks: frames to packets and back."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from greenroom.errors import PayloadTooLargeError

__all__ = ["DataTrackReassembly", "FrameTooLargeError", "ReceivedFrame", "frame_packets"]

#: Bytes of one packet, so that it fits one datagram.
MAX_PACKET = 1200
#: Bytes of one frame.
MAX_FRAME = 1024 * 1024

_HEADER = struct.Struct(">BBHHHI")
_START, _FINAL, _EXTENDED = 0x10, 0x08, 0x04
_USER_TIMESTAMP = 2


class FrameTooLargeError(PayloadTooLargeError):
    """A frame has more bytes than a data track takes."""


class ReceivedFrame(NamedTuple):
    """A complete frame."""

    payload: bytes
    user_timestamp: int | None


def frame_packets(
    handle: int, sequence: int, frame_number: int, timestamp: int, payload: bytes, user_timestamp: int | None
) -> list[bytes]:
    """The packets of one frame.

    `handle` is the publisher's of the track, `sequence` the first packet's number (numbers wrap at 65536), `timestamp`
    in 1/90000 s with 32 bits, `user_timestamp` whatever the sender wants to say.

    Raises:
        FrameTooLargeError: the frame is longer than 1 MiB.
    """
    if len(payload) > MAX_FRAME:
        raise FrameTooLargeError(f"the frame has {len(payload)} bytes and may have {MAX_FRAME}")
    extension = b"" if user_timestamp is None else _extension(user_timestamp)
    pieces = list(_pieces(payload, MAX_PACKET - _HEADER.size - len(extension)))
    packets = []
    for index, piece in enumerate(pieces):
        flags = (_START if index == 0 else 0) | (_FINAL if index == len(pieces) - 1 else 0)
        first = extension if index == 0 else b""
        flags |= _EXTENDED if first else 0
        header = _HEADER.pack(flags, 0, handle, (sequence + index) & 0xFFFF, frame_number & 0xFFFF, timestamp)
        packets.append(header + first + piece)
    return packets


class DataTrackReassembly:
    """Puts the packets of one track together. Incomplete frames make way for newer ones."""

    def __init__(self, max_partial_frames: int = 1) -> None:
        self._limit = max_partial_frames
        self._partial: dict[int, _Partial] = {}

    def packet(self, packet: bytes) -> ReceivedFrame | None:
        """The frame that this packet completes, if it does. Malformed packets are ignored."""
        if len(packet) < _HEADER.size or packet[0] >> 5 != 0:
            return None
        flags, _, _, sequence, number, _ = _HEADER.unpack_from(packet)
        body = packet[_HEADER.size :]
        user_timestamp = None
        if flags & _EXTENDED:
            if len(body) < 4:
                return None
            words = int.from_bytes(body[:2], "big") + 1
            user_timestamp = _read_extension(body[2 : words * 4])
            body = body[words * 4 :]
        if flags & _START and flags & _FINAL:
            return ReceivedFrame(body, user_timestamp)
        partial = self._partial.setdefault(number, _Partial())
        if partial.size + len(body) > MAX_FRAME:
            del self._partial[number]
            return None
        while len(self._partial) > self._limit:
            del self._partial[next(iter(self._partial))]
        return self._add(number, partial, flags, sequence, body, user_timestamp)

    def _add(
        self, number: int, partial: _Partial, flags: int, sequence: int, body: bytes, user_timestamp: int | None
    ) -> ReceivedFrame | None:
        partial.pieces[sequence] = body
        partial.size += len(body)
        if flags & _START:
            partial.start = sequence
            partial.user_timestamp = user_timestamp
        if flags & _FINAL:
            partial.final = sequence
        if partial.start is None or partial.final is None:
            return None
        count = ((partial.final - partial.start) & 0xFFFF) + 1
        order = [(partial.start + index) & 0xFFFF for index in range(count)]
        if not all(index in partial.pieces for index in order):
            return None
        self._partial.pop(number, None)
        return ReceivedFrame(b"".join(partial.pieces[index] for index in order), partial.user_timestamp)


class _Partial:
    __slots__ = ("final", "pieces", "size", "start", "user_timestamp")

    def __init__(self) -> None:
        self.pieces: dict[int, bytes] = {}
        self.size = 0
        self.start: int | None = None
        self.final: int | None = None
        self.user_timestamp: int | None = None


def _pieces(payload: bytes, limit: int) -> Iterator[bytes]:
    yield payload[:limit]
    for start in range(limit, len(payload), limit):
        yield payload[start : start + limit]


def _extension(user_timestamp: int) -> bytes:
    content = struct.pack(">BBQ", _USER_TIMESTAMP, 8, user_timestamp & 0xFFFFFFFFFFFFFFFF)
    words = -(-(2 + len(content)) // 4)
    return (struct.pack(">H", words - 1) + content).ljust(words * 4, b"\0")


def _read_extension(content: bytes) -> int | None:
    position = 0
    while position + 2 <= len(content):
        kind, length = content[position], content[position + 1]
        if kind == 0:
            return None
        value = content[position + 2 : position + 2 + length]
        if kind == _USER_TIMESTAMP and len(value) == 8:
            return int.from_bytes(value, "big")
        position += 2 + length
    return None

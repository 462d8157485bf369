"""Data packets of one participant: numbering, keeping for a resend, dropping what arrives twice."""

from __future__ import annotations

from collections import deque

from greenroom.errors import PayloadTooLargeError
from greenroom.wire import messages as m
from greenroom.wire.data import LOSSY, MAX_PACKET_SIZE, RELIABLE, encode_packet

__all__ = ["DataLink"]

#: Bytes of sent reliable packets that are kept for a server that resumes the session.
HISTORY_SIZE = 1024 * 1024


class DataLink:
    """Numbers outgoing reliable packets 1, 2, 3, ... and recognises incoming ones that were seen before."""

    def __init__(self) -> None:
        self._sequence = 0
        self._history: deque[tuple[int, bytes]] = deque()
        self._history_size = 0
        self._received: dict[str, int] = {}

    def encode(self, packet: m.DataPacket, *, reliable: bool) -> tuple[str, bytes]:
        """The channel and the bytes to send on it.

        Raises:
            PayloadTooLargeError: the packet is longer than a channel takes.
        """
        numbered = m.DataPacket()
        numbered.CopyFrom(packet)
        numbered.kind = m.DataPacket.RELIABLE if reliable else m.DataPacket.LOSSY
        if reliable:
            numbered.sequence = self._sequence + 1
        payload = encode_packet(numbered)
        if len(payload) > MAX_PACKET_SIZE:
            raise PayloadTooLargeError(
                f"the packet has {len(payload)} bytes and may have {MAX_PACKET_SIZE}; "
                "send more with send_text, send_bytes or send_file"
            )
        if reliable:
            self._sequence += 1
            self._remember(payload)
        return (RELIABLE if reliable else LOSSY), payload

    def accept(self, packet: m.DataPacket) -> bool:
        """Whether an incoming packet is new."""
        if not packet.sequence or not packet.participant_sid:
            return True
        if packet.sequence <= self._received.get(packet.participant_sid, 0):
            return False
        self._received[packet.participant_sid] = packet.sequence
        return True

    def after(self, last_sequence: int) -> list[bytes]:
        """Sent reliable packets that the server does not have yet."""
        return [payload for sequence, payload in self._history if sequence > last_sequence]

    def receive_states(self) -> list[m.DataChannelReceiveState]:
        """The last packet received of each sender."""
        return [m.DataChannelReceiveState(publisher_sid=sid, last_seq=last) for sid, last in self._received.items()]

    def forget(self, participant_sid: str) -> None:
        """A sender left."""
        self._received.pop(participant_sid, None)

    def _remember(self, payload: bytes) -> None:
        self._history.append((self._sequence, payload))
        self._history_size += len(payload)
        while self._history_size > HISTORY_SIZE:
            self._history_size -= len(self._history.popleft()[1])

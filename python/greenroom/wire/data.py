"""Data packets on the `_reliable` and `_lossy` channels."""

from __future__ import annotations

from greenroom.errors import ProtocolError
from greenroom.wire import messages as m

__all__ = ["DATA_TRACK", "LOSSY", "MAX_PACKET_SIZE", "RELIABLE", "decode_packet", "encode_packet"]

RELIABLE = "_reliable"
LOSSY = "_lossy"
DATA_TRACK = "_data_track"

#: Bytes of one encoded packet that a sender may put on a channel.
MAX_PACKET_SIZE = 64_000


def decode_packet(payload: bytes) -> m.DataPacket:
    """Read a packet.

    Raises:
        ProtocolError: it is not a DataPacket.
    """
    packet = m.DataPacket()
    try:
        packet.ParseFromString(payload)
    except m.DecodeError as error:
        raise ProtocolError(f"not a DataPacket: {error}") from error
    return packet


def encode_packet(packet: m.DataPacket) -> bytes:
    """The bytes for the channel."""
    return packet.SerializeToString()

"""Data tracks: raw frames that a participant publishes under a name, and handles that differ per subscriber."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.protocol.member import Member

__all__ = ["DataTrack", "check_publish", "packet_handle", "with_handle"]

_HANDLE = struct.Struct(">H")
_MIN_PACKET = 12
_MAX_NAME = 256


@dataclass(slots=True, eq=False)
class DataTrack:
    """A published data track and the handle under which each subscriber knows it."""

    info: m.DataTrackInfo
    member: Member
    handles: dict[str, int] = field(default_factory=dict)


def check_publish(member: Member, request: m.PublishDataTrackRequest) -> tuple[m.RequestResponse.Reason, str]:
    """The reason why a data track cannot be published, and OK when it can."""
    if not member.permission.can_publish_data:
        return m.RequestResponse.NOT_ALLOWED, "does not have permission to publish data"
    if not 0 < request.pub_handle < 65536:
        return m.RequestResponse.INVALID_HANDLE, "handle must be 1 to 65535"
    if not 0 < len(request.name) <= _MAX_NAME:
        return m.RequestResponse.INVALID_NAME, f"name must have 1 to {_MAX_NAME} characters"
    if request.pub_handle in member.data_tracks:
        return m.RequestResponse.DUPLICATE_HANDLE, "handle is in use"
    if any(track.info.name == request.name for track in member.data_tracks.values()):
        return m.RequestResponse.DUPLICATE_NAME, "name is in use"
    return m.RequestResponse.OK, ""


def packet_handle(packet: bytes) -> int | None:
    """The handle in a packet's header, or None when it is too short or of another version."""
    if len(packet) < _MIN_PACKET or packet[0] >> 5:
        return None
    handle: int = _HANDLE.unpack_from(packet, 2)[0]
    return handle


def with_handle(packet: bytes, handle: int) -> bytes:
    """The packet with another handle; nothing else in it is touched."""
    return packet[:2] + _HANDLE.pack(handle) + packet[4:]

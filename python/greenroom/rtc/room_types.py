"""What a room's events are called, and the records they come with."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from greenroom.rtc.enums import DataPacketKind
    from greenroom.rtc.participant import RemoteParticipant
    from greenroom.rtc.stats import MediaStats

__all__ = ["DataPacket", "EventTypes", "RtcStats", "Sid", "SipDTMF"]

EventTypes: TypeAlias = Literal[
    "participant_connected",
    "participant_disconnected",
    "participant_active",
    "local_track_published",
    "local_track_unpublished",
    "local_track_republished",
    "local_track_subscribed",
    "track_published",
    "track_unpublished",
    "track_subscribed",
    "track_unsubscribed",
    "track_subscription_failed",
    "track_muted",
    "track_unmuted",
    "active_speakers_changed",
    "room_metadata_changed",
    "participant_metadata_changed",
    "participant_name_changed",
    "participant_attributes_changed",
    "connection_quality_changed",
    "participant_encryption_status_changed",
    "participant_permissions_changed",
    "data_received",
    "sip_dtmf_received",
    "transcription_received",
    "e2ee_state_changed",
    "connection_state_changed",
    "connected",
    "disconnected",
    "reconnecting",
    "reconnected",
    "room_updated",
    "moved",
    "token_refreshed",
    "data_track_published",
    "data_track_unpublished",
]


@dataclass
class DataPacket:
    """What `publish_data` sent. `participant` is None when it came from the server's API."""

    data: bytes
    kind: DataPacketKind
    participant: RemoteParticipant | None
    topic: str | None = None


@dataclass
class SipDTMF:
    """A telephone tone."""

    code: int
    digit: str
    participant: RemoteParticipant | None = None


@dataclass
class RtcStats:
    """Figures of everything that is sent and received."""

    publisher_stats: list[MediaStats]
    subscriber_stats: list[MediaStats]


class Sid(str):
    """A sid that may also be awaited, as programs do with `await room.sid`."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, str]:
        return str(self)
        yield

"""Participants, local and remote."""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenroom.errors import DisconnectedError, GreenroomError, PublishError
from greenroom.rtc.enums import (
    ConnectionQuality,
    DisconnectReason,
    EncryptionType,
    ParticipantKind,
    ParticipantKindDetail,
    ParticipantState,
    TrackSource,
)
from greenroom.rtc.track_publication import RemoteTrackPublication, TrackPublication
from greenroom.wire import messages as m

if TYPE_CHECKING:
    import datetime

    from greenroom.rtc._reader import MediaReader
    from greenroom.rtc.track import Track

__all__ = [
    "Participant",
    "ParticipantPermission",
    "PublishDTMFError",
    "PublishDataError",
    "PublishDataTrackError",
    "PublishTrackError",
    "PublishTranscriptionError",
    "RemoteParticipant",
    "UnpublishTrackError",
]

log = logging.getLogger("greenroom.rtc")


@functools.cache
def _kinds() -> dict[int, ParticipantKind]:
    return {
        m.ParticipantInfo.Kind.STANDARD: ParticipantKind.PARTICIPANT_KIND_STANDARD,
        m.ParticipantInfo.Kind.INGRESS: ParticipantKind.PARTICIPANT_KIND_INGRESS,
        m.ParticipantInfo.Kind.EGRESS: ParticipantKind.PARTICIPANT_KIND_EGRESS,
        m.ParticipantInfo.Kind.SIP: ParticipantKind.PARTICIPANT_KIND_SIP,
        m.ParticipantInfo.Kind.AGENT: ParticipantKind.PARTICIPANT_KIND_AGENT,
        m.ParticipantInfo.Kind.CONNECTOR: ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
        m.ParticipantInfo.Kind.BRIDGE: ParticipantKind.PARTICIPANT_KIND_BRIDGE,
    }


class PublishTrackError(PublishError):
    """A track was not published."""


class UnpublishTrackError(GreenroomError):
    """A track was not unpublished."""


class PublishDataError(DisconnectedError):
    """Data was not sent, for the room ended."""


class PublishDTMFError(DisconnectedError):
    """A tone was not sent, for the room ended."""


class PublishTranscriptionError(DisconnectedError):
    """A transcription was not sent, for the room ended."""


class PublishDataTrackError(PublishError):
    """A data track was not published."""


@dataclass(frozen=True, slots=True)
class ParticipantPermission:
    """What a participant may do."""

    can_subscribe: bool
    can_publish: bool
    can_publish_data: bool
    can_publish_sources: tuple[TrackSource, ...]
    hidden: bool
    can_update_metadata: bool
    can_subscribe_metrics: bool


class Participant:
    """What is known of everyone in a room."""

    def __init__(self, info: m.ParticipantInfo) -> None:
        self._info = info
        self._track_publications: dict[str, Any] = {}
        self._connection_quality = ConnectionQuality.QUALITY_UNKNOWN
        self._disconnect_reason: DisconnectReason | None = None
        self._audio_level = 0.0
        self._followers: weakref.WeakSet[MediaReader[Any]] = weakref.WeakSet()
        self._gone = False
        self._is_encrypted = False

    @property
    def sid(self) -> str:
        """The id of this session; another one after rejoining."""
        return self._info.sid

    @property
    def identity(self) -> str:
        """The name chosen by whoever made the token: unique in the room, the same after rejoining."""
        return self._info.identity

    @property
    def name(self) -> str:
        """The name for display."""
        return self._info.name

    @property
    def metadata(self) -> str:
        """A text of the application's."""
        return self._info.metadata

    @property
    def attributes(self) -> dict[str, str]:
        """Texts of the application's by key (a copy)."""
        return dict(self._info.attributes)

    @property
    def state(self) -> ParticipantState:
        """How far it has joined."""
        return ParticipantState(self._info.state)

    @property
    def kind(self) -> ParticipantKind:
        """Person, agent, phone, ..."""
        return _kinds().get(self._info.kind, ParticipantKind.PARTICIPANT_KIND_STANDARD)

    @property
    def kind_details(self) -> list[ParticipantKindDetail]:
        """More about its kind; what this version does not know is left out."""
        known = {int(detail) for detail in ParticipantKindDetail}
        return [ParticipantKindDetail(detail) for detail in self._info.kind_details if detail in known]

    @property
    def permissions(self) -> ParticipantPermission:
        """What it may do."""
        permission = self._info.permission
        return ParticipantPermission(
            can_subscribe=permission.can_subscribe,
            can_publish=permission.can_publish,
            can_publish_data=permission.can_publish_data,
            can_publish_sources=tuple(TrackSource(source) for source in permission.can_publish_sources),
            hidden=permission.hidden,
            can_update_metadata=permission.can_update_metadata,
            can_subscribe_metrics=permission.can_subscribe_metrics,
        )

    @property
    def joined_at(self) -> datetime.datetime | None:
        """When it joined (UTC)."""
        import datetime

        milliseconds = self._info.joined_at_ms or self._info.joined_at * 1000
        return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC) if milliseconds else None

    @property
    def disconnect_reason(self) -> DisconnectReason | None:
        """Why it left; None while it is here."""
        return self._disconnect_reason

    @property
    def connection_quality(self) -> ConnectionQuality:
        """The server's last judgement."""
        return self._connection_quality

    @property
    def audio_level(self) -> float:
        """How loud it speaks, 0 to 1; 0 while it does not."""
        return self._audio_level

    @property
    def is_encrypted(self) -> bool:
        """Whether every track it publishes is encrypted end to end; while it publishes none, as it was before."""
        return self._is_encrypted

    @property
    def track_publications(self) -> Mapping[str, TrackPublication]:
        """Its tracks by sid."""
        return self._track_publications

    def _encryption_changed(self) -> bool:
        """Whether `is_encrypted` is another since the tracks changed."""
        before, tracks = self._is_encrypted, self.track_publications.values()
        if tracks:
            self._is_encrypted = all(track.encryption_type is not EncryptionType.NONE for track in tracks)
        return self._is_encrypted is not before

    def _track_available(self, track: Track, source: TrackSource) -> None:
        for reader in list(self._followers):
            try:
                reader.track_available(track, source)
            except GreenroomError as error:
                log.warning("a stream that follows %r ends: %s", self, error)
                reader.ended()

    def _end(self) -> None:
        self._gone = True
        for reader in list(self._followers):
            reader.ended()
        self._followers.clear()

    def __repr__(self) -> str:
        return f"rtc.{type(self).__name__}(sid={self.sid}, identity={self.identity}, name={self.name})"


class RemoteParticipant(Participant):
    """Somebody else in the room."""

    _track_publications: dict[str, RemoteTrackPublication]

    @property
    def track_publications(self) -> Mapping[str, RemoteTrackPublication]:
        """Its tracks by sid, subscribed or not."""
        return self._track_publications

"""What the client's machines ask of whoever drives them, and what they tell it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from greenroom.wire import messages as m

__all__ = [
    "AcceptAnswer",
    "AcceptOffer",
    "ActiveSpeakers",
    "AddCandidate",
    "AttributesChanged",
    "Closed",
    "CreateOffer",
    "DataTrackHandles",
    "DataTracksChanged",
    "EnableLayers",
    "Joined",
    "LocalTrackMuted",
    "LocalTrackSubscribed",
    "LocalTrackUnpublished",
    "MediaConnected",
    "MetadataChanged",
    "Moved",
    "NameChanged",
    "Output",
    "ParticipantActive",
    "ParticipantConnected",
    "ParticipantDisconnected",
    "PermissionsChanged",
    "QualityChanged",
    "Reconnect",
    "Reconnected",
    "ResendData",
    "RoomChanged",
    "Send",
    "Settle",
    "StreamStateChanged",
    "SubscriptionAllowed",
    "SubscriptionFailed",
    "Target",
    "TokenRefreshed",
    "TrackMuted",
    "TrackPublished",
    "TrackSubscribed",
    "TrackUnpublished",
    "TrackUnsubscribed",
    "TrackUpdated",
]


class Target(Enum):
    """One of the participant's peer connections. With a single connection only PUBLISHER exists."""

    PUBLISHER = 0
    SUBSCRIBER = 1


# -- to the socket and the engine --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the server."""

    message: m.SignalRequest


@dataclass(frozen=True, slots=True)
class CreateOffer:
    """Make an offer, with that many more sections to receive on."""

    target: Target
    audio: int = 0
    video: int = 0
    ice_restart: bool = False


@dataclass(frozen=True, slots=True)
class AcceptOffer:
    """Answer the server's offer."""

    target: Target
    offer_id: int
    sdp: str


@dataclass(frozen=True, slots=True)
class AcceptAnswer:
    """Apply the server's answer to our offer."""

    target: Target
    offer_id: int
    sdp: str


@dataclass(frozen=True, slots=True)
class AddCandidate:
    """Add a candidate of the server's."""

    target: Target
    candidate: str


@dataclass(frozen=True, slots=True)
class EnableLayers:
    """Encode only the layers (low to high) of a local track that somebody receives."""

    track_sid: str
    enabled: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class ResendData:
    """The session is being resumed: send reliable packets after `last_sequence` again and call `sync_state`."""

    last_sequence: int


# -- to waiting callers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settle:
    """The request that the caller named `key` has its outcome: `error`, or else what the server made of it."""

    key: int
    error: Exception | None = None
    track: m.TrackInfo | None = None
    data_track: m.DataTrackInfo | None = None


# -- to the program ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Joined:
    """The server let us in: the session's view has everybody who is here already."""


@dataclass(frozen=True, slots=True)
class MediaConnected:
    """The primary peer connection is up for the first time: joining is done."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The connection is lost: wait `delay` seconds and open a socket, resuming the session or joining anew."""

    resume: bool
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The session goes on."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over.

    Attributes:
        reason: a wire DisconnectReason.
    """

    reason: int
    message: str


@dataclass(frozen=True, slots=True)
class ParticipantConnected:
    """A remote participant is here now; its tracks follow one by one."""

    info: m.ParticipantInfo


@dataclass(frozen=True, slots=True)
class ParticipantDisconnected:
    """A remote participant left, after all its tracks."""

    identity: str
    reason: int


@dataclass(frozen=True, slots=True)
class ParticipantActive:
    """A participant can receive data now."""

    identity: str


@dataclass(frozen=True, slots=True)
class MetadataChanged:
    """A participant's metadata changed."""

    identity: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class NameChanged:
    """A participant's name changed."""

    identity: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class AttributesChanged:
    """Some attributes changed; a removed one is in `changed` with the value ""."""

    identity: str
    changed: dict[str, str]


@dataclass(frozen=True, slots=True)
class PermissionsChanged:
    """What a participant may do changed."""

    identity: str


@dataclass(frozen=True, slots=True)
class TrackPublished:
    """A remote participant published a track."""

    identity: str
    track: m.TrackInfo


@dataclass(frozen=True, slots=True)
class TrackUnpublished:
    """A remote participant's track is gone; it was unsubscribed before."""

    identity: str
    sid: str


@dataclass(frozen=True, slots=True)
class TrackUpdated:
    """Something else about a track than its mute state changed."""

    identity: str
    track: m.TrackInfo


@dataclass(frozen=True, slots=True)
class TrackMuted:
    """A track was muted or unmuted by its publisher or the server."""

    identity: str
    sid: str
    muted: bool


@dataclass(frozen=True, slots=True)
class TrackSubscribed:
    """A remote track's media arrives on this section."""

    identity: str
    sid: str
    target: Target
    mid: str


@dataclass(frozen=True, slots=True)
class TrackUnsubscribed:
    """A remote track's media no longer arrives."""

    identity: str
    sid: str


@dataclass(frozen=True, slots=True)
class SubscriptionFailed:
    """A track cannot be received."""

    identity: str
    sid: str
    error: str


@dataclass(frozen=True, slots=True)
class SubscriptionAllowed:
    """A publisher changed whether we may receive its track."""

    identity: str
    sid: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class StreamStateChanged:
    """The server pauses or resumes a video for lack of bandwidth."""

    identity: str
    sid: str
    paused: bool


@dataclass(frozen=True, slots=True)
class LocalTrackSubscribed:
    """The first other participant receives a track of ours."""

    sid: str


@dataclass(frozen=True, slots=True)
class LocalTrackUnpublished:
    """The server removed a track of ours."""

    sid: str


@dataclass(frozen=True, slots=True)
class LocalTrackMuted:
    """The server mutes or unmutes a track of ours."""

    sid: str
    muted: bool


@dataclass(frozen=True, slots=True)
class ActiveSpeakers:
    """Everyone who speaks now: (identity, level), the loudest last."""

    speakers: tuple[tuple[str, float], ...]
    #: Levels to store, those who stopped (0.0) included.
    levels: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class QualityChanged:
    """The server's judgement of a participant's connection.

    Attributes:
        quality: a wire ConnectionQuality.
    """

    identity: str
    quality: int


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """The room's own data changed."""

    old: m.Room
    new: m.Room


@dataclass(frozen=True, slots=True)
class DataTracksChanged:
    """A remote participant's data tracks are other ones now."""

    info: m.ParticipantInfo


@dataclass(frozen=True, slots=True)
class DataTrackHandles:
    """Under which handles the data tracks that we subscribed to arrive."""

    handles: m.DataTrackSubscriberHandles


@dataclass(frozen=True, slots=True)
class Moved:
    """We were moved to another room; participants of the old one left, those of the new one were announced."""


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """Use this token from now on."""

    token: str


Output: TypeAlias = (
    Send
    | CreateOffer
    | AcceptOffer
    | AcceptAnswer
    | AddCandidate
    | EnableLayers
    | ResendData
    | Settle
    | Joined
    | MediaConnected
    | Reconnect
    | Reconnected
    | Closed
    | ParticipantConnected
    | ParticipantDisconnected
    | ParticipantActive
    | MetadataChanged
    | NameChanged
    | AttributesChanged
    | PermissionsChanged
    | TrackPublished
    | TrackUnpublished
    | TrackUpdated
    | TrackMuted
    | TrackSubscribed
    | TrackUnsubscribed
    | SubscriptionFailed
    | SubscriptionAllowed
    | StreamStateChanged
    | LocalTrackSubscribed
    | LocalTrackUnpublished
    | LocalTrackMuted
    | ActiveSpeakers
    | QualityChanged
    | RoomChanged
    | DataTracksChanged
    | DataTrackHandles
    | Moved
    | TokenRefreshed
)

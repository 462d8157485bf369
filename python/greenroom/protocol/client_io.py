"""What the client's machines ask of whoever drives them, and what they tell it.

Named tuples, because making some forty dataclasses costs 20 ms of every import of the client.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

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


class Send(NamedTuple):
    """Send this to the server."""

    message: m.SignalRequest


class CreateOffer(NamedTuple):
    """Make an offer, with that many more sections to receive on."""

    target: Target
    audio: int = 0
    video: int = 0
    ice_restart: bool = False


class AcceptOffer(NamedTuple):
    """Answer the server's offer."""

    target: Target
    offer_id: int
    sdp: str


class AcceptAnswer(NamedTuple):
    """Apply the server's answer to our offer."""

    target: Target
    offer_id: int
    sdp: str


class AddCandidate(NamedTuple):
    """Add a candidate of the server's."""

    target: Target
    candidate: str


class EnableLayers(NamedTuple):
    """Encode only the layers (low to high) of a local track that somebody receives."""

    track_sid: str
    enabled: tuple[bool, ...]


class ResendData(NamedTuple):
    """The session is being resumed: send reliable packets after `last_sequence` again and call `sync_state`."""

    last_sequence: int


# -- to waiting callers ------------------------------------------------------------------------------------------------


class Settle(NamedTuple):
    """The request that the caller named `key` has its outcome: `error`, or else what the server made of it."""

    key: int
    error: Exception | None = None
    track: m.TrackInfo | None = None
    data_track: m.DataTrackInfo | None = None


# -- to the program ----------------------------------------------------------------------------------------------------


class Joined(NamedTuple):
    """The server let us in: the session's view has everybody who is here already."""


class MediaConnected(NamedTuple):
    """The primary peer connection is up for the first time: joining is done."""


class Reconnect(NamedTuple):
    """The connection is lost: wait `delay` seconds and open a socket, resuming the session or joining anew."""

    resume: bool
    delay: float
    reason: str


class Reconnected(NamedTuple):
    """The session goes on."""

    resumed: bool


class Closed(NamedTuple):
    """The session is over.

    Attributes:
        reason: a wire DisconnectReason.
    """

    reason: int
    message: str


class ParticipantConnected(NamedTuple):
    """A remote participant is here now; its tracks follow one by one."""

    info: m.ParticipantInfo


class ParticipantDisconnected(NamedTuple):
    """A remote participant left, after all its tracks."""

    identity: str
    reason: int


class ParticipantActive(NamedTuple):
    """A participant can receive data now."""

    identity: str


class MetadataChanged(NamedTuple):
    """A participant's metadata changed."""

    identity: str
    old: str
    new: str


class NameChanged(NamedTuple):
    """A participant's name changed."""

    identity: str
    old: str
    new: str


class AttributesChanged(NamedTuple):
    """Some attributes changed; a removed one is in `changed` with the value ""."""

    identity: str
    changed: dict[str, str]


class PermissionsChanged(NamedTuple):
    """What a participant may do changed."""

    identity: str


class TrackPublished(NamedTuple):
    """A remote participant published a track."""

    identity: str
    track: m.TrackInfo


class TrackUnpublished(NamedTuple):
    """A remote participant's track is gone; it was unsubscribed before."""

    identity: str
    sid: str


class TrackUpdated(NamedTuple):
    """Something else about a track than its mute state changed."""

    identity: str
    track: m.TrackInfo


class TrackMuted(NamedTuple):
    """A track was muted or unmuted by its publisher or the server."""

    identity: str
    sid: str
    muted: bool


class TrackSubscribed(NamedTuple):
    """A remote track's media arrives on this section."""

    identity: str
    sid: str
    target: Target
    mid: str


class TrackUnsubscribed(NamedTuple):
    """A remote track's media no longer arrives."""

    identity: str
    sid: str


class SubscriptionFailed(NamedTuple):
    """A track cannot be received."""

    identity: str
    sid: str
    error: str


class SubscriptionAllowed(NamedTuple):
    """A publisher changed whether we may receive its track."""

    identity: str
    sid: str
    allowed: bool


class StreamStateChanged(NamedTuple):
    """The server pauses or resumes a video for lack of bandwidth."""

    identity: str
    sid: str
    paused: bool


class LocalTrackSubscribed(NamedTuple):
    """The first other participant receives a track of ours."""

    sid: str


class LocalTrackUnpublished(NamedTuple):
    """The server removed a track of ours."""

    sid: str


class LocalTrackMuted(NamedTuple):
    """The server mutes or unmutes a track of ours."""

    sid: str
    muted: bool


class ActiveSpeakers(NamedTuple):
    """Everyone who speaks now: (identity, level), the loudest last."""

    speakers: tuple[tuple[str, float], ...]
    #: Levels to store, those who stopped (0.0) included.
    levels: tuple[tuple[str, float], ...] = ()


class QualityChanged(NamedTuple):
    """The server's judgement of a participant's connection.

    Attributes:
        quality: a wire ConnectionQuality.
    """

    identity: str
    quality: int


class RoomChanged(NamedTuple):
    """The room's own data changed."""

    old: m.Room
    new: m.Room


class DataTracksChanged(NamedTuple):
    """A remote participant's data tracks are other ones now."""

    info: m.ParticipantInfo


class DataTrackHandles(NamedTuple):
    """Under which handles the data tracks that we subscribed to arrive."""

    handles: m.DataTrackSubscriberHandles


class Moved(NamedTuple):
    """We were moved to another room; participants of the old one left, those of the new one were announced."""


class TokenRefreshed(NamedTuple):
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

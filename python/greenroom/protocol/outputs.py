"""What a room asks its driver to do. Outputs are carried out in the order in which a step returned them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from greenroom.wire import messages as m

__all__ = [
    "AcceptAnswer",
    "AcceptOffer",
    "AddTrack",
    "Announce",
    "ClosePeer",
    "CloseSocket",
    "CreateOffer",
    "EngineCommand",
    "ForgetPreference",
    "MuteTrack",
    "OpenPeer",
    "Output",
    "PreferTrack",
    "RefreshToken",
    "RemoveTrack",
    "RoomEnded",
    "RpcAnswered",
    "SendData",
    "SendSignal",
    "SetSubscription",
    "Subscribe",
    "Unsubscribe",
]


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send one message on these sockets."""

    connections: tuple[int, ...]
    message: m.SignalResponse


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close a socket once what was sent before has left."""

    connection: int


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """Sign a new token for a participant as it is now and send it."""

    participant_sid: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Something happened that webhooks and agent dispatch want to know.

    Attributes:
        event: a webhook event name, e.g. "participant_joined".
    """

    event: str
    participant: m.ParticipantInfo | None = None
    track: m.TrackInfo | None = None


@dataclass(frozen=True, slots=True)
class RoomEnded:
    """The room is over: forget it."""


@dataclass(frozen=True, slots=True)
class RpcAnswered:
    """A call made through the API has its answer, or an error."""

    request_id: str
    payload: str
    error: m.RpcError | None


@dataclass(frozen=True, slots=True)
class OpenPeer:
    """Open a connection of a participant; `offers`: we make its offers."""

    peer: int
    offers: bool


@dataclass(frozen=True, slots=True)
class ClosePeer:
    """Close a connection and everything on it."""

    peer: int


@dataclass(frozen=True, slots=True)
class AcceptOffer:
    """Answer the client's offer."""

    peer: int
    offer_id: int
    sdp: str


@dataclass(frozen=True, slots=True)
class CreateOffer:
    """Make an offer on a connection where we offer."""

    peer: int
    ice_restart: bool = False


@dataclass(frozen=True, slots=True)
class AcceptAnswer:
    """Apply the client's answer to our offer."""

    peer: int
    offer_id: int
    sdp: str


@dataclass(frozen=True, slots=True)
class AddTrack:
    """Make what a connection sends on a section a track; layers are (rid, quality, width, height)."""

    track: int
    peer: int
    mid: str
    kind: str
    layers: tuple[tuple[str, int, int, int], ...]
    detect_speaker: bool
    priority: int
    encrypted: bool


@dataclass(frozen=True, slots=True)
class RemoveTrack:
    """Forget a track and send it to nobody any more."""

    track: int


@dataclass(frozen=True, slots=True)
class PreferTrack:
    """Answer a client's offers of a track that it announced in this way; `codecs` are MIME types, the best first."""

    peer: int
    track_id: str
    codecs: tuple[str, ...]
    stereo: bool
    dtx: bool


@dataclass(frozen=True, slots=True)
class ForgetPreference:
    """The track is gone."""

    peer: int
    track_id: str


@dataclass(frozen=True, slots=True)
class MuteTrack:
    """Stop or resume forwarding a track to everybody."""

    track: int
    muted: bool


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Send a track on a connection."""

    track: int
    peer: int
    stream_id: str
    track_id: str
    cname: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop sending a track on a connection."""

    track: int
    peer: int


@dataclass(frozen=True, slots=True)
class SetSubscription:
    """Limit what is sent of a track on a connection; quality 0..2, fps 0 = no limit."""

    track: int
    peer: int
    paused: bool
    quality: int
    fps: int


@dataclass(frozen=True, slots=True)
class SendData:
    """Queue one message on the channel called `label` of each connection."""

    peers: tuple[int, ...]
    label: str
    payload: bytes


EngineCommand: TypeAlias = (
    OpenPeer
    | ClosePeer
    | AcceptOffer
    | CreateOffer
    | AcceptAnswer
    | AddTrack
    | RemoveTrack
    | PreferTrack
    | ForgetPreference
    | MuteTrack
    | Subscribe
    | Unsubscribe
    | SetSubscription
    | SendData
)

Output: TypeAlias = SendSignal | CloseSocket | RefreshToken | Announce | RoomEnded | RpcAnswered | EngineCommand

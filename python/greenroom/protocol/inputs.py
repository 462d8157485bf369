"""What a room is told: by its clients' sockets, by the engine, by the API and by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from greenroom._engine import Event
from greenroom.wire import messages as m
from greenroom.wire.join import JoinParameters
from greenroom.wire.tokens import Claims

__all__ = [
    "CallRpc",
    "CloseRoom",
    "ConfigureRoom",
    "Input",
    "Join",
    "MutePublishedTrack",
    "RemoveParticipant",
    "SendServerData",
    "Signal",
    "SocketClosed",
    "Tick",
    "UpdateParticipant",
    "UpdateRoomMetadata",
    "UpdateSubscriptions",
]


@dataclass(frozen=True, slots=True)
class Join:
    """A client with a good token opened a socket, to join or to resume."""

    connection: int
    claims: Claims
    parameters: JoinParameters


@dataclass(frozen=True, slots=True)
class Signal:
    """A client sent a message."""

    connection: int
    message: m.SignalRequest


@dataclass(frozen=True, slots=True)
class SocketClosed:
    """A client's socket is gone, whoever closed it."""

    connection: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has passed."""


@dataclass(frozen=True, slots=True)
class RemoveParticipant:
    """Remove a participant through the API."""

    identity: str


@dataclass(frozen=True, slots=True)
class MutePublishedTrack:
    """Mute or unmute a participant's track through the API."""

    identity: str
    track_sid: str
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateParticipant:
    """Change a participant through the API; None and empty leave a field as it is."""

    identity: str
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    permission: m.ParticipantPermission | None = None


@dataclass(frozen=True, slots=True)
class UpdateSubscriptions:
    """Subscribe a participant to tracks, or unsubscribe it, through the API."""

    identity: str
    track_sids: tuple[str, ...]
    subscribe: bool


@dataclass(frozen=True, slots=True)
class SendServerData:
    """Send a data packet from the server; it says itself to whom."""

    packet: m.DataPacket


@dataclass(frozen=True, slots=True)
class CallRpc:
    """Call a method of a participant from the server."""

    request_id: str
    identity: str
    method: str
    payload: str
    response_timeout: float


@dataclass(frozen=True, slots=True)
class UpdateRoomMetadata:
    """Set the room's metadata."""

    metadata: str


@dataclass(frozen=True, slots=True)
class ConfigureRoom:
    """Change the room's settings; zero and empty fields leave one as it is."""

    config: m.RoomConfiguration


@dataclass(frozen=True, slots=True)
class CloseRoom:
    """End the room for everybody."""

    reason: m.DisconnectReason


Input: TypeAlias = (
    Join
    | Signal
    | SocketClosed
    | Tick
    | RemoveParticipant
    | MutePublishedTrack
    | UpdateParticipant
    | UpdateSubscriptions
    | SendServerData
    | CallRpc
    | UpdateRoomMetadata
    | ConfigureRoom
    | CloseRoom
    | Event
)

"""What a room is configured with. Durations are seconds, sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from greenroom.wire import messages as m

__all__ = ["Limits", "RoomSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one participant may use. Exceeding one is answered with LIMIT_EXCEEDED; neighbours are not touched."""

    pending_tracks: int = 20
    tracks: int = 100
    data_tracks: int = 100
    name: int = 256
    identity: int = 256
    room_name: int = 256
    metadata: int = 512 * 1024
    attributes: int = 64 * 1024
    held_data: int = 100_000
    description: int = 1024 * 1024
    sections: int = 500
    waiting_subscriptions: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSettings:
    """The settings of a server's rooms, and what is told to clients that join.

    Attributes:
        empty_timeout: a room that nobody ever joined ends after this.
        departure_timeout: a room that the last one has left ends after this.
        join_timeout: a participant whose media is not connected by then is removed.
        failure_timeout: a participant whose connection failed may resume for this long.
        max_participants: 0 = no limit.
        dynacast_delay: how long a layer that nobody wants is still asked for.
    """

    empty_timeout: float = 300.0
    departure_timeout: float = 20.0
    join_timeout: float = 60.0
    failure_timeout: float = 5.0
    max_participants: int = 0
    dynacast_delay: float = 5.0
    remote_unmute: bool = False
    ping_interval: int = 5
    ping_timeout: int = 15
    server_info: m.ServerInfo = field(default_factory=m.ServerInfo)
    ice_servers: tuple[m.ICEServer, ...] = ()
    limits: Limits = field(default_factory=Limits)

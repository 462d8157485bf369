"""The state of one room and the few verbs that every part of it shares: tell, broadcast, find."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from greenroom.protocol.dynacast import Dynacast
from greenroom.protocol.member import Member
from greenroom.protocol.outputs import Output, SendSignal
from greenroom.protocol.publishing import Track
from greenroom.protocol.quality import QualityScore
from greenroom.protocol.settings import RoomSettings
from greenroom.protocol.speakers import Speakers
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m

__all__ = ["RoomState", "Sources", "TimerKey"]

_COUNTS_DELAY = 1.0
_CROWD = 50
_CROWD_DELAY = 0.5
_CROWD_MESSAGE = 100

#: (what for, about whom or what)
TimerKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where new names come from.

    Attributes:
        sid: makes a session id from a prefix.
        handle: makes a new engine handle.
        wall: what to add to the machine's seconds to get Unix time.
    """

    sid: Callable[[str], str]
    handle: Callable[[], int]
    wall: float


@dataclass(slots=True)
class RoomState:
    """Everything a room knows. `outbox` collects what the running step asks for."""

    info: m.Room
    settings: RoomSettings
    sources: Sources
    now: float = 0.0
    members: dict[str, Member] = field(default_factory=dict)
    tracks: dict[str, Track] = field(default_factory=dict)
    by_connection: dict[int, Member] = field(default_factory=dict)
    by_peer: dict[int, Member] = field(default_factory=dict)
    by_track: dict[int, Track] = field(default_factory=dict)
    timers: Timers[TimerKey] = field(default_factory=Timers)
    speakers: Speakers = field(default_factory=Speakers)
    quality: dict[str, QualityScore] = field(default_factory=dict)
    dynacast: dict[str, Dynacast] = field(default_factory=dict)
    ended: bool = False
    sif_trailer: bytes = b""
    nonces: dict[bytes, None] = field(default_factory=dict)
    late: dict[str, m.ParticipantInfo] = field(default_factory=dict)
    outbox: list[Output] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """Unix time of this step, in seconds."""
        return self.now + self.sources.wall

    def emit(self, output: Output) -> None:
        """Ask the driver for something."""
        self.outbox.append(output)

    def tell(self, member: Member, **field_value: object) -> None:
        """Send a participant one signalling message; nothing happens while its socket is lost."""
        if member.link.connection is not None:
            message = m.SignalResponse(**field_value)  # type: ignore[arg-type] # one of its fields, by name
            self.emit(SendSignal((member.link.connection,), message))

    def tell_all(self, members: Iterable[Member], **field_value: object) -> None:
        """Send several participants the same message."""
        connections = tuple(each.link.connection for each in members if each.link.connection is not None)
        if connections:
            self.emit(SendSignal(connections, m.SignalResponse(**field_value)))  # type: ignore[arg-type]

    def others(self, member: Member) -> list[Member]:
        """Everybody but this one."""
        return [each for each in self.members.values() if each is not member]

    def by_sid(self, sid: str) -> Member | None:
        """The participant with this session id."""
        return next((each for each in self.members.values() if each.sid == sid), None)

    def broadcast(self, member: Member, *, to_self: bool) -> None:
        """Tell everybody how a participant is now. Of a hidden one only itself hears."""
        member.version += 1
        self.late.pop(member.sid, None)
        receivers = [] if member.hidden else self.others(member)
        if to_self:
            receivers.append(member)
        self.tell_all(receivers, update=m.ParticipantUpdate(participants=[member.info()]))

    def broadcast_presence(self, member: Member, info: m.ParticipantInfo | None = None) -> None:
        """Tell others that somebody came, is connected or has left (`info`).

        Where many are, those who publish nothing are told of together, half a second later: everybody must hear of
        everybody, and when hundreds come at once one message each would be a storm.
        """
        if member.hidden:
            return
        if member.tracks or len(self.members) < _CROWD:
            if info is None:
                self.broadcast(member, to_self=False)
            else:
                self.late.pop(member.sid, None)
                self.tell_all(self.others(member), update=m.ParticipantUpdate(participants=[info]))
            return
        if info is None:
            member.version += 1
        self.late[member.sid] = info or member.info()
        self.timers.set_default(("presence", ""), self.now + _CROWD_DELAY)

    def tell_late(self) -> None:
        """Tell everybody of those who came and went since the last time."""
        infos = list(self.late.values())
        self.late.clear()
        for start in range(0, len(infos), _CROWD_MESSAGE):
            update = m.ParticipantUpdate(participants=infos[start : start + _CROWD_MESSAGE])
            self.tell_all(self.members.values(), update=update)

    def room_info(self) -> m.Room:
        """The room as clients and the API are told of it."""
        info = m.Room()
        info.CopyFrom(self.info)
        visible = [member for member in self.members.values() if not member.dependent]
        info.num_participants = len(visible)
        info.num_publishers = sum(bool(member.tracks) for member in self.members.values())
        info.active_recording = any(member.permission.recorder for member in self.members.values())
        return info

    def counts_changed(self) -> None:
        """Tell everybody soon how many there are; joins and departures in a row are told of once."""
        self.timers.set_default(("counts", ""), self.now + _COUNTS_DELAY)

    def update_room(self) -> None:
        """Tell everybody how the room is now."""
        self.tell_all(self.members.values(), room_update=m.RoomUpdate(room=self.room_info()))

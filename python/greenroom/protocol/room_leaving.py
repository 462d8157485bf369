"""Leaving a room, and the end of the room. Every ending of a participant is `remove`."""

from __future__ import annotations

from greenroom.protocol import room_data, room_media
from greenroom.protocol.member import Member
from greenroom.protocol.outputs import Announce, ClosePeer, CloseSocket, RoomEnded
from greenroom.protocol.room_state import RoomState
from greenroom.wire import messages as m

__all__ = ["close_room", "leave_message", "remove"]

#: Clients newer than this replace a participant when its identity joins again; older ones must hear that it left.
_REPLACES_BY_IDENTITY = 11


def remove(
    room: RoomState,
    member: Member,
    reason: m.DisconnectReason,
    *,
    action: m.LeaveRequest.Action | None = None,
) -> None:
    """End a participant, whatever the cause: the one way out.

    Args:
        room: the room it is in.
        member: who.
        reason: told to it and to the others.
        action: what its client is told to do; None when it left by itself or cannot be told.
    """
    if room.members.pop(member.identity, None) is None:
        return
    for name in ("join", "failed"):
        room.timers.cancel((name, member.sid))
    was_active = member.active
    member.state = m.ParticipantInfo.DISCONNECTED
    member.version += 1
    if not room.ended:
        _tell_left(room, member, reason)
    room_data.remove_data_tracks(room, member, list(member.data_tracks))
    room_media.remove_tracks(room, member, list(member.tracks.values()))
    _forget_subscriptions(room, member)
    if action is not None:
        room.tell(member, leave=leave_message(member, reason, action))
    if member.link.connection is not None:
        room.by_connection.pop(member.link.connection, None)
        room.emit(CloseSocket(member.link.connection))
        member.link.connection = None
    for peer in member.link.peers:
        room.by_peer.pop(peer, None)
        room.emit(ClosePeer(peer))
    room.speakers.remove(member.sid)
    room.quality.pop(member.sid, None)
    event = "participant_left" if was_active else "participant_connection_aborted"
    room.emit(Announce(event, member.info(reason)))
    if not room.ended and not member.dependent:
        room.counts_changed()
    if not room.ended and member.keeps_open:
        _watch_emptiness(room)


def _tell_left(room: RoomState, member: Member, reason: m.DisconnectReason) -> None:
    if member.hidden:
        return
    info = member.info(reason)
    del info.tracks[:]
    duplicate = reason == m.DisconnectReason.DUPLICATE_IDENTITY
    receivers = [other for other in room.others(member) if not duplicate or other.protocol <= _REPLACES_BY_IDENTITY]
    for other in receivers:
        if other.link.connection is None:
            other.link.missed.append(info)
    if duplicate:
        room.late.pop(member.sid, None)
        room.tell_all(receivers, update=m.ParticipantUpdate(participants=[info]))
    else:
        room.broadcast_presence(member, info)


def _forget_subscriptions(room: RoomState, member: Member) -> None:
    for other in room.members.values():
        for data_track in other.data_tracks.values():
            data_track.handles.pop(member.identity, None)
    tracks = [subscription.track for subscription in member.subscriptions.active.values()]
    member.subscriptions.active.clear()
    for track in tracks:
        room_media.update_dynacast(room, track)


def _watch_emptiness(room: RoomState) -> None:
    if not any(member.keeps_open for member in room.members.values()):
        room.timers.set(("empty", ""), room.now + room.info.departure_timeout)


def close_room(room: RoomState, reason: m.DisconnectReason) -> None:
    """End the room for everybody in it."""
    if room.ended:
        return
    room.ended = True
    for member in list(room.members.values()):
        remove(room, member, reason, action=m.LeaveRequest.DISCONNECT)
    for key in room.timers.clear():
        if key[0] == "rpc":
            room_data.rpc_timed_out(room, key[1], acknowledged=True)
    room.emit(Announce("room_finished"))
    room.emit(RoomEnded())


def leave_message(member: Member, reason: m.DisconnectReason, action: m.LeaveRequest.Action) -> m.LeaveRequest:
    """A leave request in the form that the client's protocol version knows."""
    if member.protocol > 12:
        return m.LeaveRequest(reason=reason, action=action)
    return m.LeaveRequest(can_reconnect=action != m.LeaveRequest.DISCONNECT, reason=reason)

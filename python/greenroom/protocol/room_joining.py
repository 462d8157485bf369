"""Joining a room, and resuming a session whose socket was lost."""

from __future__ import annotations

from greenroom.protocol import room_data, room_link, room_media
from greenroom.protocol.inputs import Join
from greenroom.protocol.member import Link, Member, permission_from, profile_from
from greenroom.protocol.outputs import CloseSocket, CreateOffer, RefreshToken, SendSignal
from greenroom.protocol.publishing import PublishDesk
from greenroom.protocol.room_leaving import remove
from greenroom.protocol.room_state import RoomState
from greenroom.protocol.subscriptions import Access, Subscriptions
from greenroom.wire import messages as m
from greenroom.wire.sids import PARTICIPANT
from greenroom.wire.tokens import VideoGrants

__all__ = ["join", "join_timed_out", "socket_closed", "sync_state"]

_CODECS = ("video/VP8", "video/H264", "video/VP9", "video/AV1", "audio/opus", "audio/red")


def join(room: RoomState, request: Join) -> None:
    """A client wants in, or wants to go on after its socket broke."""
    identity = request.claims.identity
    present = room.members.get(identity)
    if request.parameters.reconnect:
        if present is not None and request.parameters.sid in ("", present.sid) and not room.ended:
            _resume(room, present, request.connection)
        else:
            refusal = m.LeaveRequest(
                can_reconnect=True,
                reason=m.DisconnectReason.STATE_MISMATCH,
                action=m.LeaveRequest.RECONNECT,
            )
            _refuse(room, request.connection, refusal)
        return
    if present is not None:
        remove(room, present, m.DisconnectReason.DUPLICATE_IDENTITY, action=m.LeaveRequest.DISCONNECT)
    if room.ended or _is_full(room, request):
        _refuse(room, request.connection, m.LeaveRequest(reason=m.DisconnectReason.JOIN_FAILURE))
        return
    _admit(room, request, present)


def _admit(room: RoomState, request: Join, replaced: Member | None) -> None:
    member = _new_member(room, request)
    if replaced is not None and replaced.profile.kind == member.profile.kind == m.ParticipantInfo.AGENT:
        # The next run of an agent's program: with another sid, clients would have it leave and somebody else come.
        member.sid, member.version = replaced.sid, replaced.version
    room.members[member.identity] = member
    room.by_connection[request.connection] = member
    if member.keeps_open:
        room.timers.cancel(("empty", ""))
    room.timers.set(("join", member.sid), room.now + room.settings.join_timeout)
    room.tell(member, join=_join_response(room, member))
    member.state = m.ParticipantInfo.JOINED
    room.broadcast_presence(member)
    room.emit(RefreshToken(member.sid))
    room_link.open_peers(room, member)
    room_media.auto_subscribe(room, member)
    for request_track in request.parameters.add_tracks:
        room_media.add_track(room, member, request_track)
    if request.parameters.offer is not None:
        room_link.on_offer(room, member, request.parameters.offer)
    if member.link.subscriber:
        room.emit(CreateOffer(member.link.subscriber))
    room_data.auto_subscribe(room, member)
    if not member.dependent:
        room.counts_changed()


def _new_member(room: RoomState, request: Join) -> Member:
    parameters, claims = request.parameters, request.claims
    return Member(
        sid=room.sources.sid(PARTICIPANT),
        identity=claims.identity,
        claims=claims,
        profile=profile_from(claims, parameters.metadata, parameters.attributes),
        permission=permission_from(claims.video or VideoGrants()),
        joined_at=room.wall,
        link=Link(single=parameters.single, client=parameters.client, connection=request.connection),
        desk=PublishDesk(),
        subscriptions=Subscriptions(
            parameters.auto_subscribe, parameters.adaptive_stream, parameters.auto_subscribe_data_track
        ),
        access=Access(),
    )


def _is_full(room: RoomState, request: Join) -> bool:
    limit = room.info.max_participants
    if not limit or request.claims.kind in ("agent", "egress"):
        return False
    return sum(not member.dependent for member in room.members.values()) >= limit


def _refuse(room: RoomState, connection: int, leave: m.LeaveRequest) -> None:
    room.emit(SendSignal((connection,), m.SignalResponse(leave=leave)))
    room.emit(CloseSocket(connection))


def _join_response(room: RoomState, member: Member) -> m.JoinResponse:
    settings = room.settings
    return m.JoinResponse(
        room=room.room_info(),
        participant=member.info(),
        other_participants=[other.info() for other in room.others(member) if not other.hidden],
        server_version=settings.server_info.version,
        server_region=settings.server_info.region,
        ice_servers=settings.ice_servers,
        subscriber_primary=not member.link.single and member.permission.can_subscribe,
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        server_info=settings.server_info,
        sif_trailer=room.sif_trailer,
        enabled_publish_codecs=[m.Codec(mime=mime) for mime in _CODECS],
        fast_publish=member.permission.can_publish,
    )


def _resume(room: RoomState, member: Member, connection: int) -> None:
    link = member.link
    if link.connection is not None:
        room.by_connection.pop(link.connection, None)
        room.emit(CloseSocket(link.connection))
    link.connection = connection
    room.by_connection[connection] = member
    room.timers.cancel(("failed", member.sid))
    room.tell(
        member,
        reconnect=m.ReconnectResponse(
            ice_servers=room.settings.ice_servers,
            server_info=room.settings.server_info,
            last_message_seq=member.last_sequence,
        ),
    )
    if link.missed:
        room.tell(member, update=m.ParticipantUpdate(participants=link.missed))
        link.missed.clear()
    everybody = [other.info() for other in room.members.values() if other is member or not other.hidden]
    room.tell(member, update=m.ParticipantUpdate(participants=everybody))
    room.tell(member, room_update=m.RoomUpdate(room=room.room_info()))
    room.emit(RefreshToken(member.sid))
    room_link.restart_subscriber(room, member)


def sync_state(room: RoomState, member: Member, state: m.SyncState) -> None:
    """A client that resumed says what it believes; where we cannot follow, it has to join anew."""
    for published in state.publish_tracks:
        sid = published.track.sid
        if sid not in member.tracks and member.desk.find_pending(sid) is None:
            room_link.full_reconnect(room, member)
            return
    for data_track in state.publish_data_tracks:
        if data_track.info.pub_handle not in member.data_tracks:
            room_link.full_reconnect(room, member)
            return
    subscription = state.subscription
    sids = [*subscription.track_sids]
    sids += [sid for each in subscription.participant_tracks for sid in each.track_sids]
    room_media.update_subscription(room, member, sids, subscription.subscribe)
    for sid in state.track_sids_disabled:
        settings = m.UpdateTrackSettings(track_sids=[sid], disabled=True)
        room_media.set_settings(room, member, settings)


def socket_closed(room: RoomState, connection: int) -> None:
    """A socket is gone; a participant whose media lives may come back for it."""
    member = room.by_connection.pop(connection, None)
    if member is None:
        return
    link = member.link
    link.connection = None
    closed = any(link.states.get(peer) == "closed" for peer in link.peers)
    if closed or not link.was_connected:
        remove(room, member, m.DisconnectReason.SIGNAL_CLOSE)


def join_timed_out(room: RoomState, member: Member) -> None:
    """A participant's media did not connect in time."""
    remove(room, member, m.DisconnectReason.JOIN_FAILURE, action=m.LeaveRequest.DISCONNECT)

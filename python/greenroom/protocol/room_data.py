"""Data in a room: packets from participants and from the API, data tracks, calls from the API."""

from __future__ import annotations

from greenroom.errors import ProtocolError
from greenroom.protocol import relay
from greenroom.protocol.data_tracks import DataTrack, check_publish, packet_handle, with_handle
from greenroom.protocol.inputs import CallRpc
from greenroom.protocol.member import Member
from greenroom.protocol.outputs import RpcAnswered, SendData
from greenroom.protocol.room_state import RoomState
from greenroom.wire import messages as m
from greenroom.wire.data import DATA_TRACK, LOSSY, RELIABLE, decode_packet, encode_packet
from greenroom.wire.sids import DATA_TRACK as DATA_TRACK_SID

__all__ = [
    "auto_subscribe",
    "call_rpc",
    "on_data",
    "publish_data_track",
    "release_held",
    "remove_data_tracks",
    "rpc_timed_out",
    "send_packet",
    "subscribe_data",
    "unpublish_data_track",
]

_KEPT_NONCES = 1000
_ACK_TIMEOUT = 2.0
_RPC_VERSION = 1
_ACK_MISSING = (1501, "Connection timeout")
_RESPONSE_MISSING = (1502, "Response timeout")


def on_data(room: RoomState, member: Member, label: str, payload: bytes) -> None:
    """A participant sent a message on one of its channels."""
    if label == DATA_TRACK:
        _forward_frame(room, member, payload)
        return
    if label in (RELIABLE, LOSSY):
        try:
            packet = decode_packet(payload)
        except ProtocolError:
            return
    else:
        packet, label = relay.user_packet(payload), RELIABLE
    if _answers_api(room, packet):
        return
    stamped = relay.stamp(packet, member, label)
    if stamped is not None:
        send_packet(room, stamped, member)


def send_packet(room: RoomState, packet: m.DataPacket, sender: Member | None) -> None:
    """Send a packet to those it is for, now or, when it is reliable, as soon as their channels are open."""
    if packet.HasField("user") and _seen_before(room, packet.user.nonce):
        return
    payload = encode_packet(packet)
    reliable = packet.kind == m.DataPacket.RELIABLE
    peers = []
    for member in relay.destinations(packet, sender, room.members.values()):
        if member.link.established:
            peers.append(member.link.data_peer)
        elif reliable:
            _hold(room, member, payload)
    if peers:
        room.emit(SendData(tuple(peers), RELIABLE if reliable else LOSSY, payload))


def _seen_before(room: RoomState, nonce: bytes) -> bool:
    """Whether a message with this nonce was sent already; the sender repeats it when it got no answer."""
    if not nonce:
        return False
    seen = nonce in room.nonces
    room.nonces[nonce] = None
    while len(room.nonces) > _KEPT_NONCES:
        del room.nonces[next(iter(room.nonces))]
    return seen


def release_held(room: RoomState, member: Member) -> None:
    """Send what was held back until the participant's channels were open."""
    for payload in member.link.held:
        room.emit(SendData((member.link.data_peer,), RELIABLE, payload))
    member.link.held.clear()


def _hold(room: RoomState, member: Member, payload: bytes) -> None:
    held = member.link.held
    if sum(map(len, held)) + len(payload) <= room.settings.limits.held_data:
        held.append(payload)


# -- data tracks -----------------------------------------------------------------------------------------------------


def publish_data_track(room: RoomState, member: Member, request: m.PublishDataTrackRequest) -> None:
    """A participant publishes a data track."""
    reason, message = check_publish(member, request)
    if reason == m.RequestResponse.OK and len(member.data_tracks) >= room.settings.limits.data_tracks:
        reason, message = m.RequestResponse.LIMIT_EXCEEDED, "too many data tracks are published"
    if reason != m.RequestResponse.OK:
        refusal = m.RequestResponse(reason=reason, message=message, publish_data_track=request)
        room.tell(member, request_response=refusal)
        return
    info = m.DataTrackInfo(
        pub_handle=request.pub_handle,
        sid=room.sources.sid(DATA_TRACK_SID),
        name=request.name,
        encryption=request.encryption,
    )
    if request.HasField("frame_encoding"):
        info.frame_encoding.CopyFrom(request.frame_encoding)
    if request.HasField("schema"):
        info.schema.CopyFrom(request.schema)
    member.data_tracks[request.pub_handle] = DataTrack(info, member)
    room.tell(member, publish_data_track_response=m.PublishDataTrackResponse(info=info))
    room.broadcast(member, to_self=False)
    for other in room.others(member):
        if other.subscriptions.automatic_data:
            auto_subscribe(room, other)


def unpublish_data_track(room: RoomState, member: Member, request: m.UnpublishDataTrackRequest) -> None:
    """A participant takes a data track back."""
    track = member.data_tracks.get(request.pub_handle)
    if track is None:
        refusal = m.RequestResponse(
            reason=m.RequestResponse.INVALID_HANDLE,
            message="no data track has this handle",
            unpublish_data_track=request,
        )
        room.tell(member, request_response=refusal)
        return
    remove_data_tracks(room, member, [request.pub_handle])
    room.tell(member, unpublish_data_track_response=m.UnpublishDataTrackResponse(info=track.info))
    room.broadcast(member, to_self=False)


def remove_data_tracks(room: RoomState, member: Member, handles: list[int]) -> None:
    """Forget data tracks and their subscriptions."""
    for handle in handles:
        track = member.data_tracks.pop(handle)
        for identity in list(track.handles):
            subscriber = room.members.get(identity)
            del track.handles[identity]
            if subscriber is not None:
                _tell_handles(room, subscriber)


def auto_subscribe(room: RoomState, member: Member) -> None:
    """Give a participant that asked for it every data track."""
    if not member.subscriptions.automatic_data:
        return
    update = m.UpdateDataSubscription()
    for other in room.others(member):
        for track in other.data_tracks.values():
            update.updates.add(track_sid=track.info.sid, subscribe=True)
    if update.updates:
        subscribe_data(room, member, update)


def subscribe_data(room: RoomState, member: Member, message: m.UpdateDataSubscription) -> None:
    """A participant wants data tracks, or no longer."""
    if not member.permission.can_subscribe:
        return
    tracks = {track.info.sid: track for each in room.others(member) for track in each.data_tracks.values()}
    for update in message.updates:
        track = tracks.get(update.track_sid)
        if track is None:
            continue
        if not update.subscribe:
            track.handles.pop(member.identity, None)
        elif member.identity not in track.handles:
            track.handles[member.identity] = _free_handle(room, member)
    _tell_handles(room, member)


def _free_handle(room: RoomState, member: Member) -> int:
    used = [
        handle
        for each in room.members.values()
        for track in each.data_tracks.values()
        for identity, handle in track.handles.items()
        if identity == member.identity
    ]
    return max(used, default=0) % 65535 + 1


def _tell_handles(room: RoomState, member: Member) -> None:
    handles = m.DataTrackSubscriberHandles()
    for each in room.members.values():
        for track in each.data_tracks.values():
            handle = track.handles.get(member.identity)
            if handle is not None:
                entry = handles.sub_handles[handle]
                entry.publisher_identity = each.identity
                entry.publisher_sid = each.sid
                entry.track_sid = track.info.sid
    room.tell(member, data_track_subscriber_handles=handles)


def _forward_frame(room: RoomState, member: Member, packet: bytes) -> None:
    handle = packet_handle(packet)
    track = member.data_tracks.get(handle) if handle is not None else None
    if track is None:
        return
    for identity, subscriber_handle in track.handles.items():
        subscriber = room.members.get(identity)
        if subscriber is not None and DATA_TRACK in subscriber.link.channels:
            frame = with_handle(packet, subscriber_handle)
            room.emit(SendData((subscriber.link.data_peer,), DATA_TRACK, frame))


# -- calls from the API ----------------------------------------------------------------------------------------------


def call_rpc(room: RoomState, call: CallRpc) -> None:
    """Call a method of a participant; the answer comes out as `RpcAnswered`."""
    request = m.RpcRequest(
        id=call.request_id,
        method=call.method,
        payload=call.payload,
        response_timeout_ms=int(call.response_timeout * 1000),
        version=_RPC_VERSION,
    )
    packet = m.DataPacket(
        participant_identity=call.request_id, destination_identities=[call.identity], rpc_request=request
    )
    send_packet(room, packet, None)
    room.timers.set(("rpc_ack", call.request_id), room.now + _ACK_TIMEOUT)
    room.timers.set(("rpc", call.request_id), room.now + call.response_timeout)


def rpc_timed_out(room: RoomState, request_id: str, *, acknowledged: bool) -> None:
    """A call got no acknowledgement, or no response, in time."""
    _finish_rpc(room, request_id)
    code, text = _RESPONSE_MISSING if acknowledged else _ACK_MISSING
    room.emit(RpcAnswered(request_id, "", m.RpcError(code=code, message=text)))


def _answers_api(room: RoomState, packet: m.DataPacket) -> bool:
    """Take packets that answer a call from the API; nobody else gets those."""
    if packet.HasField("rpc_ack"):
        request_id = packet.rpc_ack.request_id
        if ("rpc", request_id) in room.timers:
            room.timers.cancel(("rpc_ack", request_id))
            return True
    elif packet.HasField("rpc_response"):
        response = packet.rpc_response
        if ("rpc", response.request_id) in room.timers:
            _finish_rpc(room, response.request_id)
            error = response.error if response.HasField("error") else None
            room.emit(RpcAnswered(response.request_id, response.payload, error))
            return True
    return False


def _finish_rpc(room: RoomState, request_id: str) -> None:
    room.timers.cancel(("rpc_ack", request_id))
    room.timers.cancel(("rpc", request_id))

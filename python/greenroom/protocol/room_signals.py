"""The messages of clients, one branch each."""

from __future__ import annotations

from greenroom.protocol import room_api, room_data, room_joining, room_leaving, room_link, room_media
from greenroom.protocol.member import Member
from greenroom.protocol.outputs import CloseSocket
from greenroom.protocol.room_state import RoomState
from greenroom.wire import messages as m

__all__ = ["on_signal"]

#: What a client may say about why it leaves; anything else counts as its own wish.
_LEAVE_REASONS = (
    m.DisconnectReason.CLIENT_INITIATED,
    m.DisconnectReason.USER_UNAVAILABLE,
    m.DisconnectReason.USER_REJECTED,
    m.DisconnectReason.AGENT_ERROR,
)


def on_signal(room: RoomState, member: Member, message: m.SignalRequest) -> None:
    """A client sent a message. Unknown ones, and those of newer protocols, are ignored."""
    match message.WhichOneof("message"):
        case "offer":
            room_link.on_offer(room, member, message.offer)
        case "answer":
            room_link.on_answer(room, member, message.answer)
        case "trickle":
            # This end is ICE-lite: it answers the checks that arrive and needs nobody's candidates.
            pass
        case "ping":
            room.tell(member, pong=int(room.wall * 1000))
        case "ping_req":
            _on_ping(room, member, message.ping_req)
        case "leave":
            _on_leave(room, member, message.leave)
        case "sync_state":
            room_joining.sync_state(room, member, message.sync_state)
        case "simulate":
            _on_simulate(room, member, message.simulate)
        case "update_metadata":
            room_api.update_own_metadata(room, member, message.update_metadata)
        case _:
            _on_media_signal(room, member, message)


def _on_media_signal(room: RoomState, member: Member, message: m.SignalRequest) -> None:
    match message.WhichOneof("message"):
        case "add_track":
            room_media.add_track(room, member, message.add_track)
        case "mute":
            _on_mute(room, member, message.mute)
        case "subscription":
            _on_subscription(room, member, message.subscription)
        case "track_setting":
            room_media.set_settings(room, member, message.track_setting)
        case "subscription_permission":
            room_media.set_access(room, member, message.subscription_permission)
        case "update_audio_track":
            _on_audio_track(room, member, message.update_audio_track)
        case "update_video_track":
            _on_video_track(room, member, message.update_video_track)
        case "publish_data_track_request":
            room_data.publish_data_track(room, member, message.publish_data_track_request)
        case "unpublish_data_track_request":
            room_data.unpublish_data_track(room, member, message.unpublish_data_track_request)
        case "update_data_subscription":
            room_data.subscribe_data(room, member, message.update_data_subscription)


def _on_ping(room: RoomState, member: Member, ping: m.Ping) -> None:
    pong = m.Pong(last_ping_timestamp=ping.timestamp, timestamp=int(room.wall * 1000))
    room.tell(member, pong_resp=pong)


def _on_leave(room: RoomState, member: Member, leave: m.LeaveRequest) -> None:
    reason = leave.reason if leave.reason in _LEAVE_REASONS else m.DisconnectReason.CLIENT_INITIATED
    room_leaving.remove(room, member, reason)


def _on_mute(room: RoomState, member: Member, request: m.MuteTrackRequest) -> None:
    if not room_media.mute(room, member, request.sid, request.muted):
        response = m.RequestResponse(reason=m.RequestResponse.NOT_FOUND, message="track is not found", mute=request)
        room.tell(member, request_response=response)


def _on_subscription(room: RoomState, member: Member, update: m.UpdateSubscription) -> None:
    sids = list(dict.fromkeys(update.track_sids))
    for each in update.participant_tracks:
        sids += [sid for sid in each.track_sids if sid not in sids]
    room_media.update_subscription(room, member, sids, update.subscribe)


def _on_audio_track(room: RoomState, member: Member, update: m.UpdateLocalAudioTrack) -> None:
    track = member.tracks.get(update.track_sid)
    if track is not None and track.kind == "audio":
        del track.info.audio_features[:]
        track.info.audio_features.extend(update.features)
        room.broadcast(member, to_self=True)


def _on_video_track(room: RoomState, member: Member, update: m.UpdateLocalVideoTrack) -> None:
    track = member.tracks.get(update.track_sid)
    if track is not None and track.kind == "video":
        track.info.width, track.info.height = update.width, update.height
        room.broadcast(member, to_self=True)


def _on_simulate(room: RoomState, member: Member, scenario: m.SimulateScenario) -> None:
    """Play the accident that a client's test asks for, on that client only."""
    match scenario.WhichOneof("scenario"):
        case "speaker_update":
            speaker = m.SpeakerInfo(sid=member.sid, level=0.9, active=True)
            room.tell(member, speakers_changed=m.SpeakersChanged(speakers=[speaker]))
        case "server_leave":
            reason = m.DisconnectReason.SERVER_SHUTDOWN
            room_leaving.remove(room, member, reason, action=m.LeaveRequest.DISCONNECT)
        case "leave_request_full_reconnect":
            room_link.full_reconnect(room, member)
        case "node_failure" | "migration":
            room_leaving.remove(room, member, m.DisconnectReason.MIGRATION)
        case "disconnect_signal_on_resume" | "disconnect_signal_on_resume_no_messages":
            if member.link.connection is not None:
                room.emit(CloseSocket(member.link.connection))

"""What the API may do to a room and its participants, and what participants may do to themselves."""

from __future__ import annotations

from collections.abc import Mapping

from greenroom.protocol import room_data, room_media
from greenroom.protocol.inputs import (
    MutePublishedTrack,
    SendServerData,
    UpdateParticipant,
    UpdateSubscriptions,
)
from greenroom.protocol.member import Member
from greenroom.protocol.outputs import RefreshToken
from greenroom.protocol.room_state import RoomState
from greenroom.wire import messages as m

__all__ = [
    "configure_room",
    "mute_published_track",
    "refresh_tokens",
    "send_server_data",
    "set_permission",
    "update_own_metadata",
    "update_participant",
    "update_room_metadata",
    "update_subscriptions",
]

#: Seconds between new tokens for those in a room.
_TOKEN_INTERVAL = 300.0


def update_own_metadata(room: RoomState, member: Member, request: m.UpdateParticipantMetadata) -> None:
    """A client changes its own name, metadata or attributes."""
    reason, message = m.RequestResponse.OK, ""
    if not member.permission.can_update_metadata:
        reason = m.RequestResponse.NOT_ALLOWED
        message = "does not have permission to update own metadata"
    elif too_large := profile_excess(room, member, request.name, request.metadata, request.attributes):
        reason, message = m.RequestResponse.LIMIT_EXCEEDED, too_large
    if reason != m.RequestResponse.OK or member.protocol > 14:
        response = m.RequestResponse(
            request_id=request.request_id, reason=reason, message=message, update_metadata=request
        )
        room.tell(member, request_response=response)
    if reason == m.RequestResponse.OK:
        _change_profile(room, member, request.name, request.metadata, request.attributes)


def profile_excess(room: RoomState, member: Member, name: str, metadata: str, attributes: Mapping[str, str]) -> str:
    """What would be too large if these changes were made; "" when nothing is."""
    limits = room.settings.limits
    if len(name) > limits.name:
        return "name exceeds limits"
    if len(metadata.encode()) > limits.metadata:
        return "metadata exceeds limits"
    merged = {**member.profile.attributes, **attributes}
    if sum(len(key.encode()) + len(value.encode()) for key, value in merged.items()) > limits.attributes:
        return "attributes exceed limits"
    return ""


def update_participant(room: RoomState, member: Member, update: UpdateParticipant) -> None:
    """The API changes a participant."""
    if update.permission is not None:
        set_permission(room, member, update.permission)
    if update.name or update.metadata or update.attributes:
        _change_profile(room, member, update.name, update.metadata, update.attributes)


def _change_profile(room: RoomState, member: Member, name: str, metadata: str, attributes: Mapping[str, str]) -> None:
    profile = member.profile
    profile.name = name or profile.name
    profile.metadata = metadata or profile.metadata
    for key, value in attributes.items():
        if value:
            profile.attributes[key] = value
        else:
            profile.attributes.pop(key, None)
    room.broadcast(member, to_self=True)
    room.emit(RefreshToken(member.sid))


def set_permission(room: RoomState, member: Member, permission: m.ParticipantPermission) -> None:
    """Replace what a participant may do; what it may no longer do ends at once."""
    if permission == member.permission:
        return
    member.permission = permission
    room.broadcast(member, to_self=True)
    room.emit(RefreshToken(member.sid))
    revoked = [track for track in member.tracks.values() if not room_media.may_publish(member, track.info.source)]
    if revoked:
        room_media.remove_tracks(room, member, revoked, tell=True)
    if not permission.can_publish_data and member.data_tracks:
        room_data.remove_data_tracks(room, member, list(member.data_tracks))
        room.broadcast(member, to_self=False)
    if permission.can_subscribe:
        room_media.auto_subscribe(room, member)
    else:
        for subscription in list(member.subscriptions.active.values()):
            room_media.unsubscribe(room, member, subscription.track)


def mute_published_track(room: RoomState, member: Member, request: MutePublishedTrack) -> None:
    """The API mutes a participant's track: its client is told, and nothing of it is forwarded."""
    if room_media.mute(room, member, request.track_sid, request.muted):
        message = m.MuteTrackRequest(sid=request.track_sid, muted=request.muted)
        room.tell(member, mute=message)


def update_subscriptions(room: RoomState, member: Member, request: UpdateSubscriptions) -> None:
    """The API subscribes a participant to tracks, or unsubscribes it."""
    room_media.update_subscription(room, member, request.track_sids, request.subscribe)


def send_server_data(room: RoomState, request: SendServerData) -> None:
    """The API sends data; nobody is its sender."""
    room_data.send_packet(room, request.packet, None)


def update_room_metadata(room: RoomState, metadata: str) -> None:
    """The API sets the room's metadata."""
    room.info.metadata = metadata
    room.update_room()


def configure_room(room: RoomState, config: m.RoomConfiguration) -> None:
    """The API creates a room that exists already: what it says wins over what was."""
    info = room.info
    info.empty_timeout = config.empty_timeout or info.empty_timeout
    info.departure_timeout = config.departure_timeout or info.departure_timeout
    info.max_participants = config.max_participants or info.max_participants
    if config.metadata and config.metadata != info.metadata:
        update_room_metadata(room, config.metadata)


def refresh_tokens(room: RoomState) -> None:
    """Give everybody a fresh token, and again after a while."""
    for member in room.members.values():
        room.emit(RefreshToken(member.sid))
    room.timers.set(("tokens", ""), room.now + _TOKEN_INTERVAL)

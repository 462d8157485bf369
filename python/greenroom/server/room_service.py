"""RoomService: what `livekit-api` calls to manage rooms and the people in them."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Protocol

from greenroom.protocol import inputs
from greenroom.protocol.member import Member
from greenroom.protocol.room_api import profile_excess
from greenroom.server.admission import ROOM_NOT_FOUND
from greenroom.server.auth import PERMISSION_DENIED, grants_of
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims
from greenroom.wire.twirp import TwirpError

if TYPE_CHECKING:
    from greenroom.server.live_room import LiveRoom
    from greenroom.server.server import Core

__all__ = [
    "check_room_name",
    "create_room",
    "delete_room",
    "get_participant",
    "list_participants",
    "list_rooms",
    "mute_published_track",
    "not_implemented",
    "perform_rpc",
    "remove_participant",
    "require",
    "require_admin",
    "send_data",
    "update_participant",
    "update_room_metadata",
    "update_subscriptions",
]

_RPC_TIMEOUT = 10.0
_NONCE_SIZE = 16


class _AboutRoom(Protocol):
    room: str


def require(granted: bool) -> None:
    """Raise unless the token grants it. Missing grants count as "unauthenticated", as clients expect."""
    if not granted:
        raise TwirpError("unauthenticated", PERMISSION_DENIED)


def require_admin(claims: Claims | None, room: str) -> None:
    """Raise unless the token makes its holder an admin of this room."""
    grants = grants_of(claims)
    require(grants.room_admin and grants.room == room)


async def create_room(core: Core, claims: Claims | None, request: m.CreateRoomRequest) -> m.Message:
    """Make a room, or change the settings of the one of that name."""
    require(grants_of(claims).room_create)
    check_room_name(core, request.name)
    if request.HasField("egress"):
        raise TwirpError("unimplemented", "egress is not part of this server")
    if len(request.metadata.encode()) > core.options.limits.metadata:
        raise TwirpError("invalid_argument", "metadata size exceeds limits")
    config = m.RoomConfiguration(
        empty_timeout=request.empty_timeout,
        departure_timeout=request.departure_timeout,
        max_participants=request.max_participants,
        metadata=request.metadata,
        agents=request.agents,
    )
    existing = core.rooms.get(request.name)
    if existing is not None:
        existing.step(inputs.ConfigureRoom(config))
        return existing.machine.info()
    return core.get_or_create(request.name, config).machine.info()


async def list_rooms(core: Core, claims: Claims | None, request: m.ListRoomsRequest) -> m.Message:
    """The rooms of these names, or all."""
    require(grants_of(claims).room_list)
    names = set(request.names)
    rooms = [room.machine.info() for name, room in core.rooms.items() if not names or name in names]
    return m.ListRoomsResponse(rooms=rooms)


async def delete_room(core: Core, claims: Claims | None, request: m.DeleteRoomRequest) -> m.Message:
    """End a room."""
    require(grants_of(claims).room_create)
    _room(core, request.room).close()
    return m.DeleteRoomResponse()


async def list_participants(core: Core, claims: Claims | None, request: m.ListParticipantsRequest) -> m.Message:
    """Everybody in a room."""
    room = _administered(core, claims, request)
    return m.ListParticipantsResponse(participants=[each.info() for each in room.machine.state.members.values()])


async def get_participant(core: Core, claims: Claims | None, request: m.RoomParticipantIdentity) -> m.Message:
    """One participant."""
    return _member(_administered(core, claims, request), request.identity).info()


async def remove_participant(core: Core, claims: Claims | None, request: m.RoomParticipantIdentity) -> m.Message:
    """Remove a participant, and with `revoke_token_ts` refuse its tokens from before then."""
    room = _administered(core, claims, request)
    if request.revoke_token_ts:
        core.revoke(request.room, request.identity, float(request.revoke_token_ts))
    _member(room, request.identity)
    room.remove(request.identity)
    return m.RemoveParticipantResponse()


async def mute_published_track(core: Core, claims: Claims | None, request: m.MuteRoomTrackRequest) -> m.Message:
    """Mute somebody's track, or unmute it where the server's settings allow that."""
    room = _administered(core, claims, request)
    member = _member(room, request.identity)
    track = member.tracks.get(request.track_sid)
    if track is None:
        raise TwirpError("not_found", "track is not found")
    if not request.muted and not core.options.remote_unmute:
        raise TwirpError("failed_precondition", "remote unmute not enabled")
    room.step(inputs.MutePublishedTrack(request.identity, request.track_sid, request.muted))
    return m.MuteRoomTrackResponse(track=track.info)


async def update_participant(core: Core, claims: Claims | None, request: m.UpdateParticipantRequest) -> m.Message:
    """Change a participant's name, metadata, attributes or permission."""
    room = _administered(core, claims, request)
    member = _member(room, request.identity)
    excess = profile_excess(room.machine.state, member, request.name, request.metadata, request.attributes)
    if excess:
        raise TwirpError("invalid_argument", excess)
    room.step(
        inputs.UpdateParticipant(
            identity=request.identity,
            name=request.name,
            metadata=request.metadata,
            attributes=dict(request.attributes),
            permission=request.permission if request.HasField("permission") else None,
        )
    )
    return member.info()


async def update_subscriptions(core: Core, claims: Claims | None, request: m.UpdateSubscriptionsRequest) -> m.Message:
    """Subscribe a participant to tracks, or unsubscribe it."""
    room = _administered(core, claims, request)
    _member(room, request.identity)
    sids = [*request.track_sids, *(sid for each in request.participant_tracks for sid in each.track_sids)]
    room.step(inputs.UpdateSubscriptions(request.identity, tuple(dict.fromkeys(sids)), request.subscribe))
    return m.UpdateSubscriptionsResponse()


async def send_data(core: Core, claims: Claims | None, request: m.SendDataRequest) -> m.Message:
    """Send data to a room, or to some of its participants."""
    room = _administered(core, claims, request)
    if len(request.nonce) not in (0, _NONCE_SIZE):
        raise TwirpError("invalid_argument", f"nonce must be {_NONCE_SIZE} bytes")
    user = m.UserPacket(
        payload=request.data,
        destination_sids=request.destination_sids,
        destination_identities=request.destination_identities,
        nonce=request.nonce,
    )
    if request.HasField("topic"):
        user.topic = request.topic
    packet = m.DataPacket(kind=request.kind, destination_identities=request.destination_identities, user=user)
    room.step(inputs.SendServerData(packet))
    return m.SendDataResponse()


async def update_room_metadata(core: Core, claims: Claims | None, request: m.UpdateRoomMetadataRequest) -> m.Message:
    """Set a room's metadata."""
    room = _administered(core, claims, request)
    if len(request.metadata.encode()) > core.options.limits.metadata:
        raise TwirpError("invalid_argument", "metadata size exceeds limits")
    room.step(inputs.UpdateRoomMetadata(request.metadata))
    return room.machine.info()


async def perform_rpc(core: Core, claims: Claims | None, request: m.PerformRpcRequest) -> m.Message:
    """Call a method that a participant has registered."""
    room = _administered(core, claims, request)
    _member(room, request.destination_identity)
    timeout = request.response_timeout_ms / 1000 or _RPC_TIMEOUT
    call = inputs.CallRpc(str(uuid.uuid4()), request.destination_identity, request.method, request.payload, timeout)
    try:
        async with asyncio.timeout(timeout + 1):
            response = await room.call_rpc(call)
    except TimeoutError as error:
        raise TwirpError("deadline_exceeded", "the participant did not answer") from error
    if response.HasField("error"):
        meta = {"rpc_error_code": str(response.error.code), "rpc_error_data": response.error.data}
        raise TwirpError("unknown", response.error.message, meta)
    return m.PerformRpcResponse(payload=response.payload)


async def not_implemented(core: Core, claims: Claims | None, request: _AboutRoom) -> m.Message:
    """Calls that only LiveKit's cloud can do."""
    require_admin(claims, request.room)
    _room(core, request.room)
    raise TwirpError("unimplemented", "participants cannot be moved between rooms")


def _administered(core: Core, claims: Claims | None, request: _AboutRoom) -> LiveRoom:
    require_admin(claims, request.room)
    return _room(core, request.room)


def _room(core: Core, name: str) -> LiveRoom:
    check_room_name(core, name)
    room = core.rooms.get(name)
    if room is None:
        raise TwirpError("not_found", ROOM_NOT_FOUND)
    return room


def check_room_name(core: Core, name: str) -> None:
    """Raise unless this can be the name of a room."""
    if not name:
        raise TwirpError("invalid_argument", "no room name")
    if len(name) > core.options.limits.room_name:
        raise TwirpError("invalid_argument", "room name length exceeds limits")


def _member(room: LiveRoom, identity: str) -> Member:
    if not identity:
        raise TwirpError("invalid_argument", "identity cannot be empty")
    member = room.machine.member(identity)
    if member is None:
        raise TwirpError("not_found", "participant does not exist")
    return member

"""The HTTP API: `POST /twirp/livekit.<Service>/<Method>`, in protobuf or JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from greenroom.errors import ProtocolError
from greenroom.server import dispatch_service, room_service
from greenroom.server.auth import Refusal, claims_of
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims
from greenroom.wire.twirp import (
    JSON,
    PROTOBUF,
    STATUS,
    TwirpError,
    decode_body,
    encode_body,
    encode_error,
    request_for,
)

if TYPE_CHECKING:
    from greenroom.server.server import Core

__all__ = ["handle"]

log = logging.getLogger("greenroom.server")

Handler = Callable[["Core", Claims | None, Any], Awaitable[m.Message]]

_HANDLERS: dict[str, Handler] = {
    "livekit.RoomService/CreateRoom": room_service.create_room,
    "livekit.RoomService/ListRooms": room_service.list_rooms,
    "livekit.RoomService/DeleteRoom": room_service.delete_room,
    "livekit.RoomService/ListParticipants": room_service.list_participants,
    "livekit.RoomService/GetParticipant": room_service.get_participant,
    "livekit.RoomService/RemoveParticipant": room_service.remove_participant,
    "livekit.RoomService/MutePublishedTrack": room_service.mute_published_track,
    "livekit.RoomService/UpdateParticipant": room_service.update_participant,
    "livekit.RoomService/UpdateSubscriptions": room_service.update_subscriptions,
    "livekit.RoomService/SendData": room_service.send_data,
    "livekit.RoomService/UpdateRoomMetadata": room_service.update_room_metadata,
    "livekit.RoomService/ForwardParticipant": room_service.not_implemented,
    "livekit.RoomService/MoveParticipant": room_service.not_implemented,
    "livekit.RoomService/PerformRpc": room_service.perform_rpc,
    "livekit.AgentDispatchService/CreateDispatch": dispatch_service.create_dispatch,
    "livekit.AgentDispatchService/DeleteDispatch": dispatch_service.delete_dispatch,
    "livekit.AgentDispatchService/ListDispatch": dispatch_service.list_dispatch,
}
_NOT_HERE = {
    "livekit.Egress": "egress is not part of this server",
    "livekit.Ingress": "ingress is not part of this server",
    "livekit.SIP": "SIP is not part of this server",
    "livekit.Connector": "connectors to other call services are not part of this server",
}


async def handle(core: Core, request: web.BaseRequest, path: str) -> web.StreamResponse:
    """Answer one API call."""
    content_type = request.content_type
    try:
        response = await _call(core, request, path.removeprefix("/twirp/"), content_type)
    except Refusal as refusal:
        code = "unauthenticated" if refusal.status == 401 else "resource_exhausted"
        error = TwirpError(code, refusal.text)
        return web.Response(status=refusal.status, body=encode_error(error), content_type=JSON)
    except TwirpError as error:
        return _error(error)
    except ConnectionError:
        raise  # nobody is there to be answered
    except Exception:
        log.exception("the API call %s failed", path)
        return _error(TwirpError("internal", "the call failed inside the server; its log says why"))
    return web.Response(body=encode_body(response, content_type), content_type=content_type)


def _error(error: TwirpError) -> web.Response:
    return web.Response(status=STATUS[error.code], body=encode_error(error), content_type=JSON)


async def _call(core: Core, request: web.BaseRequest, method: str, content_type: str) -> m.Message:
    if request.method != "POST":
        raise TwirpError("bad_route", f"unsupported method {request.method} (only POST is allowed)")
    if content_type not in (JSON, PROTOBUF):
        raise TwirpError("bad_route", f"unexpected Content-Type: {content_type}")
    service = method.partition("/")[0]
    if service in _NOT_HERE:
        raise TwirpError("unimplemented", _NOT_HERE[service])
    message, handler = request_for(method), _HANDLERS.get(method)
    if message is None or handler is None:
        raise TwirpError("bad_route", f"no handler for path /twirp/{method}")
    claims = claims_of(request, core.keys, core.wall_clock())
    body = await _read_body(request, core.options.request_size, core.options.half_open_timeout)
    try:
        decode_body(message, body, content_type)
    except ProtocolError as error:
        raise TwirpError("malformed", error.message) from error
    return await handler(core, claims, message)


async def _read_body(request: web.BaseRequest, limit: int, patience: float) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.content.iter_chunked(64 * 1024):
                body += chunk
                if len(body) > limit:
                    raise Refusal(413, f"the request is larger than {limit} bytes (request_size)")
    except TimeoutError as error:
        raise TwirpError("deadline_exceeded", f"the request took longer than {patience:g} s to arrive") from error
    return bytes(body)

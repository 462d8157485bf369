"""Twirp: which message a method takes, both encodings of bodies, and the error object."""

from __future__ import annotations

import json

from google.protobuf import json_format

from greenroom.errors import ProtocolError
from greenroom.wire import messages as m

__all__ = [
    "JSON",
    "PROTOBUF",
    "STATUS",
    "TwirpError",
    "decode_body",
    "encode_body",
    "encode_error",
    "request_for",
]

JSON = "application/json"
PROTOBUF = "application/protobuf"

#: HTTP status per error code.
STATUS = {
    "aborted": 409,
    "already_exists": 409,
    "bad_route": 404,
    "canceled": 408,
    "data_loss": 500,
    "deadline_exceeded": 408,
    "failed_precondition": 412,
    "internal": 500,
    "invalid_argument": 400,
    "malformed": 400,
    "not_found": 404,
    "out_of_range": 400,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "unauthenticated": 401,
    "unavailable": 503,
    "unimplemented": 501,
    "unknown": 500,
}

_REQUESTS: dict[str, type[m.Message]] = {
    "livekit.RoomService/CreateRoom": m.CreateRoomRequest,
    "livekit.RoomService/ListRooms": m.ListRoomsRequest,
    "livekit.RoomService/DeleteRoom": m.DeleteRoomRequest,
    "livekit.RoomService/ListParticipants": m.ListParticipantsRequest,
    "livekit.RoomService/GetParticipant": m.RoomParticipantIdentity,
    "livekit.RoomService/RemoveParticipant": m.RoomParticipantIdentity,
    "livekit.RoomService/MutePublishedTrack": m.MuteRoomTrackRequest,
    "livekit.RoomService/UpdateParticipant": m.UpdateParticipantRequest,
    "livekit.RoomService/UpdateSubscriptions": m.UpdateSubscriptionsRequest,
    "livekit.RoomService/SendData": m.SendDataRequest,
    "livekit.RoomService/UpdateRoomMetadata": m.UpdateRoomMetadataRequest,
    "livekit.RoomService/ForwardParticipant": m.ForwardParticipantRequest,
    "livekit.RoomService/MoveParticipant": m.MoveParticipantRequest,
    "livekit.RoomService/PerformRpc": m.PerformRpcRequest,
    "livekit.AgentDispatchService/CreateDispatch": m.CreateAgentDispatchRequest,
    "livekit.AgentDispatchService/DeleteDispatch": m.DeleteAgentDispatchRequest,
    "livekit.AgentDispatchService/ListDispatch": m.ListAgentDispatchRequest,
}


class TwirpError(Exception):
    """A call is answered with an error: one of `STATUS`, a sentence, and details."""

    def __init__(self, code: str, message: str, meta: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.meta = meta or {}


def request_for(method: str) -> m.Message | None:
    """An empty request of a method, "livekit.RoomService/CreateRoom" and so on; None for unknown ones."""
    kind = _REQUESTS.get(method)
    return None if kind is None else kind()


def decode_body(request: m.Message, body: bytes, content_type: str) -> None:
    """Fill a request from a body.

    Args:
        request: an empty one.
        body: the HTTP body.
        content_type: `JSON` or `PROTOBUF`.

    Raises:
        ProtocolError: the body is not such a message.
    """
    try:
        if content_type == JSON:
            json_format.Parse(body, request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (m.DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        raise ProtocolError(f"the {content_type} body is no {request.DESCRIPTOR.name}: {error}") from error


def encode_body(response: m.Message, content_type: str) -> bytes:
    """The body of a response; JSON with snake_case names and every field."""
    if content_type == JSON:
        text = json_format.MessageToJson(
            response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
        )
        return text.encode()
    return response.SerializeToString()


def encode_error(error: TwirpError) -> bytes:
    """The body of an error response, always JSON."""
    return json.dumps({"code": error.code, "msg": error.message, "meta": error.meta}).encode()

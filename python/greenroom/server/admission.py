"""May this client join? The checks that `/rtc` and `/rtc/validate` share, with the answers that clients know."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from aiohttp import web

from greenroom.errors import ProtocolError
from greenroom.protocol.settings import Limits
from greenroom.server.auth import PERMISSION_DENIED, Refusal, grants_of
from greenroom.wire.join import JoinParameters, decode_v0, decode_v1
from greenroom.wire.tokens import Claims

__all__ = ["Admission", "admit"]

ROOM_NOT_FOUND = "requested room does not exist"


@dataclass(frozen=True, slots=True)
class Admission:
    """A client that may join."""

    room: str
    claims: Claims
    parameters: JoinParameters


def admit(
    request: web.BaseRequest, claims: Claims | None, *, version: int, limits: Limits, room_exists: bool | None
) -> Admission:
    """Check a request to join.

    Args:
        request: its query says how the client wants to join.
        claims: of its token.
        version: 0 for `/rtc`, 1 for `/rtc/v1`.
        limits: of names and sizes.
        room_exists: whether the room is there, or None when joining would create it.

    Raises:
        Refusal: with the status and text that clients expect.
    """
    grants = grants_of(claims)
    if claims is None or not grants.room_join:
        raise Refusal(401, PERMISSION_DENIED)
    _check_names(claims.identity, grants.room, limits)
    if room_exists is False:
        raise Refusal(404, ROOM_NOT_FOUND)
    try:
        query = request.query
        parameters = decode_v1(query.get("join_request", "")) if version else decode_v0(query)
    except ProtocolError as error:
        raise Refusal(400, error.message) from error
    if (parameters.metadata or parameters.attributes) and not grants.can_update_own_metadata:
        raise Refusal(401, PERMISSION_DENIED)
    _check_sizes(parameters, limits)
    if parameters.publish_only:
        claims = dataclasses.replace(
            claims,
            identity=f"{claims.identity}#{parameters.publish_only}",
            video=dataclasses.replace(grants, can_subscribe=False),
        )
    return Admission(grants.room, claims, parameters)


def _check_names(identity: str, room: str, limits: Limits) -> None:
    if not identity:
        raise Refusal(400, "identity cannot be empty")
    if len(identity) > limits.identity:
        raise Refusal(400, "participant identity length exceeds limits")
    if not room:
        raise Refusal(400, "no room name")
    if len(room) > limits.room_name:
        raise Refusal(400, "room name length exceeds limits")


def _check_sizes(parameters: JoinParameters, limits: Limits) -> None:
    attributes = parameters.attributes or {}
    if len(parameters.metadata.encode()) > limits.metadata:
        raise Refusal(400, "metadata size exceeds limits")
    if sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items()) > limits.attributes:
        raise Refusal(400, "attributes size exceeds limits")
    if len(parameters.publish_only) > limits.identity:
        raise Refusal(400, "participant identity length exceeds limits")

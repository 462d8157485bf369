"""The signalling websocket of a client: `/rtc` and `/rtc/v1`, and their dry runs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from greenroom.errors import ProtocolError
from greenroom.protocol import inputs
from greenroom.server.admission import Admission, admit
from greenroom.server.auth import Refusal, claims_of, grants_of
from greenroom.server.client_socket import ClientSocket
from greenroom.wire import messages as m
from greenroom.wire.signal import decode_request

if TYPE_CHECKING:
    from greenroom.server.live_room import LiveRoom
    from greenroom.server.server import Core

__all__ = ["handle_join", "handle_validate"]

log = logging.getLogger("greenroom.server")

#: Seconds between websocket pings; a client that does not answer half as long after is gone.
_HEARTBEAT = 10.0


async def handle_validate(core: Core, request: web.BaseRequest, version: int) -> web.StreamResponse:
    """Say whether this client could join."""
    _admission(core, request, version)
    return web.Response(text="success")


async def handle_join(core: Core, request: web.BaseRequest, version: int) -> web.StreamResponse:
    """Open a client's signalling socket and serve it until it ends."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise Refusal(404, "")
    admission = _admission(core, request, version)
    client = await ClientSocket.accept(request, core.options, _HEARTBEAT)
    await _serve(core, client, admission)
    return client.response


def _admission(core: Core, request: web.BaseRequest, version: int) -> Admission:
    claims = claims_of(request, core.keys, core.wall_clock())
    name = grants_of(claims).room
    if claims is not None and core.is_revoked(claims):
        raise Refusal(401, "token has been revoked")
    exists = None if core.options.auto_create else name in core.rooms
    return admit(request, claims, version=version, limits=core.options.limits, room_exists=exists)


async def _serve(core: Core, client: ClientSocket, admission: Admission) -> None:
    connection = core.add_socket(client)
    room: LiveRoom | None = None
    try:
        async with client:
            room = _room_for(core, admission)
            if room is None:
                client.send(_begin_anew())
            else:
                room.step(inputs.Join(connection, admission.claims, admission.parameters))
                await _read(client, room, connection)
    finally:
        core.remove_socket(connection)
        if room is not None:
            room.step(inputs.SocketClosed(connection))


def _room_for(core: Core, admission: Admission) -> LiveRoom | None:
    if admission.parameters.reconnect:
        return core.rooms.get(admission.room)
    config = admission.claims.room_config or m.RoomConfiguration()
    return core.get_or_create(admission.room, config)


async def _read(client: ClientSocket, room: LiveRoom, connection: int) -> None:
    async for frame in client.frames():
        try:
            message = decode_request(frame)
        except ProtocolError as error:
            log.warning("a client sent something that is no signalling message and is cut: %s", error)
            return
        room.step(inputs.Signal(connection, message))
        # Frames that are there already come without a wait: one client's flood must not keep the loop from the others.
        await asyncio.sleep(0)


def _begin_anew() -> m.SignalResponse:
    return m.SignalResponse(
        leave=m.LeaveRequest(
            can_reconnect=True,
            reason=m.DisconnectReason.STATE_MISMATCH,
            action=m.LeaveRequest.RECONNECT,
        )
    )

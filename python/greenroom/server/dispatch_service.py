"""AgentDispatchService: explicit dispatch of agents to rooms."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenroom.protocol import dispatch_records as r
from greenroom.server.admission import ROOM_NOT_FOUND
from greenroom.server.room_service import check_room_name, require_admin
from greenroom.wire import messages as m
from greenroom.wire.sids import DISPATCH, make_sid
from greenroom.wire.tokens import Claims
from greenroom.wire.twirp import TwirpError

if TYPE_CHECKING:
    from greenroom.server.server import Core

__all__ = ["create_dispatch", "delete_dispatch", "list_dispatch"]

_MAX_DEPLOYMENT = 64


async def create_dispatch(core: Core, claims: Claims | None, request: m.CreateAgentDispatchRequest) -> m.Message:
    """Ask for an agent in a room; the room is made if it does not exist."""
    require_admin(claims, request.room)
    check_room_name(core, request.room)
    limits = core.options.limits
    if len(request.metadata.encode()) > limits.metadata:
        raise TwirpError("invalid_argument", "metadata size exceeds limits")
    if sum(len(name.encode()) + len(value.encode()) for name, value in request.attributes.items()) > limits.attributes:
        raise TwirpError("invalid_argument", "attributes size exceeds limits")
    if len(request.agent_name) > limits.identity:
        raise TwirpError("invalid_argument", "agent name length exceeds limits")
    deployment = request.deployment
    if len(deployment) > _MAX_DEPLOYMENT or "_" in deployment or any(map(str.isspace, deployment)):
        raise TwirpError("invalid_argument", "deployment must be at most 64 characters without _ or spaces")
    if request.room not in core.rooms and not core.options.auto_create:
        raise TwirpError("not_found", ROOM_NOT_FOUND)
    if request.room not in core.rooms:
        config = m.RoomConfiguration(agents=[m.RoomAgentDispatch(agent_name=request.agent_name)])
        config.agents[0].metadata = request.metadata
        config.agents[0].restart_policy = request.restart_policy
        config.agents[0].deployment = deployment
        config.agents[0].attributes.update(request.attributes)
        core.get_or_create(request.room, config)
        return core.dispatcher.machine.dispatches(request.room)[0]
    dispatch = m.AgentDispatch(
        id=make_sid(DISPATCH, os.urandom(16)),
        agent_name=request.agent_name,
        room=request.room,
        metadata=request.metadata,
        restart_policy=request.restart_policy,
        deployment=deployment,
        attributes=request.attributes,
    )
    core.dispatcher.step(r.CreateDispatch(dispatch))
    return _find(core, request.room, dispatch.id)


async def delete_dispatch(core: Core, claims: Claims | None, request: m.DeleteAgentDispatchRequest) -> m.Message:
    """Take a dispatch back; its agents leave."""
    require_admin(claims, request.room)
    found = _find(core, request.room, request.dispatch_id)
    core.dispatcher.step(r.DeleteDispatch(request.room, request.dispatch_id))
    found.state.deleted_at = int(core.wall_clock() * 1_000_000_000)
    return found


async def list_dispatch(core: Core, claims: Claims | None, request: m.ListAgentDispatchRequest) -> m.Message:
    """The dispatches of a room, or one of them."""
    require_admin(claims, request.room)
    found = core.dispatcher.machine.dispatches(request.room)
    if request.dispatch_id:
        found = [each for each in found if each.id == request.dispatch_id]
    return m.ListAgentDispatchResponse(agent_dispatches=found)


def _find(core: Core, room: str, dispatch_id: str) -> m.AgentDispatch:
    for each in core.dispatcher.machine.dispatches(room):
        if each.id == dispatch_id:
            return each
    raise TwirpError("not_found", "dispatch does not exist")

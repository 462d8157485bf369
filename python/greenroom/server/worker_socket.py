"""`/agent`: the websocket of an agent worker."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from greenroom.errors import ProtocolError
from greenroom.protocol import dispatch_records as r
from greenroom.server.auth import PERMISSION_DENIED, Refusal, claims_of, grants_of
from greenroom.server.client_socket import ClientSocket
from greenroom.wire import messages as m
from greenroom.wire.signal import decode

if TYPE_CHECKING:
    from greenroom.server.server import Core

__all__ = ["handle"]

log = logging.getLogger("greenroom.server")

#: Seconds between websocket pings.
_HEARTBEAT = 15.0
#: Messages of one worker that are handled in a row.
_TURN = 20


async def handle(core: Core, request: web.BaseRequest) -> web.StreamResponse:
    """Open a worker's socket and serve it until it ends."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise Refusal(404, "")
    if not grants_of(claims_of(request, core.keys, core.wall_clock())).agent:
        raise Refusal(401, PERMISSION_DENIED)
    worker = await ClientSocket.accept(request, core.options, _HEARTBEAT)
    await _serve(core, worker)
    return worker.response


async def _serve(core: Core, worker: ClientSocket) -> None:
    connection = core.add_socket(worker)
    try:
        async with worker:
            core.dispatcher.open_worker(connection, worker)
            await _read(core, worker, connection)
    finally:
        core.remove_socket(connection)
        core.dispatcher.close_worker(connection)


async def _read(core: Core, worker: ClientSocket, connection: int) -> None:
    count = 0
    async for frame in worker.frames():
        count += 1
        if count % _TURN == 0:
            await asyncio.sleep(0)  # what has arrived is read without waiting, and others want their turn
        try:
            message = decode(m.WorkerMessage, frame)
        except ProtocolError as error:
            log.warning("a worker sent something that is no worker message and is cut: %s", error)
            return
        core.dispatcher.step(r.WorkerSaid(connection, message))

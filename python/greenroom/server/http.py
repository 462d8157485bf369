"""The one HTTP port: which path goes where, cross-origin headers, and how refusals look."""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from greenroom.errors import ConfigError, PortInUseError
from greenroom.server import signalling, twirp, worker_socket
from greenroom.server.auth import Refusal

if TYPE_CHECKING:
    from greenroom.server.server import Core

__all__ = ["HttpFront"]

log = logging.getLogger("greenroom.server")

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "OPTIONS, HEAD, GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
#: Bytes of a request line or header: join requests of clients with many tracks are long.
_MAX_LINE = 256 * 1024


class HttpFront:
    """Listens on one TCP port and sends each request to its handler."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            PortInUseError: another program listens there.
            ConfigError: the address is not one of this machine's.
        """
        options = self._core.options
        server = web.Server(
            self._handle,
            access_log=None,
            keepalive_timeout=options.half_open_timeout,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
        )
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, options.host, options.port).start()
        except (OSError, socket.gaierror) as error:
            await runner.cleanup()
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise PortInUseError(f"port {options.port} on {options.host} is in use; choose another") from error
            raise ConfigError(f"cannot listen on {options.host}: {error}") from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening and end the requests that run. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._route(request)
        except Refusal as refusal:
            response = web.Response(status=refusal.status, text=refusal.text)
        if not response.prepared:
            response.headers.update(_CORS)
        return response

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = "/" + request.path.lstrip("/")
        if request.method == "OPTIONS":
            return web.Response(status=204)
        if path.startswith("/twirp/"):
            return await twirp.handle(self._core, request, path)
        if request.method not in ("GET", "HEAD"):
            raise Refusal(404, "")
        match path:
            case "/":
                return web.Response(text="OK")
            case "/rtc":
                return await signalling.handle_join(self._core, request, 0)
            case "/rtc/v1":
                return await signalling.handle_join(self._core, request, 1)
            case "/rtc/validate":
                return await signalling.handle_validate(self._core, request, 0)
            case "/rtc/v1/validate":
                return await signalling.handle_validate(self._core, request, 1)
            case "/agent":
                return await worker_socket.handle(self._core, request)
            case _:
                raise Refusal(404, "")

"""The playground: a page with which one joins a room from a browser, served beside the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

__all__ = ["playground"]

#: Built by `make playground`; part of every wheel.
PAGE = Path(__file__).parent / "web"


@asynccontextmanager
async def playground(host: str) -> AsyncIterator[Playground | None]:
    """Serve the page on a free port of that address; None when this source tree has not built it."""
    if not (PAGE / "index.html").exists():
        yield None
        return
    from aiohttp import web

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / "index.html")

    app = web.Application()
    app.add_routes([web.get("/", index), web.static("/", PAGE)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        port = runner.addresses[0][1]
        yield Playground(f"http://{_reachable(host)}:{port}/")
    finally:
        await runner.cleanup()


class Playground:
    """The page while it is served."""

    def __init__(self, address: str) -> None:
        self.address = address

    def link(self, url: str, token: str) -> str:
        """A link that joins with this token at once. It is behind "#", which browsers send to no server."""
        return f"{self.address}#{urlencode({'url': url, 'token': token})}"


def _reachable(host: str) -> str:
    """What to write in a link for an address that was listened on."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host

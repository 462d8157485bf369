"""Running a server in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import nullcontext
from pathlib import Path

from greenroom.cli.agent import reloading
from greenroom.cli.output import notes
from greenroom.cli.playground import playground
from greenroom.errors import ConfigError
from greenroom.server import Server, ServerOptions

__all__ = ["develop", "interrupted", "serve"]

log = logging.getLogger("greenroom.cli")

DEV_KEY, DEV_SECRET = "devkey", "secret"


async def develop(host: str, port: int, room: str, identity: str, agent: Path | None) -> None:
    """Serve with the development key until interrupted, with a worker if a file is given; says how to join."""
    async with Server(host=host, port=port, keys={DEV_KEY: DEV_SECRET}, reoffer_jobs=True) as server:
        notes.print(f"[bold]greenroom[/] at [cyan]{server.url}[/]  key {DEV_KEY}  secret {DEV_SECRET}")
        async with playground(host) as page:
            token = server.token(identity, room)
            notes.print(f"join {room!r} as {identity!r} with\n  {token}\n", soft_wrap=True)
            if page:
                notes.print(f"or in a browser at\n  {page.link(server.url, token)}\n", soft_wrap=True)
            async with reloading(agent, server) if agent else nullcontext():
                await interrupted()


async def serve(options: ServerOptions) -> None:
    """Serve until interrupted or terminated.

    Raises:
        ConfigError: there is no key, and one made up now would be known to nobody.
    """
    if not options.keys:
        raise ConfigError('the configuration needs API keys: a table [keys] with lines like name = "secret"')
    async with Server(options) as server:
        log.info("listening at %s", server.url)
        await interrupted()


async def interrupted() -> None:
    """Wait for SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()

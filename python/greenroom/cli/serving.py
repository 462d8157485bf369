"""Running a server in the foreground."""

from __future__ import annotations

import asyncio
import inspect
import signal
import tomllib
from pathlib import Path
from typing import Any

from greenroom.cli.output import notes
from greenroom.cli.playground import playground
from greenroom.errors import ConfigError
from greenroom.server import Server

__all__ = ["develop", "read_settings", "serve"]

DEV_KEY, DEV_SECRET = "devkey", "secret"


async def develop(host: str, port: int, room: str, identity: str) -> None:
    """Serve with the development key until interrupted; says how to join."""
    async with Server(host=host, port=port, keys={DEV_KEY: DEV_SECRET}) as server:
        notes.print(f"[bold]greenroom[/] at [cyan]{server.url}[/]  key {DEV_KEY}  secret {DEV_SECRET}")
        async with playground(host) as page:
            token = server.token(identity, room)
            notes.print(f"join {room!r} as {identity!r} with\n  {token}\n", soft_wrap=True)
            if page:
                notes.print(f"or in a browser at\n  {page.link(server.url, token)}\n", soft_wrap=True)
            await _interrupted()


async def serve(settings: dict[str, Any]) -> None:
    """Serve until interrupted or terminated."""
    async with Server(**settings):
        await _interrupted()


def read_settings(path: Path) -> dict[str, Any]:
    """The file's settings, by the names of the server's own arguments.

    Raises:
        ConfigError: the file cannot be read, has a name that the server does not know, or has no key.
    """
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not TOML: {error}") from error
    known = set(inspect.signature(Server).parameters)
    for name in settings:
        if name not in known:
            raise ConfigError(f"--config {path}: there is no setting {name!r}; there are {', '.join(sorted(known))}")
    if not settings.get("keys"):
        raise ConfigError(f'--config {path} needs a table of API keys: [keys] with lines like name = "secret"')
    return settings


async def _interrupted() -> None:
    """Wait for SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()

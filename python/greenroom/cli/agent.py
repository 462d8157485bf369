"""`greenroom dev agent.py` and its relatives: workers run from a program's file."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from greenroom.cli.output import escaped, notes
from greenroom.errors import ConfigError, GreenroomError
from greenroom.runtime.tasks import TaskSet
from greenroom.server import Server

__all__ = ["reloading", "run"]

log = logging.getLogger("greenroom.cli")


def run(file: Path, arguments: Sequence[str]) -> None:
    """Run the worker of a file in this process, as `python FILE ARGUMENTS` does when it ends with `cli.run_app`.

    Raises:
        ConfigError: there is no such file, it cannot be loaded, or it has no worker.
    """
    from greenroom.agents import cli
    from greenroom.agents.loading import load, users_traceback

    sys.argv[:] = [str(file), *arguments]
    try:
        program = load(file, as_main=True)
    except GreenroomError:
        raise
    except Exception as error:
        sys.stderr.write(users_traceback(error))
        raise ConfigError(f"{file} failed while it was loaded, see above") from error
    cli.run_app(program.server, arguments)


@contextlib.asynccontextmanager
async def reloading(file: Path, server: Server) -> AsyncIterator[None]:
    """Run the worker of a file in a process of its own, anew whenever Python code beside it is saved."""
    from greenroom.agents.reload import Reloader

    key, secret = next(iter(server.keys.items()))
    environment = {"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret}
    command = [sys.executable, "-m", "greenroom", "run", str(file), "dev"]
    tasks = TaskSet(log)
    reloader = Reloader(command, file, environment, _tell)
    tasks.spawn(reloader.keep_running(), name="worker")
    try:
        yield
    finally:
        await tasks.close()


def _tell(line: str) -> None:
    notes.print(f"[bold green]dev[/] {escaped(line)}", soft_wrap=True)

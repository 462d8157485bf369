"""The command line of an agent's own file: `python agent.py start | dev | connect | console | download-files`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenroom.agents import handover, logs
from greenroom.agents.loading import collected
from greenroom.agents.options import DEFAULT_URL, ServerEnvOption, WorkerOptions
from greenroom.agents.worker import AgentServer
from greenroom.errors import GreenroomError
from greenroom.runtime.tasks import TaskSet

if TYPE_CHECKING:
    import argparse

__all__ = ["run_app", "run_loop", "work"]

log = logging.getLogger("greenroom.agents")

DEV_KEY, DEV_SECRET = "devkey", "secret"
_LAST_GRACE = 2.0


def run_app(server: AgentServer | WorkerOptions, arguments: Sequence[str] | None = None) -> None:
    """Run a worker as the command line says. When its file is only being loaded, nothing is run.

    Args:
        server: the worker, or its options.
        arguments: instead of the command line's.
    """
    worker = server if isinstance(server, AgentServer) else AgentServer(server)
    if collected(worker):
        return
    options = _parser().parse_args(arguments)
    try:
        _COMMANDS[options.command](worker, options)
    except GreenroomError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


async def work(server: AgentServer, *, devmode: bool, drain: bool) -> None:
    """Run a worker until it ends, or SIGINT or SIGTERM comes; a second signal ends the jobs too.

    Args:
        server: the worker.
        devmode: the options' values for development count.
        drain: the first signal lets the jobs finish.
    """
    tasks = TaskSet(log)

    def end() -> None:
        if drain and not server.draining:
            log.info("draining: %d jobs may finish; interrupt again to end them", len(server.active_jobs))
            tasks.spawn(server.drain(), name="draining")
        else:
            tasks.spawn(server.aclose(), name="ending")

    with _signals(end):
        await server.run(devmode=devmode)
        await tasks.close(grace=_LAST_GRACE)


@contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    """Call the handler for SIGINT and SIGTERM as long as the block lasts."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Like `asyncio.run`, but code that does not let itself be cancelled cannot keep the process."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(main)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left and runner.run(_still_running(left)):
            logging.shutdown()
            os._exit(1)


async def _still_running(tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    _, pending = await asyncio.wait(tasks, timeout=_LAST_GRACE)
    return pending


def _start(server: AgentServer, options: argparse.Namespace) -> None:
    _prepare(server, options, devmode=False)
    if options.drain_timeout is not None:
        server.update_options(drain_timeout=options.drain_timeout)
    run_loop(work(server, devmode=False, drain=True))


def _dev(server: AgentServer, options: argparse.Namespace) -> None:
    os.environ.setdefault("LIVEKIT_URL", DEFAULT_URL)
    os.environ.setdefault("LIVEKIT_API_KEY", DEV_KEY)
    os.environ.setdefault("LIVEKIT_API_SECRET", DEV_SECRET)
    _prepare(server, options, devmode=True)
    server._succession = handover.inherited()
    program = _program()
    if server._succession is None and options.reload and program is not None:
        from greenroom.agents.reload import Reloader

        reloader = Reloader([sys.executable, *sys.orig_argv[1:]], program, {}, log.info)
        run_loop(_until_interrupted(reloader.keep_running()))
    else:
        run_loop(work(server, devmode=True, drain=False))


def _program() -> Path | None:
    """The file that this process runs; None where there is none, and so nothing to run anew."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return Path(path) if path else None


async def _until_interrupted(forever: Coroutine[Any, Any, None]) -> None:
    tasks = TaskSet(log)
    running = tasks.spawn(forever, name="runs of the program")
    interrupted = asyncio.Event()
    with _signals(interrupted.set):
        await asyncio.wait(
            [running, tasks.spawn(interrupted.wait(), name="interrupted")], return_when=asyncio.FIRST_COMPLETED
        )
    await tasks.close()


def _connect(server: AgentServer, options: argparse.Namespace) -> None:
    _prepare(server, options, devmode=True)
    run_loop(_run_in_room(server, options.room, options.participant_identity))


async def _run_in_room(server: AgentServer, room: str, identity: str | None) -> None:
    """One job in one room, without registering."""
    ended = asyncio.Event()
    server.on("job_ended", ended.set)

    @server.on("worker_started")
    async def run_job() -> None:
        await server.simulate_job(room, agent_identity=identity)
        if server.active_jobs:
            await ended.wait()
        await server.aclose()

    with _signals(ended.set):
        await server.run(devmode=True, unregistered=True)


def _console(server: AgentServer, options: argparse.Namespace) -> None:
    # The console has a server of its own, and servers are above agents: it is another command.
    os.execv(sys.executable, [sys.executable, "-m", "greenroom", "console", sys.argv[0], *options.rest])


def _download(server: AgentServer, options: argparse.Namespace) -> None:
    sys.stdout.write("nothing to download: greenroom needs no model files\n")


_COMMANDS = {"start": _start, "dev": _dev, "connect": _connect, "console": _console, "download-files": _download}


def _prepare(server: AgentServer, options: argparse.Namespace, *, devmode: bool) -> None:
    level = options.log_level or ServerEnvOption.getvalue(server.options.log_level, devmode)
    (logs.to_terminal if devmode else logs.to_json)(level)
    given = {"ws_url": options.url, "api_key": options.api_key, "api_secret": options.api_secret}
    server.update_options(**{name: value for name, value in given.items() if value})


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(description="Run this agent.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    helps = {
        "start": "production: JSON logs, jobs finish before it ends",
        "dev": "development: readable logs, any load, ends at once",
        "connect": "join one room without waiting for a job",
        "console": "talk to the agent without a server",
        "download-files": "for compatibility: there is nothing to download",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "console":
            command.add_argument(
                "rest", nargs=argparse.REMAINDER, help="--input WAV --output WAV, see `greenroom console`"
            )
        command.add_argument("--log-level", type=str.upper, default=os.environ.get("LIVEKIT_LOG_LEVEL"))
        if name in ("start", "dev", "connect"):
            command.add_argument("--url", help="where the server is (LIVEKIT_URL)")
            command.add_argument("--api-key", help="API key (LIVEKIT_API_KEY)")
            command.add_argument("--api-secret", help="its secret (LIVEKIT_API_SECRET)")
        if name == "start":
            command.add_argument("--drain-timeout", type=float, metavar="SECONDS", help="how long jobs may finish")
        if name == "dev":
            command.add_argument(
                "--reload",
                action=argparse.BooleanOptionalAction,
                default=True,
                help="run it anew when its code is saved; its jobs go on",
            )
        if name == "connect":
            command.add_argument("--room", required=True, help="the room to join")
            command.add_argument("--participant-identity", help="the agent's identity")
    return parser

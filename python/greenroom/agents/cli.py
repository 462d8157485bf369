"""The command line of an agent's own file: `python agent.py start | dev | connect | console | download-files`."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from greenroom.agents.loading import collected, users_traceback
from greenroom.agents.options import DEFAULT_URL, ServerEnvOption, WorkerOptions, log_level_of
from greenroom.agents.worker import AgentServer
from greenroom.errors import ConfigError, GreenroomError
from greenroom.runtime.tasks import TaskSet

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

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
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    options.rest = rest
    if rest and options.command != "console":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if options.command is None:
        parser.print_help()
        return
    try:
        _COMMANDS[options.command](worker, options)
    except GreenroomError as error:
        sys.stderr.write(f"error: {error}\n")
        from greenroom.agents.handover import GAVE_UP

        sys.exit(GAVE_UP if worker._succession is not None else 1)
    except Exception as error:  # noqa: BLE001 - the program's own mistake, shown to who wrote it
        sys.stderr.write(f"{users_traceback(error)}error: the worker failed, see above\n")
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


def run_loop(main: Coroutine[Any, Any, None], *, debug: bool = False) -> None:
    """Like `asyncio.run`, but code that does not let itself be cancelled cannot keep the process."""
    with asyncio.Runner(debug=debug or None) as runner:
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
    if options.simulation:
        server.update_options(load_threshold=math.inf)
    run_loop(work(server, devmode=False, drain=True))


def _dev(server: AgentServer, options: argparse.Namespace) -> None:
    from greenroom.agents.handover import inherited

    os.environ.setdefault("LIVEKIT_URL", DEFAULT_URL)
    os.environ.setdefault("LIVEKIT_API_KEY", DEV_KEY)
    os.environ.setdefault("LIVEKIT_API_SECRET", DEV_SECRET)
    os.environ["LIVEKIT_DEV_MODE"] = "1"
    _prepare(server, options, devmode=True)
    server._succession = inherited()
    program = _program()
    if server._succession is None and options.reload and program is not None:
        from greenroom.agents.reload import Reloader

        reloader = Reloader([sys.executable, *sys.orig_argv[1:]], program, {}, log.info, may_give_up=True)
        run_loop(_until_interrupted(reloader.keep_running()))
        sys.exit(1 if reloader.gave_up.is_set() else 0)
    else:
        run_loop(work(server, devmode=True, drain=False), debug=options.asyncio_debug)


def _program() -> Path | None:
    """The file that this process runs; None where there is none, and so nothing to run anew."""
    from pathlib import Path

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
    if not options.room:
        raise ConfigError("--room must name the room to join")
    server.options.validate_config(True)
    run_loop(_run_in_room(server, options.room, options.participant_identity))


async def _run_in_room(server: AgentServer, room: str, identity: str | None) -> None:
    """One job in one room, without registering.

    Raises:
        SocketRefusedError: there is no server, or it does not know the key.
        ConfigError: the job failed; why has been logged.
    """
    from greenroom.agents.link import WorkerLink

    credentials = server.options.credentials()
    await WorkerLink.check(credentials, server.options.proxy(credentials[0]))
    started, ended = asyncio.Event(), asyncio.Event()
    errors: list[str] = []

    def job_ended(_job_id: str, error: str) -> None:
        errors.append(error)
        ended.set()

    server.once("worker_started", started.set)
    server.on("job_ended", job_ended)
    tasks = TaskSet(log)
    running = tasks.spawn(server.run(devmode=True, unregistered=True), name="worker")
    with _signals(ended.set):
        await asyncio.wait([running, tasks.spawn(started.wait(), name="start")], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await server.simulate_job(room, agent_identity=identity)
            if server.active_jobs:
                await ended.wait()
            await server.aclose()
        await tasks.close(but=[running])
        await running
    if any(errors):
        raise ConfigError("the job failed, see above")


def _console(server: AgentServer, options: argparse.Namespace) -> None:
    # The console has a server of its own, and servers are above agents: it is another command.
    os.environ["LIVEKIT_DEV_MODE"] = "1"
    os.execv(sys.executable, [sys.executable, "-m", "greenroom", "console", sys.argv[0], *options.rest])


def _download(server: AgentServer, options: argparse.Namespace) -> None:
    from greenroom.agents.plugin import Plugin

    sys.stdout.write("greenroom itself needs no model files\n")
    for plugin in Plugin.registered_plugins:
        sys.stdout.write(f"downloading what {plugin.package} needs\n")
        plugin.download_files()


_COMMANDS = {"start": _start, "dev": _dev, "connect": _connect, "console": _console, "download-files": _download}


def _prepare(server: AgentServer, options: argparse.Namespace, *, devmode: bool) -> None:
    from greenroom.agents import logs

    level = options.log_level or ServerEnvOption.getvalue(server.log_level, devmode)
    readable = devmode if options.log_format is None else options.log_format == "colored"
    (logs.to_terminal if readable else logs.to_json)(log_level_of(level))
    if options.url:
        server.update_options(ws_url=options.url)
    if options.api_key:
        server.update_options(api_key=options.api_key)
    if options.api_secret:
        server.update_options(api_secret=options.api_secret)
    own = server.options
    given = {"LIVEKIT_URL": own.ws_url, "LIVEKIT_API_KEY": own.api_key, "LIVEKIT_API_SECRET": own.api_secret}
    # Jobs' own calls of the server's API find it in the environment.
    os.environ.update({name: value for name, value in given.items() if value})


def _parser() -> argparse.ArgumentParser:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            self.exit(2, f"error: {message}; `{self.prog} --help` shows what there is\n")

    parser = Parser(description="Run this agent.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    helps = {
        "start": "production: JSON logs, jobs finish before it ends",
        "dev": "development: readable logs, any load, ends at once",
        "connect": "join one room without waiting for a job",
        "console": "talk to the agent without a server",
        "download-files": "let the program's plugins fetch what they need; greenroom needs nothing",
    }
    for name, text in helps.items():
        # The console's options are those of `greenroom console`, which shows its own help.
        command = commands.add_parser(name, help=text, description=text, add_help=name != "console")
        if name == "console":
            continue
        command.add_argument("--log-level", default=os.environ.get("LIVEKIT_LOG_LEVEL"), help="TRACE to CRITICAL")
        if name in ("start", "dev", "connect"):
            command.add_argument("--url", help="where the server is (LIVEKIT_URL)")
            command.add_argument("--api-key", help="API key (LIVEKIT_API_KEY)")
            command.add_argument("--api-secret", help="its secret (LIVEKIT_API_SECRET)")
            command.add_argument("--log-format", choices=("json", "colored"), help="how log lines look")
        if name == "start":
            command.add_argument("--drain-timeout", type=float, metavar="SECONDS", help="how long jobs may finish")
            command.add_argument("--simulation", action="store_true", help="take jobs at any load")
        if name == "dev":
            command.add_argument(
                "--reload",
                "--watch",
                action=argparse.BooleanOptionalAction,
                default=True,
                help="run it anew when its code is saved; its jobs go on",
            )
            command.add_argument("--asyncio-debug", action="store_true", help="asyncio names what blocks its loop")
        if name == "connect":
            command.add_argument("--room", required=True, help="the room to join")
            command.add_argument("--participant-identity", help="the agent's identity")
    return parser

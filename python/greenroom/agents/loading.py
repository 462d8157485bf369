"""Finding the worker in a program's file, whichever way the file is written."""

from __future__ import annotations

import os
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from greenroom.errors import ConfigError, StateError

if TYPE_CHECKING:
    from pathlib import Path

    from greenroom.agents.worker import AgentServer

__all__ = ["Program", "collected", "load", "preparations", "refuse_while_loading", "users_traceback"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
#: What other processes call before they load the program, as "module:function".
preparations: list[str] = []
#: While a file is loaded: the workers that it wants to run. None = nothing is loaded.
_collecting: list[AgentServer] | None = None


class Program:
    """A loaded file: its path, its worker, and its names."""

    def __init__(self, path: Path, module: types.ModuleType, workers: list[AgentServer]) -> None:
        self.path = path
        self.module = module
        self._workers = workers

    @property
    def server(self) -> AgentServer:
        """The worker that the file runs or defines.

        Raises:
            ConfigError: there is none, or more than one.
        """
        found = self._workers or self._globals()
        if len(found) != 1:
            what = "no worker" if not found else f"{len(found)} workers"
            raise ConfigError(
                f"{self.path} has {what}: end it with `cli.run_app(WorkerOptions(...))`, or define one AgentServer"
            )
        return found[0]

    def _globals(self) -> list[AgentServer]:
        from greenroom.agents.options import WorkerOptions
        from greenroom.agents.worker import AgentServer

        values = list({id(value): value for value in vars(self.module).values()}.values())
        servers = [value for value in values if isinstance(value, AgentServer)]
        return servers or [AgentServer(value) for value in values if isinstance(value, WorkerOptions)]


def load(path: Path, *, guarded: bool = True, as_main: bool = False) -> Program:
    """Run a file so that `cli.run_app` in it only says what it would run.

    The file may call `run_app` under `if __name__ == "__main__":` or without it, or just define an AgentServer.

    Args:
        path: the file.
        guarded: run also what is under `if __name__ == "__main__":`.
        as_main: the file becomes this process's main module, as if Python had been started with it.

    Raises:
        ConfigError: there is no such file, it is not Python, or it imports what is not there.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    module = types.ModuleType("__main__" if guarded else "__mp_main__")
    module.__file__ = str(path)
    if as_main:
        sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with _collect() as workers:
        try:
            exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
        except SyntaxError as error:
            where = f"{error.filename or path}, line {error.lineno}" if error.lineno else str(path)
            raise ConfigError(f"{where}: {error.msg}: {(error.text or '').strip()}".rstrip(": ")) from error
        except ImportError as error:
            advice = "; install it, or correct its name" if isinstance(error, ModuleNotFoundError) else ""
            raise ConfigError(f"{path}, line {_line_in(path, error)}: {error}{advice}") from error
    return Program(path, module, workers)


def _line_in(path: Path, error: BaseException) -> int:
    """The line of a file that an error came through; 0 when it did not."""
    frames = traceback.walk_tb(error.__traceback__)
    return next((line for frame, line in frames if frame.f_code.co_filename == str(path)), 0)


def users_traceback(error: BaseException) -> str:
    """A traceback that begins in the program, after the last frame of this package that called it."""
    begin = trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        if trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            begin = trace.tb_next
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, begin))


def collected(server: AgentServer) -> bool:
    """Whether a file is being loaded, and this worker was noted instead of being run."""
    if _collecting is None:
        return False
    _collecting.append(server)
    return True


def refuse_while_loading() -> None:
    """Called when a worker starts.

    Raises:
        StateError: its file is only being loaded; running it here would start workers without end.
    """
    if _collecting is not None:
        raise StateError(
            "this file runs a worker while it is only being loaded: call `cli.run_app(...)`, or put what starts the "
            'worker under `if __name__ == "__main__":`'
        )


@contextmanager
def _collect() -> Iterator[list[AgentServer]]:
    global _collecting
    before, _collecting = _collecting, []
    try:
        yield _collecting
    finally:
        _collecting = before

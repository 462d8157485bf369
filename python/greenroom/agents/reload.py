"""Runs a program's worker anew when its code is saved, while its jobs go on: the next run takes them over.

The run before stays until the next one has loaded the program, so a mistake in it costs nothing: it is printed, and the
next save is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from greenroom.agents.handover import GAVE_UP, VARIABLE, Channel, Estate
from greenroom.runtime.tasks import TaskSet

__all__ = ["Reloader", "end_process"]

log = logging.getLogger("greenroom.agents")

#: Seconds that a run has to end before it is killed.
END_GRACE = 5.0
#: Seconds in which a run must let its jobs go; one whose event loop stands still does not.
RELEASE_TIMEOUT = 10.0
#: Seconds in which the next run joins the rooms of the jobs that it takes over; then the run before ends what it has.
TAKE_OVER_TIMEOUT = 10.0
#: Seconds that the run before has for the ends of its jobs once they are taken over.
LAST_WORDS = 30.0
#: Milliseconds without a change that end a save of several files, and the longest that such a save may take.
_SAVE_STEP, _SAVE_LONGEST = 50, 400


class Reloader:
    """Runs a command, whose program ends with `cli.run_app`, anew when Python code in the program's folder changes."""

    def __init__(
        self,
        command: Sequence[str],
        program: Path,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
        *,
        may_give_up: bool = False,
    ) -> None:
        """Prepare; nothing is run yet.

        Args:
            command: runs the program's worker for development.
            program: its file; the folder of that is watched, with what is in it.
            environment: added to that of this process.
            tell: gets a line for the developer.
            may_give_up: stop, and set `gave_up`, when the worker of the first run finds that it cannot work: it has
                told why, and what has to be changed may not be in the program.
        """
        self._command = command
        self._folder = program.resolve().parent
        self._environment = environment
        self._tell = tell
        self._may_give_up = may_give_up
        self._tasks = TaskSet(log)
        self._changed = asyncio.Event()
        self._current: _Run | None = None
        self._handing_over: asyncio.Task[None] | None = None
        self._runs = 0
        self.gave_up = asyncio.Event()

    async def keep_running(self) -> None:
        """Run the program, anew whenever it is saved, until cancelled or `gave_up`."""
        self._tasks.spawn(self._watch(), name="watching files")
        try:
            while not self.gave_up.is_set():
                self._changed.clear()
                await self._replace()
                await _first(self._changed.wait(), self.gave_up.wait())
        finally:
            await self._tasks.close()
            if self._current is not None:
                await self._current.end()

    async def _watch(self) -> None:
        from watchfiles import PythonFilter, awatch

        try:
            saves = awatch(self._folder, watch_filter=PythonFilter(), step=_SAVE_STEP, debounce=_SAVE_LONGEST)
            async for changes in saves:
                names = ", ".join(sorted({Path(path).name for _, path in changes}))
                self._tell(f"{names} changed: running it anew")
                self._changed.set()
        except (OSError, RuntimeError) as error:
            self._tell(f"saves in {self._folder} are not noticed: {error}")

    async def _replace(self) -> None:
        """Start a run; when it could work, let it take over. A save meanwhile makes it obsolete."""
        run = await _Run.start(self._command, self._environment)
        try:
            await _first(run.ready.wait(), self._changed.wait())
            if self._handing_over is not None and not self._changed.is_set():
                await asyncio.wait([self._handing_over])
            if self._changed.is_set():
                return
            if run.over.is_set():
                self._tell(self._failure(run))
                return
            before, self._current, self._runs = self._current, run, self._runs + 1
            estate = Estate() if before is None else await before.release()
            run.say("take", estate)
            self._tasks.spawn(self._mourn(run), name="end of a run")
            if before is not None:
                self._handing_over = self._tasks.spawn(self._hand_over(before, run, estate), name="handing over")
        finally:
            if run is not self._current:
                await run.end()

    def _failure(self, run: _Run) -> str:
        what = f"the program did not start (status {run.status}), see above"
        if self._current is None or self._current.over.is_set():
            return f"{what}; it is tried again when it is saved"
        return f"{what}; the run before it goes on until it is saved again"

    async def _mourn(self, run: _Run) -> None:
        """Say that a run has ended although nothing replaces it."""
        await run.over.wait()
        if run is not self._current:
            return
        if run.status == GAVE_UP and self._runs == 1 and self._may_give_up:
            self.gave_up.set()
        else:
            self._tell(f"the worker has ended (status {run.status}); it is run again when its program is saved")

    async def _hand_over(self, before: _Run, run: _Run, estate: Estate) -> None:
        """Let the run before go, job by job, as the next one joins."""
        self._tasks.spawn(before.see_out(), name="last words of a run")
        left = {info.job.id for info in estate.running}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAKE_OVER_TIMEOUT):
                while left:
                    job_id = await run.settled.get()
                    left.discard(job_id)
                    before.say("end", job_id)
        for job_id in left:
            self._tell(f"job {job_id} was not taken over within {TAKE_OVER_TIMEOUT:g} s: what the run before has ends")
            before.say("end", job_id)


class _Run:
    """One run of the program: its process, and the channel to it."""

    def __init__(self, process: Process, channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self._estate: asyncio.Future[Estate] = asyncio.get_running_loop().create_future()
        self._tasks = TaskSet(log)
        self.settled: asyncio.Queue[str] = asyncio.Queue()
        #: Set when it could work, and when it has ended.
        self.ready = asyncio.Event()
        self.over = asyncio.Event()
        self._tasks.spawn(self._listen(), name="a run's messages")

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> _Run:
        """Begin a run, which waits with its work until it is told to take over."""
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            added = {**environment, VARIABLE: str(number)}
            process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **added}, pass_fds=[number], stdin=asyncio.subprocess.DEVNULL
            )
        return cls(process, await Channel.open(ours))

    @property
    def status(self) -> int | None:
        """The exit status once it is over."""
        return self._process.returncode

    def say(self, word: str, content: object = None) -> None:
        """Tell it something."""
        self._channel.say(word, content)

    async def release(self) -> Estate:
        """Have it let go of its jobs, which run on until they are taken over; returns them."""
        self.say("release")
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT):
                return await asyncio.shield(self._estate)
        except TimeoutError:
            log.warning("the run before does not let go of its jobs within %g s and is killed", RELEASE_TIMEOUT)
            await self.end(grace=0)
            return Estate()

    async def see_out(self) -> None:
        """Return when it has ended; it has a while for the last words of its jobs."""
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self.over.wait()
        except TimeoutError:
            log.warning("the run before does not end within %g s and is killed", LAST_WORDS)
        finally:
            await self.end()

    async def end(self, grace: float = END_GRACE) -> None:
        """End it, whatever it does. Idempotent."""
        await end_process(self._process, grace)
        await self._tasks.close(grace=END_GRACE)
        self._channel.close()

    async def _listen(self) -> None:
        while (message := await self._channel.hear()) is not None:
            match message:
                case "ready", _:
                    self.ready.set()
                case "released", estate:
                    if not self._estate.done():
                        self._estate.set_result(estate)
                case "settled", job_id:
                    self.settled.put_nowait(job_id)
        await self._process.wait()
        self.over.set()
        self.ready.set()
        if not self._estate.done():
            self._estate.set_result(Estate())


async def end_process(process: Process, grace: float = END_GRACE) -> None:
    """End a process and wait for that: ask it, and kill it after `grace` seconds."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(grace):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _first(*events: Coroutine[Any, Any, Any]) -> None:
    """Return when one of them has returned; the others are cancelled."""
    tasks = TaskSet(log)
    try:
        await asyncio.wait([tasks.spawn(each, name="event") for each in events], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.close()

"""Background tasks that somebody owns: none is lost, none fails in silence, all end with their owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterator
from typing import Any

__all__ = ["TaskSet"]


class TaskSet:
    """A set of running tasks. A failure is logged once; `close` ends them all."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run the coroutine as a task of this set."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self, *, grace: float = 0.0, but: Collection[asyncio.Task[Any] | None] = ()) -> None:
        """Wait `grace` seconds for the tasks to end by themselves, then cancel the rest and wait for those.

        The calling task and those in `but` are left out, so that a task may close the set it belongs to.
        """
        tasks = self._tasks - {asyncio.current_task(), *but}
        if not tasks:
            return
        if grace > 0:
            _, tasks = await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("%s failed", task.get_name(), exc_info=error)

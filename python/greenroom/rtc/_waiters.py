"""Callers that wait for an outcome, by number: every one gets one, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

__all__ = ["Waiters", "silent_future"]


class Waiters:
    """Futures by key. A key lives as long as its caller waits."""

    def __init__(self) -> None:
        self._keys = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[object]] = {}

    @contextmanager
    def wait(self) -> Iterator[tuple[int, Awaitable[object]]]:
        """A new key, and what to await for its outcome."""
        key = next(self._keys)
        future = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            yield key, future
        finally:
            del self._waiting[key]

    def settle(self, key: int, error: Exception | None, value: object = None) -> None:
        """The outcome for whoever waits under this key; nobody may."""
        future = self._waiting.get(key)
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    def fail_all(self, error: Exception) -> None:
        """The same failure for everybody."""
        for key in list(self._waiting):
            self.settle(key, error)


def silent_future() -> asyncio.Future[None]:
    """A future whose exception need not be looked at."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(_look)
    return future


def _look(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()

"""Small helpers for asyncio, under the names of the official framework's `utils.aio`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol, Self, TypeVar

__all__ = [
    "Chan",
    "ChanClosed",
    "ChanEmpty",
    "ChanFull",
    "ChanReceiver",
    "ChanSender",
    "Interval",
    "cancel_and_wait",
    "gracefully_cancel",
    "interval",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class ChanClosed(Exception):
    """The channel is closed, and nothing is left in it."""


class ChanFull(Exception):
    """There is no room in the channel now."""


class ChanEmpty(Exception):
    """There is nothing in the channel now."""


class ChanSender(Protocol[T_contra]):
    """The end of a channel that is written to."""

    async def send(self, value: T_contra) -> None:
        """Put a value in, once there is room."""

    def send_nowait(self, value: T_contra) -> None:
        """Put a value in, or raise ChanFull."""

    def close(self) -> None:
        """Let nothing more in."""


class ChanReceiver(Protocol[T_co]):
    """The end of a channel that is read from."""

    async def recv(self) -> T_co:
        """The next value, once there is one."""

    def recv_nowait(self) -> T_co:
        """The next value, or ChanEmpty."""

    def close(self) -> None:
        """Let nothing more in."""

    def __aiter__(self) -> AsyncIterator[T_co]:
        """Every value until the channel is closed and empty."""

    async def __anext__(self) -> T_co:
        """The next value."""


class Chan(Generic[T]):
    """A queue that can be closed: what is in it then can still be received, and an `async for` over it ends.

    Args:
        maxsize: so many values fit in; 0 = any number.
        loop: the running one; for compatibility.
    """

    def __init__(self, maxsize: int = 0, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._maxsize = maxsize
        self._loop = loop
        self._values: deque[T] = deque()
        self._closed = False
        self._receivers: deque[asyncio.Future[None]] = deque()
        self._senders: deque[asyncio.Future[None]] = deque()

    async def send(self, value: T) -> None:
        """Put a value in, once there is room.

        Raises:
            ChanClosed: the channel is closed, or was while this waited.
        """
        while self.full() and not self._closed:
            await self._wait(self._senders)
        self.send_nowait(value)

    def send_nowait(self, value: T) -> None:
        """Put a value in.

        Raises:
            ChanClosed: the channel is closed.
            ChanFull: there is no room.
        """
        if self._closed:
            raise ChanClosed
        if self.full():
            raise ChanFull
        self._values.append(value)
        _wake(self._receivers)

    async def recv(self) -> T:
        """The next value, once there is one.

        Raises:
            ChanClosed: the channel is closed and empty.
        """
        while not self._values and not self._closed:
            await self._wait(self._receivers)
        return self.recv_nowait()

    def recv_nowait(self) -> T:
        """The next value.

        Raises:
            ChanClosed: the channel is closed and empty.
            ChanEmpty: there is none yet.
        """
        if not self._values:
            raise ChanClosed if self._closed else ChanEmpty
        value = self._values.popleft()
        _wake(self._senders)
        return value

    def close(self) -> None:
        """Let nothing more in; who waits learns of it. Idempotent."""
        self._closed = True
        for waiting in (*self._senders, *self._receivers):
            if not waiting.done():
                waiting.set_result(None)

    @property
    def closed(self) -> bool:
        """Whether nothing more is let in."""
        return self._closed

    def qsize(self) -> int:
        """How many values are in it."""
        return len(self._values)

    def full(self) -> bool:
        """Whether there is no room."""
        return 0 < self._maxsize <= len(self._values)

    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not self._values

    def __aiter__(self) -> Self:
        """Every value until the channel is closed and empty."""
        return self

    async def __anext__(self) -> T:
        """The next value."""
        try:
            return await self.recv()
        except ChanClosed:
            raise StopAsyncIteration from None

    async def _wait(self, waiters: deque[asyncio.Future[None]]) -> None:
        future: asyncio.Future[None] = (self._loop or asyncio.get_running_loop()).create_future()
        waiters.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                _wake(waiters)  # it was this one's turn, and it does not take it
            raise
        finally:
            if future in waiters:
                waiters.remove(future)


def _wake(waiters: deque[asyncio.Future[None]]) -> None:
    """Let the first who waits go on."""
    while waiters:
        future = waiters.popleft()
        if not future.done():
            future.set_result(None)
            return


async def cancel_and_wait(*futures: asyncio.Future[Any]) -> None:
    """Cancel tasks and return when they have ended, however they did."""
    for future in futures:
        future.cancel()
    if futures:
        await asyncio.wait(futures)


gracefully_cancel = cancel_and_wait


class Interval:
    """Ticks at a steady rate: `async for count in interval(0.5)`, or `await ticks.tick()`.

    A tick that comes late does not put off those after it.

    Args:
        interval: seconds between ticks.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._count = 0
        self._next: float | None = None

    def reset(self) -> None:
        """Count the time from now on."""
        self._next = asyncio.get_running_loop().time() + self._interval

    async def tick(self) -> int:
        """Wait for the next tick; returns how many there were before it."""
        loop = asyncio.get_running_loop()
        if self._next is None:
            self._next = loop.time()
        await asyncio.sleep(max(0.0, self._next - loop.time()))
        self._next += self._interval
        self._count += 1
        return self._count - 1

    def __aiter__(self) -> Self:
        """Ticks without end."""
        return self

    async def __anext__(self) -> int:
        """Like `tick`."""
        return await self.tick()


def interval(interval: float) -> Interval:
    """Ticks that many seconds apart."""
    return Interval(interval)

"""What has arrived of data streams and was not read yet: bounded, whoever sends how much."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable

__all__ = ["Content", "StreamError", "Unread"]


class StreamError(ConnectionError):
    """A stream ended before it was complete. `description` says why."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class Unread:
    """Counts the bytes that wait in a room's streams; beyond `limit` the fullest stream is given up."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._contents: weakref.WeakSet[Content] = weakref.WeakSet()
        self._total = 0

    def add(self, content: Content) -> None:
        """A stream begins."""
        self._contents.add(content)

    def count(self, size: int) -> None:
        """That many bytes arrived, or were taken."""
        self._total += size
        if self._total > self._limit:
            fullest = max(self._contents, key=lambda content: content.size)
            fullest.give_up(f"it was not read: more than {self._limit} bytes waited, {fullest.size} of them here")


class Content:
    """Arrived pieces of one stream, and its end.

    Args:
        unread: where its bytes count.
        on_close: called when it is closed or given up before its end.
    """

    def __init__(self, unread: Unread, on_close: Callable[[], None]) -> None:
        self.size = 0
        self._unread = unread
        self._pieces: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._error = ""
        self._on_close = on_close
        unread.add(self)

    def __del__(self) -> None:
        self._forget()

    def push(self, piece: bytes) -> None:
        """More arrived."""
        self._pieces.append(piece)
        self._arrived.set()
        self._count(len(piece))

    def end(self, error: str) -> None:
        """Nothing more arrives; `error` says why that is too early."""
        self._ended = True
        self._error = error
        self._arrived.set()

    def close(self) -> None:
        """Nobody reads on. Idempotent."""
        self.give_up("")

    def give_up(self, error: str) -> None:
        """Drop what waits, and what will arrive."""
        if not self._ended:
            self._on_close()
        self._forget()
        self.end(error)

    async def next(self) -> bytes | None:
        """The next piece, None at the end.

        Raises:
            StreamError: it ended too early.
        """
        while not self._pieces:
            if self._ended:
                if self._error:
                    raise StreamError(self._error)
                return None
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        self._count(-len(piece))
        return piece

    def _forget(self) -> None:
        self._pieces.clear()
        self._count(-self.size)

    def _count(self, size: int) -> None:
        self.size += size
        self._unread.count(size)

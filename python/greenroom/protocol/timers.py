"""Named deadlines of a machine: the next one, and those that have passed."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Timers"]

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """At most one deadline per key. Times are the machine's own seconds."""

    def __init__(self) -> None:
        self._times: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def set(self, key: K, at: float) -> None:
        """Set or move the deadline of `key`."""
        self._times[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))

    def set_default(self, key: K, at: float) -> None:
        """Set the deadline of `key` unless it has one."""
        if key not in self._times:
            self.set(key, at)

    def cancel(self, key: K) -> None:
        """Forget the deadline of `key`, if it has one."""
        self._times.pop(key, None)
        if len(self._heap) > 64 + 2 * len(self._times):
            self._heap = [entry for entry in self._heap if self._times.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def __contains__(self, key: object) -> bool:
        return key in self._times

    @property
    def deadline(self) -> float | None:
        """The earliest deadline."""
        while self._heap and self._times.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expire(self, now: float) -> list[K]:
        """Take out and return the keys whose deadline has passed, earliest first."""
        expired = []
        while (at := self.deadline) is not None and at <= now:
            key = heapq.heappop(self._heap)[2]
            del self._times[key]
            expired.append(key)
        return expired

    def clear(self) -> list[K]:
        """Take out and return every key."""
        keys = list(self._times)
        self._times.clear()
        self._heap.clear()
        return keys

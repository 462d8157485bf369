"""Notices when code keeps an event loop from running, and says which code. Nothing is ever ended for it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

__all__ = ["Watchdog"]

log = logging.getLogger("greenroom.agents")

_INTERVAL = 0.5
_LATE = 2.0


class Watchdog:
    """Watches the running loop from a thread of its own, until `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._seen = time.monotonic()
        self._closed = threading.Event()
        self._timer = self._loop.call_later(_INTERVAL, self._tick)
        threading.Thread(target=self._watch, name="loop watchdog", daemon=True).start()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._closed.set()
        self._timer.cancel()

    def _tick(self) -> None:
        self._seen = time.monotonic()
        self._timer = self._loop.call_later(_INTERVAL, self._tick)

    def _watch(self) -> None:
        reported = 0.0
        while not self._closed.wait(_INTERVAL):
            seen = self._seen
            late = time.monotonic() - seen - _INTERVAL
            if late > _LATE and seen != reported:
                reported = seen
                frame = sys._current_frames().get(self._thread_id)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                advice = "use `await asyncio.to_thread(...)` for what blocks here"
                log.warning("the event loop has stood still for %.1f s; %s:\n%s", late, advice, stack)

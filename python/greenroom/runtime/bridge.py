"""From the engine's one queue to callbacks on the event loop, routed by handle."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Callable
from types import MethodType

from greenroom._engine import Engine, EngineFailed, Event, Log, parse_event
from greenroom.errors import EngineClosedError, StateError

__all__ = ["Bridge", "abandon_bridge", "bridge_for_loop"]

log = logging.getLogger("greenroom.runtime")
engine_log = logging.getLogger("greenroom.engine")

Handler = Callable[[Event], None]


class Bridge:
    """One engine on one event loop. A handler gets the events of its handle, in order, on the loop."""

    def __init__(self, name: str) -> None:
        self.engine = Engine(name)
        loop = asyncio.get_running_loop()
        # Weak, because the table of bridges is keyed by loop and must let a finished loop go.
        self._loop = weakref.ref(loop)
        self._handlers: dict[int, Handler] = {}
        loop.add_reader(self.engine.fileno(), self._drain)
        self._closed = False
        self._forked = False

    @property
    def closed(self) -> bool:
        """Whether the engine was closed."""
        return self._closed

    def require_open(self) -> None:
        """Raises EngineClosedError when the engine failed, or was made before this process was forked."""
        if self._forked:
            raise EngineClosedError("this was made before the process was forked; make another one in the child")
        if self._closed:
            raise EngineClosedError("the media engine is closed, for it failed or its event loop has ended")

    def attach(self, handle: int, handler: Handler) -> None:
        """Send the events of `handle` to `handler` from now on. A bound method does not keep its object alive."""
        method = weakref.WeakMethod(handler) if isinstance(handler, MethodType) else None
        if method is None:
            self._handlers[handle] = handler
            return

        def deliver(event: Event) -> None:
            if (target := method()) is not None:
                target(event)

        self._handlers[handle] = deliver

    def detach(self, handle: int) -> None:
        """Stop delivering events of `handle`. Unknown handles are ignored."""
        self._handlers.pop(handle, None)

    def close(self) -> None:
        """Close the engine and everything on it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self.engine.fileno())
        self._handlers.clear()
        self.engine.close()

    def abandon(self) -> None:
        """Close the engine from another thread, because the loop hangs and never will: everybody sees it leave."""
        self._closed = True
        self.engine.close()

    def _drain(self) -> None:
        for raw in self.engine.drain():
            event = parse_event(raw)
            if isinstance(event, EngineFailed) and event.handle == 0:
                log.error("media engine failed: %s", event.message)
                for handler in list(self._handlers.values()):
                    self._deliver(handler, event)
                self.close()
                return
            if isinstance(event, Log):
                engine_log.warning("%s", event.line)
                continue
            target = self._handlers.get(event.handle)
            if target is not None:
                self._deliver(target, event)

    def _deliver(self, handler: Handler, event: Event) -> None:
        try:
            handler(event)
        except Exception:
            log.exception("handling %s failed", type(event).__name__)


_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Bridge] = weakref.WeakKeyDictionary()
#: In a forked child: loops of the parent, whose engines have no thread here.
_orphaned: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def _after_fork() -> None:
    for loop, bridge in list(_bridges.items()):
        bridge._forked = True
        _orphaned.add(loop)
        del _bridges[loop]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def abandon_bridge(loop: asyncio.AbstractEventLoop) -> None:
    """Close the client's engine of a loop that hangs, from another thread."""
    bridge = _bridges.get(loop)
    if bridge is not None and not bridge.closed:
        bridge.abandon()


def bridge_for_loop() -> Bridge:
    """The client's engine on the running loop; made at first use and shared by all rooms, sources and streams of it.

    Engines of loops that have been closed meanwhile are closed here.

    Raises:
        EngineClosedError: the loop had an engine already when this process was forked.
        StateError: no event loop runs.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise StateError("no event loop runs here: call it within a coroutine, e.g. under asyncio.run") from None
    if loop in _orphaned:
        raise EngineClosedError(
            "this event loop was used before the process was forked; make a new one (asyncio.run) in the child"
        )
    bridge = _bridges.get(loop)
    if bridge is not None and not bridge.closed:
        return bridge
    for other, old in list(_bridges.items()):
        if other.is_closed():
            del _bridges[other]
            old.close()
    bridge = _bridges[loop] = Bridge("client")
    return bridge

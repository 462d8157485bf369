"""What audio and video sources have in common: their end in the engine, opened late and closed once."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from greenroom import _engine
from greenroom.errors import ConfigError
from greenroom.runtime.bridge import bridge_for_loop

if TYPE_CHECKING:
    from greenroom.runtime.bridge import Bridge

__all__ = ["MediaSource"]


class _Closable(Protocol):
    def close(self) -> None: ...


_Native = TypeVar("_Native", bound=_Closable)


class MediaSource(Generic[_Native]):
    """An end in the engine of the loop that runs when it is made, or else of the first that uses it."""

    def __init__(self) -> None:
        self._opened: tuple[Bridge, _Native] | None = None
        self._closed = False
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._open()

    async def aclose(self) -> None:
        """Stop. Waiting captures return; what is still queued is not played. Idempotent."""
        self._closed = True
        if self._opened is not None:
            self._finalizer()

    def _make(self, bridge: Bridge, handle: int) -> _Native:
        raise NotImplementedError

    def _open(self) -> _Native:
        """The end in the engine.

        Raises:
            EngineClosedError: the engine failed, or was made before this process was forked.
        """
        if self._opened is not None:
            self._opened[0].require_open()
            return self._opened[1]
        bridge, handle = bridge_for_loop(), _engine.new_handle()
        native = self._make(bridge, handle)
        self._opened = (bridge, native)
        self._finalizer = weakref.finalize(self, _close, bridge, handle, native)
        self._finalizer.atexit = False
        return native

    def _open_on(self, bridge: Bridge) -> _Native:
        """The same, for somebody on this engine.

        Raises:
            ConfigError: it belongs to another event loop.
        """
        native = self._open()
        if self._opened is not None and self._opened[0] is not bridge:
            raise ConfigError(f"{self!r} belongs to another event loop; make and use a source on the same one")
        return native


def _close(bridge: Bridge, handle: int, native: _Closable) -> None:
    bridge.detach(handle)
    native.close()

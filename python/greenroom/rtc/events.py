"""Handlers of named events: plain functions run at once, coroutine functions run as tracked tasks."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar, overload

from greenroom import _arguments as check
from greenroom.runtime.tasks import TaskSet

__all__ = ["EventEmitter"]

log = logging.getLogger("greenroom.rtc")

T_contra = TypeVar("T_contra", contravariant=True)
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class EventEmitter(Generic[T_contra]):
    """Calls handlers in the order they were registered.

    A handler may declare fewer parameters than the event has. One that raises is logged and does not stop the others.
    """

    #: What there is to listen to; empty = anything.
    _event_names: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._handlers: dict[Any, dict[Callable[..., Any], _Registration]] = {}
        self._handler_tasks = TaskSet(log)

    def emit(self, event: T_contra, *args: Any) -> None:
        """Call every handler of `event` now; coroutines are started as tasks."""
        for callback, registration in list(self._handlers.get(event, {}).items()):
            if registration.once:
                self.off(event, callback)
            try:
                result = callback(*args[: registration.arity])
            except Exception:
                log.exception("handler %r of event %r failed", callback, event)
                continue
            if inspect.iscoroutine(result):
                self._handler_tasks.spawn(result, name=f"handler of {event}")

    @overload
    def on(self, event: T_contra, callback: None = None) -> Callable[[_Handler], _Handler]: ...
    @overload
    def on(self, event: T_contra, callback: _Handler) -> _Handler: ...
    def on(self, event: T_contra, callback: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Register a handler, sync or async; without `callback` a decorator. Registering twice runs it once."""
        return self._register(event, callback, once=False)

    @overload
    def once(self, event: T_contra, callback: None = None) -> Callable[[_Handler], _Handler]: ...
    @overload
    def once(self, event: T_contra, callback: _Handler) -> _Handler: ...
    def once(self, event: T_contra, callback: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Like `on`, for the next such event only."""
        return self._register(event, callback, once=True)

    def off(self, event: T_contra, callback: Callable[..., Any]) -> None:
        """Remove a handler, also one registered with `once`. An unknown one is ignored."""
        handlers = self._handlers.get(event)
        if handlers is not None:
            handlers.pop(callback, None)
            if not handlers:
                del self._handlers[event]

    def _register(self, event: T_contra, callback: Callable[..., Any] | None, *, once: bool) -> Callable[..., Any]:
        if callback is None:
            return lambda decorated: self._register(event, decorated, once=once)
        check.callback("callback", callback)
        if self._event_names and event not in self._event_names:
            import difflib

            close = " or ".join(difflib.get_close_matches(str(event), self._event_names)) or "its documentation"
            log.warning("%s has no event %r; see %s", type(self).__name__, event, close)
        self._handlers.setdefault(event, {}).setdefault(callback, _Registration(_positional_arity(callback), once))
        return callback


class _Registration:
    __slots__ = ("arity", "once")

    def __init__(self, arity: int | None, once: bool) -> None:
        self.arity = arity
        self.once = once


def _positional_arity(callback: Callable[..., Any]) -> int | None:
    """How many positional arguments the callback takes; None = any number."""
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in positional for parameter in parameters)

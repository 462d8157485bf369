"""Names of a package that are imported when they are used.

What nearly every program needs, a package's `__init__` imports as usual. The rest stands in one block, which type
checkers and readers take for what it looks like:

    with when_used(globals()):
        from greenroom.media.wav import WavReader
"""

from __future__ import annotations

import builtins
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["when_used"]

_one_at_a_time = threading.Lock()


@contextmanager
def when_used(package: dict[str, Any], refusal: Callable[[str], Exception] | None = None) -> Iterator[None]:
    """Note the block's imports instead of running them. `package` is the globals of the `__init__` that it is in.

    Of the forms there are, `from module import name` and `from module import name as other`; from the package itself
    only its modules can be imported. `refusal` makes the error for a name that is in neither; without it, and for names
    like `__path__`, that is the usual AttributeError.
    """

    def note(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if globals is not package:  # what another thread imports meanwhile
            return run(name, globals, locals, fromlist or (), level)
        return _Noted(name)

    with _one_at_a_time:
        run = builtins.__import__
        builtins.__import__ = note
        try:
            yield
        finally:
            builtins.__import__ = run
    wanted = {name: value for name, value in package.items() if isinstance(value, _Source)}
    for name in wanted:
        del package[name]
    here: str = package["__name__"]

    def get(name: str) -> Any:
        try:
            source = wanted[name]
        except KeyError:
            if refusal is not None and not name.startswith("__"):
                raise refusal(name) from None
            raise AttributeError(
                f"module {here!r} has no attribute {name!r}", name=name, obj=sys.modules[here]
            ) from None
        value = package[name] = source.get(here)
        return value

    package["__getattr__"] = get
    package["__dir__"] = lambda: sorted({*package, *wanted})


class _Noted:
    """Stands for a module while the block's imports are noted."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> _Source:
        return _Source(self._module, name)


class _Source:
    """Where a name is to be had."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def get(self, package: str) -> Any:
        if self._module == package:
            return importlib.import_module(f"{package}.{self._name}")
        return getattr(importlib.import_module(self._module), self._name)

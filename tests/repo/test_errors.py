"""The drawing of the exception tree is the tree."""

from __future__ import annotations

import inspect
import re

from greenroom import errors


def drawn() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> (parent, other bases), read from the drawing in the module's docstring."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│ ├└─]*)(\w+Error)(?: \((\w+)\))?", line)
        if match:
            stem, name, other = match.groups()
            depth = len(stem) // 4
            path[depth:] = [name]
            found[name] = (path[depth - 1] if depth else "Exception", (other,) if other else ())
    return found


def test_every_exception_is_drawn_where_it_is():
    actual = {
        name: (cls.__bases__[0].__name__, tuple(base.__name__ for base in cls.__bases__[1:]))
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if cls.__module__ == errors.__name__
    }
    assert drawn() == actual


def test_every_exception_is_public_and_explained():
    for name in drawn():
        assert name in errors.__all__
        assert inspect.getdoc(getattr(errors, name))

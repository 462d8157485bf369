"""The public names, pinned: a change of the API shows in the diff of public_api.txt.

Write the file anew with `python tests/repo/test_public_api.py`.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

SNAPSHOT = Path(__file__).parent / "public_api.txt"
MODULES = (
    "greenroom.errors",
    "greenroom.media",
    "greenroom.rtc",
    "greenroom.server",
    "greenroom.agents",
    "greenroom.testing",
)


def public_lines() -> Iterator[str]:
    """One line per public name and per public member of a public class, with its parameters."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(getattr(module, "__all__", ())):
            thing = getattr(module, name)
            yield f"{module_name}.{name}{_parameters(thing)}"
            if inspect.isclass(thing):
                for member in sorted(vars(thing)):
                    if not member.startswith("_"):
                        yield f"{module_name}.{name}.{member}{_parameters(inspect.getattr_static(thing, member))}"


def _parameters(thing: object) -> str:
    """The names of a callable's parameters, "=" after those with a default; nothing for other things."""
    if isinstance(thing, staticmethod | classmethod):
        thing = thing.__func__
    if not callable(thing) or isinstance(thing, enum.EnumMeta):
        return ""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return ""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    words = [
        f"{stars.get(parameter.kind, '')}{parameter.name}{'' if parameter.default is parameter.empty else '='}"
        for parameter in parameters
    ]
    return f"({', '.join(words)})"


def test_public_names_are_the_pinned_ones():
    now, pinned = set(public_lines()), set(SNAPSHOT.read_text().splitlines())
    assert (sorted(now - pinned), sorted(pinned - now)) == ([], []), f"new, gone; if that is meant: python {__file__}"


def test_public_names_are_listed_once():
    for module_name in MODULES:
        names = list(getattr(importlib.import_module(module_name), "__all__", ()))
        assert len(names) == len(set(names)), module_name


if __name__ == "__main__":
    SNAPSHOT.write_text("".join(f"{line}\n" for line in public_lines()))
    sys.stdout.write(f"wrote {SNAPSHOT}\n")

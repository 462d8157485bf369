"""Judges what programs pass: each function returns the value, or raises an error that names it and what would do."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, TypeVar

from greenroom.errors import ArgumentError, ConfigError

__all__ = [
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "audio_format",
    "callback",
    "flag",
    "given",
    "index",
    "instance",
    "member",
    "number",
    "octets",
    "positive",
    "several",
    "text",
    "texts",
    "texts_by_name",
    "whole",
]

_T = TypeVar("_T")
_Enum = TypeVar("_Enum", bound=IntEnum)
_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Hz that can be resampled, and so sent and received.
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1000, 768_000
#: Characters of a wrong value that are shown.
_SHOWN = 60


def instance(name: str, value: object, kind: type[_T], what: str = "") -> _T:
    """An object of a class."""
    if not isinstance(value, kind):
        raise ArgumentError(f"{name} must be {what or _with_article(kind.__name__)}, not {_shown(value)}")
    return value


def text(name: str, value: object) -> str:
    """A str."""
    return instance(name, value, str)


def flag(name: str, value: object) -> bool:
    """A bool, or a number that stands for one."""
    return bool(instance(name, value, int, "True or False"))


def given(judge: Callable[..., _T], name: str, value: object, *limits: Any) -> _T | None:
    """What `judge` says of a value that may be left out."""
    return None if value is None else judge(name, value, *limits)


def number(name: str, value: object, what: str = "a number") -> float:
    """An int or a float."""
    if not isinstance(value, int | float):
        raise ArgumentError(f"{name} must be {what}, not {_shown(value)}")
    return float(value)


def octets(name: str, value: object, what: str = "bytes, a bytearray or a memoryview") -> bytes:
    """Bytes, from anything that has a buffer."""
    if isinstance(value, bytes):
        return value
    try:
        return bytes(memoryview(value))  # type: ignore[arg-type]
    except (TypeError, BufferError):
        raise ArgumentError(f"{name} must be {what}, not {_shown(value)}") from None


def index(name: str, value: object, what: str = "a whole number") -> int:
    """A whole number."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentError(f"{name} must be {what}, not {_shown(value)}") from None


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number within limits, both included."""
    amount = index(name, value, f"a whole number, {low} to {high}")
    if not low <= amount <= high:
        raise ConfigError(f"{name} must be {low} to {high}, not {amount}")
    return amount


def audio_format(sample_rate: object, num_channels: object) -> tuple[int, int]:
    """Hz, and one channel or two."""
    return (
        whole("sample_rate in Hz", sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
        whole("num_channels", num_channels, 1, 2),
    )


def positive(name: str, value: object) -> float:
    """A number above 0."""
    amount = number(name, value)
    if not 0 < amount < math.inf:
        raise ConfigError(f"{name} must be above 0, not {amount:g}")
    return amount


def member(name: str, value: object, numbers: type[_Enum]) -> _Enum:
    """A member of an enum, or its number."""
    try:
        return numbers(instance(name, value, int, _with_article(numbers.__name__)))
    except ValueError:
        names = ", ".join(f"{each.name} ({each.value})" for each in numbers)
        raise ConfigError(f"{name} must be one of {names}, not {_shown(value)}") from None


def several(name: str, value: object, kind: type[_T]) -> list[_T]:
    """Several objects of a class."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ArgumentError(f"{name} must be a list of {kind.__name__}, not {_shown(value)}")
    return [instance(f"each of {name}", each, kind) for each in value]


def texts(name: str, value: object) -> list[str]:
    """Several str: a single one is a mistake, not its letters."""
    return several(name, value, str)


def texts_by_name(name: str, value: object) -> dict[str, str]:
    """A mapping from str to str."""
    if not isinstance(value, Mapping):
        raise ArgumentError(f"{name} must be a dict of str to str, not {_shown(value)}")
    return {text(f"each key of {name}", key): text(f"{name}[{key!r}]", each) for key, each in value.items()}


def callback(name: str, value: _Function) -> _Function:
    """Something that can be called."""
    if not callable(value):
        raise ArgumentError(f"{name} must be a function, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    if value is None:
        return "None"
    said = repr(value)
    return f"{type(value).__name__} {said if len(said) <= _SHOWN else said[:_SHOWN] + '...'}"


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"

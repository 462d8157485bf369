"""`NamedIntEnum`: an `IntEnum` that also answers what programs ask protobuf enums."""

from __future__ import annotations

from enum import EnumMeta, IntEnum
from typing import TypeVar

__all__ = ["NamedIntEnum"]

_E = TypeVar("_E", bound="NamedIntEnum")


class _NamedIntEnumMeta(EnumMeta):
    @property
    def ValueType(cls: type[_E]) -> type[_E]:  # type: ignore[misc]
        """The type to annotate a value with: the enum itself."""
        return cls


class NamedIntEnum(IntEnum, metaclass=_NamedIntEnumMeta):
    """An `IntEnum` that also answers the questions programs ask protobuf enums: `Name`, `Value`, `items`."""

    @classmethod
    def Name(cls, number: int) -> str:
        """The name of a number. Raises ValueError for an unknown one."""
        return cls(number).name

    @classmethod
    def Value(cls: type[_E], name: str) -> _E:
        """The member of that name. Raises ValueError for an unknown one."""
        try:
            return cls[name]
        except KeyError:
            raise ValueError(f"{cls.__name__} has no member {name!r}; it has {', '.join(cls.keys())}") from None

    @classmethod
    def keys(cls) -> list[str]:
        """All names."""
        return [member.name for member in cls]

    @classmethod
    def values(cls: type[_E]) -> list[_E]:
        """All members."""
        return list(cls)

    @classmethod
    def items(cls: type[_E]) -> list[tuple[str, _E]]:
        """All (name, member) pairs."""
        return [(member.name, member) for member in cls]

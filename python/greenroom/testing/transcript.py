"""What happened to a person in a room, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from greenroom import rtc
from greenroom.rtc.room import EventTypes

__all__ = ["Moment", "Transcript"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One event.

    Attributes:
        at: seconds since the person joined.
        event: its name, as in `room.on`.
        about: identities, track names or values that it was about.
        args: its arguments.
    """

    at: float
    event: str
    about: tuple[str, ...]
    args: tuple[Any, ...] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.at:8.3f}  {self.event}  {' '.join(self.about)}".rstrip()


class Transcript:
    """Every event of a room as moments, oldest first; printed one a line."""

    def __init__(self, room: rtc.Room) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begin = self._clock()
        self._moments: list[Moment] = []
        self._changed = asyncio.Event()
        for event in get_args(EventTypes):
            room.on(event, self._recorder(event))

    def __iter__(self) -> Iterator[Moment]:
        return iter(self._moments)

    def __len__(self) -> int:
        return len(self._moments)

    def __getitem__(self, index: int) -> Moment:
        return self._moments[index]

    def __str__(self) -> str:
        return "\n".join(map(str, self._moments))

    def events(self, *names: str) -> list[str]:
        """The events' names in order; with `names`, only those."""
        return [moment.event for moment in self._moments if not names or moment.event in names]

    async def next(self, event: str, about: str | None, since: int, within: float) -> Moment:
        """The first such event from number `since` on.

        Raises:
            TimeoutError: it did not come within so many seconds.
        """
        async with asyncio.timeout(within):
            while True:
                for moment in self._moments[since:]:
                    if moment.event == event and (about is None or about in moment.about):
                        return moment
                self._changed.clear()
                await self._changed.wait()

    def _recorder(self, event: str) -> Any:
        def record(*args: Any) -> None:
            about = tuple(text for text in map(_text, args) if text)
            self._moments.append(Moment(self._clock() - self._begin, event, about, args))
            self._changed.set()

        return record


def _text(value: Any) -> str:
    match value:
        case rtc.DataPacket():
            return value.data.decode(errors="replace")
        case rtc.Participant():
            return value.identity
        case rtc.TrackPublication() | rtc.Track():
            return value.name
        case list():
            return " ".join(map(_text, value))
        case _:
            return str(getattr(value, "name", value))

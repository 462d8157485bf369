"""Which layers of a published video anybody wants, so that its publisher need not send the others."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Dynacast"]

_NOT_OFF_BEFORE = 10.0


@dataclass(slots=True)
class Dynacast:
    """One video track: more is asked for at once, less only after a delay.

    Attributes:
        delay: seconds that a wish for less must last.
        started: when the track was published; it is not turned off wholly in its first 10 s.
        told: the quality the publisher was told last (None = all off).
        deadline: when a lower wish comes into force; None when nothing is pending.
    """

    delay: float
    started: float
    told: int | None = 2
    deadline: float | None = None

    def update(self, now: float, wanted: int | None) -> bool:
        """Take the highest quality that anybody wants now (None = nothing).

        Returns:
            True when `told` changed and the publisher must be told.
        """
        level, told = _level(wanted), _level(self.told)
        if level == told:
            self.deadline = None
            return False
        if level < told:
            if self.deadline is None:
                earliest = self.started + _NOT_OFF_BEFORE if wanted is None else now
                self.deadline = max(now + self.delay, earliest)
            if now < self.deadline:
                return False
        self.deadline = None
        self.told = wanted
        return True


def _level(quality: int | None) -> int:
    return -1 if quality is None else quality

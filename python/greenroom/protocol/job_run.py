"""The life of one running job: its entrypoint, its room, and the one way in which it ends.

Returning from the entrypoint does not end a job: it lives until its room ends, somebody asks it to end, or the
entrypoint fails. From then on the order is always the same: the entrypoint may finish for a grace period, is cancelled
after it and abandoned if it ignores that; the session's end is handled; the room is left; the shutdown callbacks run,
for a limited time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Abandon",
    "CancelEntrypoint",
    "Ended",
    "JobRun",
    "Leave",
    "Limits",
    "Output",
    "Phase",
    "RunEntrypoint",
    "WarnNotConnected",
    "shorten_error",
]

#: Seconds after which a job that has not joined its room is worth a warning.
CONNECT_WARNING = 10.0
#: Seconds that a cancelled entrypoint has for its `finally` blocks.
CANCEL_GRACE = 2.0
#: Characters of an error that are reported: some from its beginning, more from its end.
_HEAD, _TAIL = 2_000, 8_000


def shorten_error(error: str) -> str:
    """An error's text without its middle where it is very long."""
    if len(error) <= _HEAD + _TAIL:
        return error
    return f"{error[:_HEAD]}\n[... {len(error) - _HEAD - _TAIL} characters ...]\n{error[-_TAIL:]}"


class Phase(enum.Enum):
    """Where a running job is."""

    NEW = "new"
    RUNNING = "running"
    DRAINING = "draining"
    CANCELLING = "cancelling"
    LEAVING = "leaving"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for the steps of a job's end.

    Attributes:
        entrypoint: for the entrypoint, before it is cancelled.
        callbacks: for leaving the room and the shutdown callbacks together.
        session: for the handler of the session's end, where there is one.
    """

    entrypoint: float = 5.0
    callbacks: float = 10.0
    session: float = 0.0

    @property
    def total(self) -> float:
        """How long a job's end takes at most."""
        return self.entrypoint + CANCEL_GRACE + self.session + self.callbacks


@dataclass(frozen=True, slots=True)
class RunEntrypoint:
    """Start the entrypoint."""


@dataclass(frozen=True, slots=True)
class CancelEntrypoint:
    """Cancel the entrypoint."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Report the outcome (`error` is "" when it went well), leave the room, run the shutdown callbacks with `reason`.

    The outcome comes first, because a server takes a job whose agent just leaves for a failed one. The session's end is
    handled after it, and `session_over` says that this is done.
    """

    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """Something does not end although it was cancelled: say where it hangs and go on without it."""

    what: str


@dataclass(frozen=True, slots=True)
class WarnNotConnected:
    """The job has run for a while and its room was not joined."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of the job is left. `error` is "" when it went well."""

    error: str
    reason: str


Output: TypeAlias = RunEntrypoint | CancelEntrypoint | Leave | Abandon | WarnNotConnected | Ended


class JobRun:
    """One job where it runs."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._phase = Phase.NEW
        self._reason = ""
        self._error = ""
        self._entrypoint_done = False
        self._connected = False
        self._deadline: float | None = None

    @property
    def phase(self) -> Phase:
        """Where the job is."""
        return self._phase

    @property
    def deadline(self) -> float | None:
        """When the machine wants a `tick`."""
        return self._deadline

    def start(self, now: float) -> list[Output]:
        """Begin. Only the first call counts."""
        if self._phase is not Phase.NEW:
            return []
        self._phase = Phase.RUNNING
        self._deadline = now + CONNECT_WARNING
        return [RunEntrypoint()]

    def connected(self) -> None:
        """The room was joined."""
        self._connected = True
        if self._phase is Phase.RUNNING:
            self._deadline = None

    def returned(self, now: float) -> list[Output]:
        """The entrypoint has returned, or was cancelled as we asked."""
        self._entrypoint_done = True
        return list(self._leave(now)) if self._phase in (Phase.DRAINING, Phase.CANCELLING) else []

    def failed(self, now: float, error: str) -> list[Output]:
        """The entrypoint raised; `error` is what to report."""
        self._error = self._error or error
        self._entrypoint_done = True
        return self.shutdown(now, "job crashed") + (
            list(self._leave(now)) if self._phase in (Phase.DRAINING, Phase.CANCELLING) else []
        )

    def room_ended(self, now: float, reason: str) -> list[Output]:
        """The room is over, by whatever cause."""
        return self.shutdown(now, reason)

    def shutdown(self, now: float, reason: str) -> list[Output]:
        """End the job. Only the first call counts."""
        if self._phase is Phase.NEW:
            self._phase, self._reason = Phase.ENDED, reason
            return [Ended(self._error, reason)]
        if self._phase is not Phase.RUNNING:
            return []
        self._phase, self._reason = Phase.DRAINING, reason
        self._deadline = now + self._limits.entrypoint
        return list(self._leave(now)) if self._entrypoint_done else []

    def session_over(self, now: float) -> None:
        """The session's end was handled, or took too long; leaving and the callbacks follow."""
        if self._phase is Phase.LEAVING:
            self._deadline = now + self._limits.callbacks

    def left(self) -> list[Output]:
        """The room was left and the callbacks have run."""
        return self._end() if self._phase is Phase.LEAVING else []

    def tick(self, now: float) -> list[Output]:
        """The deadline may have passed."""
        if self._deadline is None or now < self._deadline:
            return []
        self._deadline = None
        match self._phase:
            case Phase.RUNNING:
                return [] if self._connected else [WarnNotConnected()]
            case Phase.DRAINING:
                self._phase, self._deadline = Phase.CANCELLING, now + CANCEL_GRACE
                return [CancelEntrypoint()]
            case Phase.CANCELLING:
                self._error = self._error or "the entrypoint ignored its cancellation"
                return [Abandon("entrypoint"), *self._leave(now)]
            case Phase.LEAVING:
                self._error = self._error or "the shutdown callbacks did not end in time"
                return [Abandon("shutdown callbacks"), *self._end()]
            case _:
                return []

    def _leave(self, now: float) -> Iterator[Output]:
        self._phase, self._deadline = Phase.LEAVING, now + self._limits.session + self._limits.callbacks
        yield Leave(self._reason, self._error)

    def _end(self) -> list[Output]:
        self._phase, self._deadline = Phase.ENDED, None
        return [Ended(self._error, self._reason)]

"""When and how to try again after the connection is lost."""

from __future__ import annotations

from dataclasses import dataclass

from greenroom.protocol.client_io import Reconnect

__all__ = ["ReconnectPolicy", "Retries"]


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How often and how long to try. The waits double from `first_delay` to `longest_delay`."""

    attempts: int = 10
    first_delay: float = 0.3
    longest_delay: float = 7.0
    attempt_timeout: float = 15.0


class Retries:
    """The attempts after one loss: the first at once, resuming; joining anew once resuming was refused."""

    def __init__(self, policy: ReconnectPolicy, reason: str, *, resume: bool) -> None:
        self._policy = policy
        self._reason = reason
        self._resume = resume
        self._made = 0

    @property
    def resuming(self) -> bool:
        """Whether the attempts still try to resume."""
        return self._resume

    def next(self, jitter: float) -> Reconnect | None:
        """The next attempt, or None when there have been enough. `jitter` (0 to 1) spreads the waits."""
        if self._made >= self._policy.attempts:
            return None
        delay = 0.0
        if self._made:
            longest = min(self._policy.first_delay * 2 ** (self._made - 1), self._policy.longest_delay)
            delay = longest * (0.5 + jitter / 2)
        self._made += 1
        return Reconnect(self._resume, delay, self._reason)

    def escalate(self) -> None:
        """The session cannot be resumed: join anew from now on."""
        self._resume = False

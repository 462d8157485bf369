"""When and how to try again after the connection is lost, and what waits meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from greenroom.protocol.client_io import Reconnect
from greenroom.wire import messages as m

__all__ = ["ReconnectPolicy", "Recovery"]

#: What is sent at once while a session is being resumed; the rest waits.
_URGENT = ("sync_state", "trickle", "offer", "answer", "simulate", "leave", "ping_req")


class ReconnectPolicy(NamedTuple):
    """How often and how long to try. The waits double from `first_delay` to `longest_delay`."""

    attempts: int = 10
    first_delay: float = 0.3
    longest_delay: float = 7.0
    attempt_timeout: float = 15.0


class Recovery:
    """The attempts after a loss: the first at once, resuming; joining anew once resuming was refused.

    Args:
        random: gives numbers from 0 to 1, to spread the waits.
    """

    def __init__(self, policy: ReconnectPolicy, random: Callable[[], float]) -> None:
        self.policy = policy
        self._random = random
        self._resume = False
        self._made = 0
        self._holding = False
        self._held: list[m.SignalRequest] = []
        self._ice_offer = 0
        self.ice_restarted = False

    def begin(self, *, resume: bool) -> None:
        """The connection was just lost."""
        self._resume = resume
        self._made = 0

    def escalate(self) -> None:
        """The session cannot be resumed: join anew from now on."""
        self._resume = False

    def next(self, reason: str) -> Reconnect | None:
        """The next attempt, or None when there have been enough."""
        if self._made >= self.policy.attempts:
            return None
        delay = 0.0
        if self._made:
            longest = min(self.policy.first_delay * 2 ** (self._made - 1), self.policy.longest_delay)
            delay = longest * (0.5 + self._random() / 2)
        self._made += 1
        self._holding = True
        self.ice_restarted = False
        return Reconnect(self._resume, delay, reason)

    def holds(self, message: m.SignalRequest) -> bool:
        """Keep a message for later, if it must wait."""
        if not self._holding or message.WhichOneof("message") in _URGENT:
            return False
        self._held.append(message)
        return True

    def forget_held(self) -> None:
        """What waits is about a session that no longer exists."""
        self._held.clear()

    def stop_holding(self) -> None:
        """There is a session to send to: new messages go out at once."""
        self._holding = False

    def release(self) -> list[m.SignalRequest]:
        """Everything that waited."""
        self._holding = False
        held, self._held = self._held, []
        return held

    def offered(self, offer_id: int) -> None:
        """An offer was made while recovering: its answer completes the restart of the media connection."""
        self._ice_offer = offer_id

    def negotiated(self, offer_id: int) -> None:
        """An answer was applied while recovering."""
        if offer_id == self._ice_offer:
            self.ice_restarted = True

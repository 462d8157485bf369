"""Pings to the server, and the judgement that it is gone."""

from __future__ import annotations

from collections.abc import Iterator

from greenroom.protocol.client_io import Output, Send
from greenroom.wire import messages as m

__all__ = ["Keepalive"]


class Keepalive:
    """Pings every `interval` seconds; the server counts as gone after `timeout` seconds without any message.

    Attributes:
        rtt: the last round trip in seconds, 0 before the first.
    """

    def __init__(self, now: float, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._next_ping = now
        self._last_heard = now
        self._sent: dict[int, float] = {}
        self.rtt = 0.0

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do. None = the server wants no pings."""
        if not self._interval or not self._timeout:
            return None
        return min(self._next_ping, self._last_heard + self._timeout)

    def heard(self, now: float) -> None:
        """A message of any kind arrived."""
        self._last_heard = now

    def pong(self, now: float, pong: m.Pong) -> None:
        """The server answered a ping."""
        sent = self._sent.pop(pong.last_ping_timestamp, None)
        if sent is not None:
            self.rtt = now - sent

    def dead(self, now: float) -> bool:
        """Whether the server has been silent for too long."""
        return bool(self._interval and self._timeout) and now >= self._last_heard + self._timeout

    def tick(self, now: float) -> Iterator[Output]:
        """Ping when it is time."""
        if not self._interval or now < self._next_ping:
            return
        self._next_ping = now + self._interval
        stamp = int(now * 1000)
        self._sent = {stamp: now}
        yield Send(m.SignalRequest(ping_req=m.Ping(timestamp=stamp, rtt=int(self.rtt * 1000))))

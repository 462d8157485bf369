"""Connection quality: a score per participant from round trip, loss and jitter."""

from __future__ import annotations

from dataclasses import dataclass

from greenroom.wire import messages as m

__all__ = ["QualityScore", "window_score"]

_FLOOR = 30.0
_LOSS_WEIGHT = 8 / 1.5


def window_score(rtt: float, loss: float, jitter: float) -> float:
    """The score 0..100 of one window.

    Args:
        rtt: seconds.
        loss: 0..1.
        jitter: seconds.
    """
    delay = (rtt / 2 + 2 * jitter) * 1000
    delay_effect = (delay - 120) / 10 if delay > 160 else delay / 40
    return max(0.0, 100 - delay_effect - loss * 100 * _LOSS_WEIGHT)


@dataclass(slots=True)
class QualityScore:
    """The smoothed score of one participant: it falls faster than it recovers."""

    score: float = 100.0
    lost: bool = False
    told: m.ConnectionQuality | None = None

    def update(self, window: float) -> None:
        """Take the score of one more window."""
        factor = 0.4 if window > self.score else 0.8
        self.score = max(_FLOOR, self.score + factor * (window - self.score))

    @property
    def quality(self) -> m.ConnectionQuality:
        """The score as one of four words."""
        if self.lost:
            return m.ConnectionQuality.LOST
        if self.score > 80:
            return m.ConnectionQuality.EXCELLENT
        return m.ConnectionQuality.GOOD if self.score > 40 else m.ConnectionQuality.POOR

    def info(self, participant_sid: str) -> m.ConnectionQualityInfo:
        """The score as clients are told it, a mean opinion score 1..4.5."""
        return m.ConnectionQualityInfo(
            participant_sid=participant_sid, quality=self.quality, score=round(1 + self.score / 100 * 3.5, 2)
        )

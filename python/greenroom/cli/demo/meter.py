"""What the transport counted of a track between two moments."""

from __future__ import annotations

import time
from dataclasses import dataclass

from greenroom import rtc
from greenroom.errors import StateError

__all__ = ["Reading", "read"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of a received track at a moment of the monotonic clock."""

    at: float = 0.0
    octets: int = 0
    packets: int = 0
    lost: int = 0

    def bitrate_since(self, earlier: Reading) -> float:
        """bit/s received since then."""
        seconds = self.at - earlier.at
        return 8 * (self.octets - earlier.octets) / seconds if seconds > 0 else 0.0

    def loss_since(self, earlier: Reading) -> float:
        """Share of the packets sent since then that never came, 0..1."""
        lost = max(0, self.lost - earlier.lost)
        sent = lost + self.packets - earlier.packets
        return lost / sent if sent > 0 else 0.0


async def read(track: rtc.Track | None) -> Reading:
    """The counters now; all zero when the track is gone."""
    try:
        reports = await track.get_stats() if track is not None else []
    except StateError:
        reports = []
    values = next((report.values for report in reports if report.type == "inbound_rtp"), {})
    return Reading(
        at=time.monotonic(),
        octets=int(values.get("bytes", 0)),
        packets=int(values.get("packets", 0)),
        lost=int(values.get("lost", 0)),
    )

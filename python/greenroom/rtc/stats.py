"""Figures of tracks and connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from greenroom.rtc.enums import TrackKind

__all__ = ["MediaStats"]


@dataclass(frozen=True, slots=True)
class MediaStats:
    """One set of figures.

    Attributes:
        type: "outbound_rtp" (what a local track sends), "inbound_rtp" (what a remote track receives) or "transport".
        id: the track's sid, or the connection's name.
        kind: audio or video, unknown for a connection.
        values: the figures by name: bytes, packets, losses, frames; times in seconds, rates per second.
    """

    type: str
    id: str
    kind: TrackKind = TrackKind.KIND_UNKNOWN
    values: Mapping[str, int | float | str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> int | float | str:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(f"{self.type} has no figure {name!r}; it has {', '.join(self.values)}") from None

    @classmethod
    def of_sender(cls, sid: str, kind: TrackKind, values: Mapping[str, int | float | str]) -> MediaStats:
        """What a local track sends."""
        return cls("outbound_rtp", sid, kind, values)

    @classmethod
    def of_receiver(cls, sid: str, kind: TrackKind, values: Mapping[str, int | float | str]) -> MediaStats:
        """What a remote track receives."""
        return cls("inbound_rtp", sid, kind, values)

    @classmethod
    def of_transport(cls, name: str, values: Mapping[str, int | float | str]) -> MediaStats:
        """A connection."""
        return cls("transport", name, TrackKind.KIND_UNKNOWN, values)

"""Who speaks in a room: from the engine's levels per track to the changes that each participant is told."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["Speakers"]


class Speakers:
    """Levels per participant. Only changes come out, and whoever stops is reported once with level 0."""

    def __init__(self) -> None:
        self._tracks: dict[str, dict[str, float]] = {}

    def update(self, changes: Iterable[tuple[str, str, float, bool]]) -> list[tuple[str, float, bool]]:
        """Take (participant sid, track sid, level 0..1, active).

        Returns:
            (participant sid, level, active) for each participant whose level changed, loudest first.
        """
        before: dict[str, float] = {}
        for participant, track, level, active in changes:
            before.setdefault(participant, self.level(participant))
            tracks = self._tracks.setdefault(participant, {})
            if active:
                tracks[track] = math.ceil(level * 8) / 8
            else:
                tracks.pop(track, None)
            if not tracks:
                del self._tracks[participant]
        changed = [(each, self.level(each)) for each, level in before.items() if self.level(each) != level]
        changed.sort(key=lambda each: -each[1])
        return [(participant, level, level > 0) for participant, level in changed]

    def level(self, participant: str) -> float:
        """The level of a participant, 0 when it does not speak."""
        return max(self._tracks.get(participant, {}).values(), default=0.0)

    def remove_track(self, participant: str, track: str) -> list[tuple[str, float, bool]]:
        """Forget a track that is gone; returns what changed, as `update`."""
        if track not in self._tracks.get(participant, {}):
            return []
        return self.update([(participant, track, 0.0, False)])

    def remove(self, participant: str) -> None:
        """Forget a participant that left."""
        self._tracks.pop(participant, None)

"""Ears and eyes: what a person in a room has heard and seen lately, track by track."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from typing import TYPE_CHECKING

from greenroom import rtc
from greenroom.runtime.tasks import TaskSet
from greenroom.testing.signals import Silence, Tone

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RATE", "Ear", "Eye", "Senses"]

log = logging.getLogger("greenroom.testing")

#: Hz of what is heard.
RATE = 16_000
FRAME_MS = 20
_REMEMBERED_FRAMES = 30_000 // FRAME_MS
_REMEMBERED_PICTURES = 600


class Ear:
    """The last 30 s of one audio track."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.heard = 0
        self._frames: deque[NDArray[np.int16]] = deque(maxlen=_REMEMBERED_FRAMES)

    def take(self, samples: NDArray[np.int16]) -> None:
        """Remember one frame of 20 ms."""
        self._frames.append(samples)
        self.heard += 1

    def sounds_like(self, sound: Tone | Silence, start: int, count: int) -> bool:
        """Whether `count` frames from number `start` on, as far as they are remembered, sound like this."""
        return sound.is_in(self._samples(start, count), RATE)

    def describe(self, count: int) -> str:
        """In words, what the last `count` frames sounded like."""
        import numpy as np

        samples = self._samples(self.heard - count, count)
        if not len(samples) or Silence().is_in(samples, RATE):
            return "silence" if len(samples) else "nothing"
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        loudest = float(np.argmax(spectrum)) * RATE / len(samples)
        return f"mostly {loudest:.0f} Hz at {np.abs(samples.astype(np.int32)).max() / 32767:.2f}"

    def _samples(self, start: int, count: int) -> NDArray[np.int16]:
        import numpy as np

        first = max(0, start - (self.heard - len(self._frames)))
        frames = list(itertools.islice(self._frames, first, first + count))
        return np.concatenate(frames) if frames else np.zeros(0, np.int16)


class Eye:
    """The colours that one video track lately had in its middle."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.seen = 0
        self._colours: deque[tuple[int, int, int]] = deque(maxlen=_REMEMBERED_PICTURES)

    def take(self, colour: tuple[int, int, int]) -> None:
        """Remember one picture."""
        self._colours.append(colour)
        self.seen += 1

    def colours_from(self, index: int) -> list[tuple[int, int, int]]:
        """The colours from picture `index` on that are still remembered."""
        first = self.seen - len(self._colours)
        return list(self._colours)[max(0, index - first) :]


class Senses:
    """Takes in every track that a room subscribes to. `changed` is set with every frame."""

    def __init__(self, room: rtc.Room) -> None:
        self.ears: dict[str, Ear] = {}
        self.eyes: dict[str, Eye] = {}
        self.changed = asyncio.Event()
        self._tasks = TaskSet(log)
        self._room = room
        room.on("track_subscribed", self._on_track)

    async def close(self) -> None:
        """Stop taking in."""
        self._room.off("track_subscribed", self._on_track)
        await self._tasks.close()

    def _on_track(
        self, track: rtc.RemoteTrack, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if isinstance(track, rtc.RemoteAudioTrack):
            ear = self.ears.setdefault(track.sid, Ear(participant.identity))
            self._tasks.spawn(self._listen(track, ear), name=f"ear for {participant.identity}")
        elif isinstance(track, rtc.RemoteVideoTrack):
            eye = self.eyes.setdefault(track.sid, Eye(participant.identity))
            self._tasks.spawn(self._look(track, eye), name=f"eye for {participant.identity}")

    async def _listen(self, track: rtc.RemoteAudioTrack, ear: Ear) -> None:
        import numpy as np

        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=FRAME_MS)
        try:
            async for event in stream:
                ear.take(np.frombuffer(event.frame.data, np.int16))
                self.changed.set()
        finally:
            await stream.aclose()

    async def _look(self, track: rtc.RemoteVideoTrack, eye: Eye) -> None:
        stream = rtc.VideoStream(track, format=rtc.VideoBufferType.RGBA, capacity=1)
        try:
            async for event in stream:
                eye.take(_middle(event.frame))
                self.changed.set()
        finally:
            await stream.aclose()


def _middle(frame: rtc.VideoFrame) -> tuple[int, int, int]:
    """The mean colour of the picture's inner quarter."""
    import numpy as np

    grid = np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 4)
    height, width = frame.height, frame.width
    inner = grid[height * 3 // 8 : height * 5 // 8 + 1, width * 3 // 8 : width * 5 // 8 + 1, :3]
    red, green, blue = inner.reshape(-1, 3).mean(axis=0)
    return round(float(red)), round(float(green)), round(float(blue))

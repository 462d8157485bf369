"""A stage, what is played and shown on it, and instruments that judge what arrives."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from greenroom import rtc, testing

KINDS = {"audio": rtc.TrackKind.KIND_AUDIO, "video": rtc.TrackKind.KIND_VIDEO}
#: Milliseconds of an instrument's window.
WINDOW_MS = 10


class Recorder:
    """Everything that an audio track plays from now on."""

    def __init__(self, track: rtc.RemoteTrack, rate: int = 48_000, channels: int = 1, frame_ms: int = 10) -> None:
        self.rate, self.channels = rate, channels
        self.stream = rtc.AudioStream(track, sample_rate=rate, num_channels=channels, frame_size_ms=frame_ms)
        self.frames: list[rtc.AudioFrame] = []
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._record())

    async def _record(self) -> None:
        async for event in self.stream:
            self.frames.append(event.frame)
            self._changed.set()
        self._changed.set()

    @property
    def seconds(self) -> float:
        """Recorded so far."""
        return sum(frame.samples_per_channel for frame in self.frames) / self.rate

    async def until(self, seconds: float, within: float = 30.0) -> None:
        """Record up to so many seconds altogether."""
        async with asyncio.timeout(within):
            while self.seconds < seconds:
                self._changed.clear()
                await self._changed.wait()

    async def more(self, seconds: float) -> None:
        """Record so many seconds more."""
        await self.until(self.seconds + seconds, within=seconds * 3 + 20)

    async def hear(self, level: float = 0.05, within: float = 20.0) -> float:
        """Record until something louder than `level` of full scale comes; the second at which it begins."""
        place = 0
        async with asyncio.timeout(within):
            while True:
                for index in range(place, len(self.frames)):
                    if np.abs(self._array(self.frames[index]).astype(np.int32)).max() > level * 32767:
                        return sum(frame.samples_per_channel for frame in self.frames[:index]) / self.rate
                place = len(self.frames)
                self._changed.clear()
                await self._changed.wait()

    def samples(self, start: float = 0.0, stop: float | None = None) -> np.ndarray:
        """float64 of shape (n, channels), +-1, from second to second."""
        if not self.frames:
            return np.zeros((0, self.channels))
        pcm = np.concatenate([self._array(frame) for frame in self.frames]) / 32768
        return pcm[round(start * self.rate) : None if stop is None else round(stop * self.rate)]

    async def close(self) -> None:
        await self.stream.aclose()
        await self._task

    def _array(self, frame: rtc.AudioFrame) -> np.ndarray:
        return np.frombuffer(frame.data, np.int16).reshape(-1, self.channels)


class Speaker:
    """A published source with enough queue that this process' delays are not heard."""

    def __init__(self, rate: int = 48_000, channels: int = 1, queue_ms: int = 1000) -> None:
        self.rate, self.channels = rate, channels
        self.source = rtc.AudioSource(rate, channels, queue_size_ms=queue_ms)
        self.track = rtc.LocalAudioTrack.create_audio_track("speaker", self.source)
        self.played = 0

    async def publish(self, person: testing.Person, **options: object) -> rtc.LocalTrackPublication:
        options.setdefault("source", rtc.TrackSource.SOURCE_MICROPHONE)
        return await person.room.local_participant.publish_track(self.track, rtc.TrackPublishOptions(**options))

    async def play(self, wave: np.ndarray) -> None:
        """Capture samples, +-1, of shape (n,) or (n, channels)."""
        pcm = (wave * 32767).astype(np.int16)
        if pcm.ndim == 1:
            pcm = np.repeat(pcm[:, None], self.channels, axis=1)
        await self.source.capture_frame(rtc.AudioFrame(pcm.tobytes(), self.rate, self.channels, len(pcm)))
        self.played += len(pcm)

    def sine(self, seconds: float, frequency: float, level: float = 0.25, start: int | None = None) -> np.ndarray:
        """The next piece of an endless sine."""
        first = self.played if start is None else start
        time = (first + np.arange(round(seconds * self.rate))) / self.rate
        return level * np.sin(2 * np.pi * frequency * time)

    @contextlib.asynccontextmanager
    async def sounding(self, frequency: float = 440.0, right: float | None = None) -> AsyncIterator[None]:
        """A sine, and in stereo another one at the right, for as long as the block lasts."""

        async def run() -> None:
            while True:
                wave = self.sine(0.1, frequency)
                if self.channels == 2:
                    wave = np.stack([wave, self.sine(0.1, right or frequency)], axis=1)
                await self.play(wave)

        task = asyncio.create_task(run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.source.clear_queue()


async def arrival(person: testing.Person, kind: str = "audio", of: str | None = None) -> rtc.RemoteTrack:
    """The first track of this kind that is or becomes subscribed."""
    for participant in person.room.remote_participants.values():
        for publication in participant.track_publications.values():
            if publication.track is not None and publication.kind is KINDS[kind] and of in (None, participant.identity):
                return publication.track
    found = await person.room.wait_for(
        "track_subscribed",
        lambda track, _, who: track.kind is KINDS[kind] and of in (None, who.identity),
        timeout=20,
    )
    return found[0]


def strength(wave: np.ndarray, rate: int, frequency: float) -> tuple[float, float]:
    """The amplitude of the sine of this frequency in a wave of shape (n,), and the RMS of all the rest."""
    time = np.arange(len(wave)) / rate
    basis = np.stack([np.sin(2 * np.pi * frequency * time), np.cos(2 * np.pi * frequency * time)], axis=1)
    weights, *_ = np.linalg.lstsq(basis, wave, rcond=None)
    rest = wave - basis @ weights
    return float(np.hypot(*weights)), float(np.sqrt(np.mean(rest**2)))


def windows(wave: np.ndarray, rate: int, milliseconds: int = WINDOW_MS) -> np.ndarray:
    """Shape (windows, samples of a window)."""
    size = rate * milliseconds // 1000
    return wave[: len(wave) // size * size].reshape(-1, size)


def impurity(wave: np.ndarray, rate: int, frequency: float) -> np.ndarray:
    """Per 10 ms: what is not the sine as a share of it, both as RMS. A click or a gap shows as 0.3 and more."""
    shares = []
    for window in windows(wave, rate):
        amplitude, rest = strength(window, rate, frequency)
        shares.append(rest / max(amplitude / np.sqrt(2), 1e-6))
    return np.array(shares)


def gaps(wave: np.ndarray, rate: int, level: float) -> list[tuple[float, float]]:
    """(start, length) in seconds of every stretch of 5 ms windows whose RMS is below `level`."""
    quiet = np.sqrt(np.mean(windows(wave, rate, 5) ** 2, axis=1)) < level
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    return [(start * 0.005, (stop - start) * 0.005) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def heard(wave: np.ndarray, rate: int, frequency: float, level: float = 0.1) -> list[tuple[float, float]]:
    """(start, stop) in seconds of every stretch of 5 ms windows that have this tone."""
    has = np.array([strength(window, rate, frequency)[0] > level for window in windows(wave, rate, 5)], int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], has, [0]])))
    return [(start * 0.005, stop * 0.005) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


async def path_delay(speaker: Speaker, recorder: Recorder, count: int = 3) -> float:
    """Seconds of the recording from capturing a beep to hearing it: the median of some."""
    delays = []
    for _ in range(count):
        await speaker.source.wait_for_playout()
        await recorder.more(0.25)
        start = recorder.seconds
        await speaker.play(np.concatenate([speaker.sine(0.1, 1000, 0.5), np.zeros(speaker.rate // 10)]))
        await recorder.more(0.45)
        beeps = heard(recorder.samples(start)[:, 0], recorder.rate, 1000)
        assert beeps, "the beep did not come within 0.45 s"
        delays.append(beeps[0][0])
    return float(np.median(delays))


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """Run before other processes where that is allowed: what is judged is this program and not the machine's load."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


@pytest.fixture
async def stage() -> AsyncIterator[testing.Stage]:
    async with testing.server() as running:
        yield running

"""The three of the demo: a speaker, a mirror that changes what it receives, and a recorder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from greenroom import rtc
from greenroom.cli.demo import scene
from greenroom.cli.demo.files import Film
from greenroom.cli.demo.meter import Reading, read
from greenroom.cli.demo.speech import Echo

__all__ = ["Ear", "Eye", "Mirror", "Recorder", "Speaker"]

#: The sample rate in Hz at which the mirror and the recorder listen.
RATE = 48000


class Speaker:
    """Publishes a voice and a moving picture, and remembers what it said and when it showed which picture."""

    def __init__(self, voice: NDArray[np.int16], sample_rate: int) -> None:
        self._voice = voice
        self.sample_rate = sample_rate
        self.began = 0.0
        self.said = 0
        #: When each picture was shown, by its number.
        self.shown: dict[int, float] = {}
        self._sound = rtc.AudioSource(sample_rate, 1, queue_size_ms=50)
        self._picture = rtc.VideoSource(scene.WIDTH, scene.HEIGHT)

    async def publish(self, room: rtc.Room) -> None:
        """Publish both tracks; nothing is said yet."""
        await _publish(room, "voice", self._sound, rtc.VideoCodec.VP8)
        await _publish(room, "picture", self._picture, rtc.VideoCodec.VP8)

    async def speak(self) -> None:
        """Say the words over and over until cancelled."""
        size = self.sample_rate // 50
        self.began = time.monotonic()
        while True:
            chunk = np.take(self._voice, range(self.said, self.said + size), mode="wrap")
            await self._sound.capture_frame(rtc.AudioFrame(chunk.tobytes(), self.sample_rate, 1, size))
            self.said += size

    async def show(self) -> None:
        """Show picture after picture until cancelled."""
        start = time.monotonic()
        number = 0
        while True:
            picture = scene.paint(number)
            self.shown[number & 0xFFF] = time.monotonic()
            self._picture.capture_frame(_rgba(picture))
            # A machine that is too slow leaves pictures out, so that the clock stays right.
            number = max(number + 1, int((time.monotonic() - start) * scene.FPS))
            await asyncio.sleep(start + number / scene.FPS - time.monotonic())

    def words(self) -> NDArray[np.int16]:
        """All that was said so far."""
        return np.take(self._voice, range(self.said), mode="wrap")


@dataclass
class Ear:
    """What was heard of one track."""

    keep: bool = True
    track: rtc.Track | None = None
    codec: str = ""
    #: The transport's counters when the recording began.
    reading: Reading = field(default_factory=Reading)
    frames: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _pieces: list[NDArray[np.int16]] = field(default_factory=list)
    _offsets: list[float] = field(default_factory=list)

    async def listen(self, track: rtc.Track, pass_on: Callable[[NDArray[np.int16]], object] | None = None) -> None:
        """Read the track until it ends."""
        self.track = track
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        async for event in stream:
            samples = np.frombuffer(event.frame.data, np.int16)
            now = time.monotonic()
            self.arrived.set()
            self.frames += 1
            if self.keep:
                self._offsets.append(now - len(self._pieces) * len(samples) / RATE)
                self._pieces.append(samples.copy())
            if pass_on is not None and asyncio.iscoroutine(waiting := pass_on(samples)):
                await waiting

    async def restart(self) -> None:
        """Forget what was heard so far."""
        self.reading = await read(self.track)
        self.frames = 0
        self._pieces.clear()
        self._offsets.clear()

    def heard(self) -> NDArray[np.int16]:
        """All that was heard, mono at RATE."""
        return np.concatenate(self._pieces) if self._pieces else np.empty(0, np.int16)

    def starts_at(self) -> float:
        """The moment at which the first sample of `heard` arrived; frames that came in bursts are averaged out."""
        return float(np.median(self._offsets)) if self._offsets else 0.0


@dataclass
class Eye:
    """What was seen of one track."""

    keep: bool = True
    track: rtc.Track | None = None
    codec: str = ""
    #: The transport's counters when the recording began.
    reading: Reading = field(default_factory=Reading)
    frames: int = 0
    #: Set when the first picture whose number can be read is there.
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    first_at: float = 0.0
    last_at: float = 0.0
    size: tuple[int, int] = (0, 0)
    #: (number, when) of each picture whose number could be read.
    read: list[tuple[int, float]] = field(default_factory=list)
    #: How far the background was from the right colour, mean per channel, 0..255.
    colour_errors: list[float] = field(default_factory=list)

    async def watch(
        self,
        track: rtc.Track,
        encoding: rtc.VideoBufferType,
        pass_on: Callable[[NDArray[np.uint8], float], object],
    ) -> None:
        """Read the track until it ends, each picture converted to RGBA or RGB24."""
        self.track = track
        channels = 4 if encoding == rtc.VideoBufferType.RGBA else 3
        async for event in rtc.VideoStream(track, capacity=4):
            now = time.monotonic()
            frame = event.frame.convert(encoding)
            picture = np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, channels)
            self.first_at = self.first_at or now
            self.last_at = now
            self.frames += 1
            self.size = (frame.width, frame.height)
            self._judge(picture, now)
            pass_on(picture, now)

    async def restart(self) -> None:
        """Forget what was seen so far."""
        self.reading = await read(self.track)
        self.frames = 0
        self.first_at = self.last_at = 0.0
        self.read.clear()
        self.colour_errors.clear()

    def _judge(self, picture: NDArray[np.uint8], now: float) -> None:
        number = scene.frame_number(picture) if self.keep else None
        if number is None:
            return
        self.arrived.set()
        self.read.append((number, now))
        right_edge = picture[picture.shape[0] // 3 : picture.shape[0] // 2, -6:-2, :3].reshape(-1, 3).mean(axis=0)
        self.colour_errors.append(float(np.abs(right_edge - scene.background(number)).mean()))


class Mirror:
    """Subscribes to the speaker, adds an echo and the time of day, and publishes both again."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.eye = Eye()
        self._echo = Echo(RATE)
        self._sound = rtc.AudioSource(RATE, 1, queue_size_ms=50)
        self._picture = rtc.VideoSource(scene.WIDTH, scene.HEIGHT)

    async def publish(self, room: rtc.Room) -> None:
        """Publish both tracks, silent and black so far."""
        await _publish(room, "echo", self._sound, rtc.VideoCodec.H264)
        await _publish(room, "stamped", self._picture, rtc.VideoCodec.H264)

    async def take(self, track: rtc.Track, codec: str) -> None:
        """Change and pass on one track of the speaker until it ends."""
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self.ear.codec = codec
            await self.ear.listen(track, self._return_sound)
        else:
            self.eye.codec = codec
            await self.eye.watch(track, rtc.VideoBufferType.RGBA, self._return_picture)

    async def _return_sound(self, samples: NDArray[np.int16]) -> None:
        echoed = self._echo(samples)
        await self._sound.capture_frame(rtc.AudioFrame(echoed.tobytes(), RATE, 1, len(echoed)))

    def _return_picture(self, picture: NDArray[np.uint8], _: float) -> None:
        stamped = picture.copy()
        text = datetime.now().strftime("%H:%M:%S.%f")[:-5]
        scene.draw_text(stamped, text, top=12, left=12, scale=max(1, picture.shape[1] // 160))
        self._picture.capture_frame(_rgba(stamped))


class Recorder:
    """Receives what the mirror publishes, and nothing else, and keeps it."""

    def __init__(self, folder: Path) -> None:
        self.ear = Ear()
        self.eye = Eye()
        self.film = Film(scene.WIDTH, scene.HEIGHT, folder)

    async def take(self, track: rtc.Track, codec: str) -> None:
        """Keep one track of the mirror until it ends."""
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self.ear.codec = codec
            await self.ear.listen(track)
        else:
            self.eye.codec = codec
            await self.eye.watch(track, rtc.VideoBufferType.RGB24, self._keep)

    async def restart(self) -> None:
        """Forget what was received so far."""
        await self.ear.restart()
        await self.eye.restart()
        self.film.clear()

    def _keep(self, picture: NDArray[np.uint8], now: float) -> None:
        self.film.add(now, picture)


async def _publish(room: rtc.Room, name: str, source: rtc.AudioSource | rtc.VideoSource, codec: rtc.VideoCodec) -> None:
    options = rtc.TrackPublishOptions(simulcast=False)
    track: rtc.LocalTrack
    if isinstance(source, rtc.AudioSource):
        options.source = rtc.TrackSource.SOURCE_MICROPHONE
        track = rtc.LocalAudioTrack.create_audio_track(name, source)
    else:
        options.source = rtc.TrackSource.SOURCE_CAMERA
        options.video_codec = codec
        track = rtc.LocalVideoTrack.create_video_track(name, source)
    await room.local_participant.publish_track(track, options)


def _rgba(picture: NDArray[np.uint8]) -> rtc.VideoFrame:
    height, width = picture.shape[:2]
    return rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, picture.tobytes())

"""A server in this process and people who join its rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from greenroom import rtc
from greenroom.server import Server

KEYS = {"devkey": "a secret that is long enough for HS256"}


class Studio:
    """A running server; every room that is joined through it is left at the end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.rooms: list[rtc.Room] = []

    @property
    def url(self) -> str:
        return self.server.url

    async def join(self, identity: str, room: rtc.Room | None = None, **options: object) -> rtc.Room:
        joined = room or rtc.Room()
        self.rooms.append(joined)
        await joined.connect(self.url, self.server.token(identity, "lobby"), rtc.RoomOptions(**options))
        return joined

    async def pair(self, **options: object) -> tuple[rtc.Room, rtc.Room]:
        """Ada and bob, who know of each other."""
        ada = await self.join("ada", **options)
        bob = await self.join("bob", **options)
        await until(lambda: "bob" in ada.remote_participants)
        return ada, bob


async def until(condition, within: float = 20.0) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - for what has no event
            await asyncio.sleep(0.005)


class Tone:
    """A microphone that hears a sine, as long as it is entered."""

    def __init__(self, frequency: float = 440.0, amplitude: float = 8000.0, rate: int = 48000, channels: int = 1):
        self.source = rtc.AudioSource(rate, channels)
        self.track = rtc.LocalAudioTrack.create_audio_track("tone", self.source)
        self._frequency, self._amplitude, self._rate, self._channels = frequency, amplitude, rate, channels

    async def __aenter__(self) -> Tone:
        self._task = asyncio.create_task(self._play())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.source.aclose()

    async def _play(self) -> None:
        step, played = self._rate // 100, 0
        while True:
            time = (played + np.arange(step)) / self._rate
            wave = (self._amplitude * np.sin(2 * np.pi * self._frequency * time)).astype(np.int16)
            data = np.repeat(wave, self._channels).tobytes()
            await self.source.capture_frame(rtc.AudioFrame(data, self._rate, self._channels, step))
            played += step


class Picture:
    """A camera that sees one colour, as long as it is entered."""

    def __init__(self, colour: tuple[int, int, int] = (200, 40, 40), width: int = 320, height: int = 240):
        self.source = rtc.VideoSource(width, height)
        self.track = rtc.LocalVideoTrack.create_video_track("picture", self.source)
        data = bytearray(bytes((*colour, 255)) * width * height)
        self._frame = rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, data)

    async def __aenter__(self) -> Picture:
        self._task = asyncio.create_task(self._show())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.source.aclose()

    async def _show(self) -> None:
        while True:
            self.source.capture_frame(self._frame)
            await asyncio.sleep(0.05)


def frequency(frames: list[rtc.AudioFrame]) -> float:
    """The strongest frequency in Hz."""
    samples = np.concatenate([np.frombuffer(frame.data, np.int16)[:: frame.num_channels] for frame in frames])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * frames[0].sample_rate / len(samples))


def loudness(frame: rtc.AudioFrame) -> int:
    """The largest sample."""
    return int(np.abs(np.frombuffer(frame.data, np.int16).astype(np.int32)).max())


def colour(frame: rtc.VideoFrame) -> tuple[int, int, int]:
    """The middle pixel."""
    pixels = np.frombuffer(frame.convert(rtc.VideoBufferType.RGBA).data, np.uint8)
    grid = pixels.reshape(frame.height, frame.width, 4)
    return tuple(int(value) for value in grid[frame.height // 2, frame.width // 2, :3])


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as server:
        studio = Studio(server)
        try:
            yield studio
        finally:
            await asyncio.gather(*(room.disconnect() for room in studio.rooms))

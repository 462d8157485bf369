"""Helpers around the official client: rooms that record events, tones, colours, and judges of both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from livekit import rtc

RATE = 48_000
PATIENCE = 20.0
EVENTS = (
    "participant_connected",
    "participant_disconnected",
    "participant_metadata_changed",
    "participant_name_changed",
    "participant_attributes_changed",
    "participant_permissions_changed",
    "track_published",
    "track_unpublished",
    "track_subscribed",
    "track_unsubscribed",
    "track_muted",
    "track_unmuted",
    "local_track_published",
    "local_track_unpublished",
    "local_track_subscribed",
    "data_received",
    "active_speakers_changed",
    "connection_quality_changed",
    "room_metadata_changed",
    "disconnected",
    "reconnecting",
    "reconnected",
    "token_refreshed",
)


@dataclass
class Client:
    """One official room and everything that happened in it."""

    room: rtc.Room = field(default_factory=rtc.Room)
    seen: list = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self):
        for name in EVENTS:
            self.room.on(name, self._recorder(name))

    def _recorder(self, name):
        def record(*arguments):
            self.seen.append((name, arguments))
            self.changed.set()

        return record

    def events(self, name):
        return [arguments for each, arguments in self.seen if each == name]

    async def wait(self, name, predicate=lambda *_: True, *, after=0):
        """The arguments of the first event of this name (from index `after` on) that satisfies the predicate."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for arguments in self.events(name)[after:]:
                    if predicate(*arguments):
                        return arguments
                self.changed.clear()
                await self.changed.wait()

    async def until(self, condition):
        """Wait until a condition on the room holds, looked at after every event."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self.changed.wait()

    async def remote_track(self, name):
        """The remote track of this name, subscribed."""
        track, _, _ = await self.wait("track_subscribed", lambda track, *_: track.name == name)
        return track


@contextlib.asynccontextmanager
async def joined(server, identity, room="lab", *, single=True, token=None, **options) -> AsyncIterator[Client]:
    """An official client in a room of our server."""
    client = Client()
    chosen = rtc.RoomOptions(single_peer_connection=single, **options)
    async with asyncio.timeout(PATIENCE):
        await client.room.connect(server.url, token or server.token(identity, room), chosen)
    try:
        yield client
    finally:
        async with asyncio.timeout(PATIENCE):
            await client.room.disconnect()


@contextlib.asynccontextmanager
async def tone(client, frequency, *, name="tone", level=10_000, source=rtc.TrackSource.SOURCE_MICROPHONE):
    """Publish a sine as an audio track for as long as the block lasts."""
    audio = rtc.AudioSource(RATE, 1)
    track = rtc.LocalAudioTrack.create_audio_track(name, audio)
    options = rtc.TrackPublishOptions()
    options.source = source
    publication = await client.room.local_participant.publish_track(track, options)
    feeder = asyncio.create_task(_feed_tone(audio, frequency, level))
    try:
        yield publication
    finally:
        await _stop(feeder)


async def _feed_tone(audio, frequency, level):
    position = 0
    while True:
        time = (np.arange(480) + position) / RATE
        samples = (level * np.sin(2 * np.pi * frequency * time)).astype(np.int16)
        await audio.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, 480))
        position += 480


@contextlib.asynccontextmanager
async def colour(client, rgb, *, name="picture", size=(640, 480), **options):
    """Publish a picture of one colour as a video track for as long as the block lasts."""
    width, height = size
    video = rtc.VideoSource(width, height)
    track = rtc.LocalVideoTrack.create_video_track(name, video)
    chosen = rtc.TrackPublishOptions()
    chosen.source = rtc.TrackSource.SOURCE_CAMERA
    for option, value in options.items():
        setattr(chosen, option, value)
    publication = await client.room.local_participant.publish_track(track, chosen)
    frame = rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, bytes((*rgb, 255)) * (width * height))
    feeder = asyncio.create_task(_feed_picture(video, frame))
    try:
        yield publication
    finally:
        await _stop(feeder)


async def _feed_picture(video, frame):
    while True:
        video.capture_frame(frame)
        await asyncio.sleep(0.04)


async def _stop(task):
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def hear(track, seconds=1.0):
    """The loudest frequency and the level of what a track sounds like, once it is no longer silent."""
    stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
    collected = []
    try:
        async with asyncio.timeout(PATIENCE):
            async for event in stream:
                samples = np.frombuffer(event.frame.data, np.int16)
                if collected or np.abs(samples).max() > 500:
                    collected.append(samples)
                if sum(map(len, collected)) >= seconds * RATE:
                    break
    finally:
        await stream.aclose()
    samples = np.concatenate(collected)[-int(seconds * RATE / 2) :].astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * RATE / len(samples), np.abs(samples).max()


async def see(track, *, size=None):
    """The colour in the middle of a track's picture and its size, once it has the size asked for."""
    stream = rtc.VideoStream(track, format=rtc.VideoBufferType.RGBA)
    count = 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for event in stream:
                frame = event.frame
                count = count + 1 if size is None or (frame.width, frame.height) == size else 0
                if count == 10:
                    break
    finally:
        await stream.aclose()
    middle = (frame.height // 2 * frame.width + frame.width // 2) * 4
    return tuple(frame.data[middle : middle + 3]), (frame.width, frame.height)


def close(seen, wanted, tolerance=14):
    return all(abs(a - b) <= tolerance for a, b in zip(seen, wanted, strict=True))


async def until(condition, patience=PATIENCE):
    """Wait until something holds that no event tells of."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

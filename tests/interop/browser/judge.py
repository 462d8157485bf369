"""What the Python end of a call publishes and how it judges what it receives, with either SDK: both have one face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import numpy as np

RATE = 48000

Colour = tuple[int, int, int]


@asynccontextmanager
async def joined(sdk: ModuleType, url: str, token: str, *, single: bool = True) -> AsyncIterator[Any]:
    """A room of that SDK, left at the end."""
    room = sdk.Room()
    await room.connect(url, token, sdk.RoomOptions(single_peer_connection=single))
    try:
        yield room
    finally:
        await room.disconnect()


@asynccontextmanager
async def publishing(sdk: ModuleType, room: Any, *, colour: Colour, frequency: int) -> AsyncIterator[tuple[Any, Any]]:
    """Publish a tone and a picture of one colour meanwhile; gives their two publications."""
    sound, picture = sdk.AudioSource(RATE, 1), sdk.VideoSource(640, 480)
    audio = sdk.LocalAudioTrack.create_audio_track("tone", sound)
    video = sdk.LocalVideoTrack.create_video_track("colour", picture)
    options = sdk.TrackPublishOptions(source=sdk.TrackSource.SOURCE_MICROPHONE)
    audio_publication = await room.local_participant.publish_track(audio, options)
    options = sdk.TrackPublishOptions(source=sdk.TrackSource.SOURCE_CAMERA)
    video_publication = await room.local_participant.publish_track(video, options)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_hum(sdk, sound, frequency)),
            group.create_task(_paint(sdk, picture, colour)),
        ]
        yield audio_publication, video_publication
        for task in tasks:
            task.cancel()


async def _hum(sdk: ModuleType, source: Any, frequency: int) -> None:
    tick = 0
    while True:
        moment = (np.arange(RATE // 100) + tick * RATE // 100) / RATE
        samples = (np.sin(2 * np.pi * frequency * moment) * 8000).astype(np.int16)
        await source.capture_frame(sdk.AudioFrame(samples.tobytes(), RATE, 1, RATE // 100))
        tick += 1


async def _paint(sdk: ModuleType, source: Any, colour: Colour) -> None:
    picture = np.empty((480, 640, 4), np.uint8)
    tick = 0
    while True:
        picture[:] = (*colour, 255)
        left = tick * 8 % 632
        picture[:16, left : left + 8] = 255
        source.capture_frame(sdk.VideoFrame(640, 480, sdk.VideoBufferType.RGBA, picture.tobytes()))
        tick += 1
        await asyncio.sleep(1 / 20)


async def subscribed(sdk: ModuleType, room: Any, kind: str) -> Any:
    """The first subscribed track of that kind ("audio" or "video") of anyone."""
    wanted = getattr(sdk.TrackKind, f"KIND_{kind.upper()}")
    found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def look(track: Any, *_: object) -> None:
        if track.kind == wanted and not found.done():
            found.set_result(track)

    room.on("track_subscribed", look)
    for participant in room.remote_participants.values():
        for publication in participant.track_publications.values():
            if publication.track is not None:
                look(publication.track)
    return await asyncio.wait_for(found, 20)


async def hears(sdk: ModuleType, track: Any, frequency: float) -> None:
    """Return when half a second of the track is that tone.

    Raises:
        AssertionError: it was not within twenty seconds; says what was heard last.
    """
    stream = sdk.AudioStream(track)
    window = np.zeros(RATE // 2, np.int16)
    last = (0.0, 0.0)
    try:
        async with asyncio.timeout(20):
            async for event in stream:
                samples = np.frombuffer(event.frame.data, np.int16)
                window = np.concatenate([window[len(samples) :], samples])
                last = strongest(window)
                if abs(last[0] - frequency) <= 4 and last[1] > 0.5:
                    return
    except TimeoutError:
        pass
    finally:
        await stream.aclose()
    raise AssertionError(f"not {frequency} Hz: last was {last[0]:.0f} Hz with {last[1]:.0%} of the power")


def strongest(samples: np.ndarray) -> tuple[float, float]:
    """The strongest frequency in Hz and its share of the power."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    peak = int(spectrum.argmax())
    power = spectrum.sum()
    share = spectrum[max(0, peak - 2) : peak + 3].sum() / power if power else 0.0
    return peak * RATE / len(samples), float(share)


async def sees(sdk: ModuleType, track: Any, colour: Colour, *, tolerance: int) -> tuple[int, int]:
    """Return the picture's size when the middle of the track's picture has that colour.

    Raises:
        AssertionError: it had not within twenty seconds; says what was seen last.
    """
    stream = sdk.VideoStream(track, format=sdk.VideoBufferType.RGBA)
    last: object = "nothing"
    try:
        async with asyncio.timeout(20):
            async for event in stream:
                frame = event.frame
                picture = np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 4)
                h, w = frame.height, frame.width
                middle = picture[h // 4 : 3 * h // 4, w // 4 : 3 * w // 4, :3].reshape(-1, 3).mean(axis=0)
                last = middle.round().tolist()
                if np.abs(middle - colour).max() <= tolerance:
                    return w, h
    except TimeoutError:
        pass
    finally:
        await stream.aclose()
    raise AssertionError(f"not {colour}: last was {last}")


def near(colour: Colour, tolerance: int) -> Any:
    """A judge of the page's `picture(sid)`: whether its colour is that one."""

    def accept(picture: dict[str, Any] | None) -> bool:
        return picture is not None and all(
            abs(one - other) <= tolerance for one, other in zip(picture["colour"], colour, strict=True)
        )

    return accept


def tone(frequency: float) -> Any:
    """A judge of the page's `sound(sid)`: whether its strongest frequency is that one, and loud."""

    def accept(sound: dict[str, Any] | None) -> bool:
        return sound is not None and abs(sound["frequency"] - frequency) <= 8 and sound["level"] > -60

    return accept

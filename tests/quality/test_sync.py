"""Sound and picture that were captured together come together, and times of frames are those of their captures."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from greenroom import rtc, testing

from .conftest import Speaker, arrival

pytestmark = pytest.mark.loopback

FPS = 25
#: Seconds from one picture to the next, here: beeps fall on every phase of the engine's tick of 10 ms.
STEP = 0.0403
BLACK, WHITE = 30, 220


def grey(level: int) -> rtc.VideoFrame:
    """A picture of 320x180."""
    return rtc.VideoFrame(320, 180, rtc.VideoBufferType.I420, bytes([level]) * (320 * 180) + bytes([128]) * (160 * 180))


class Spectator:
    """Notes when beeps begin, when pictures turn white, and the times that pictures have."""

    def __init__(self) -> None:
        self.beeps: list[float] = []
        self.flashes: list[float] = []
        self.pictures: list[tuple[float, int]] = []

    async def listen(self, track: rtc.RemoteTrack) -> None:
        async for event in rtc.AudioStream(track):
            loud = np.abs(np.frombuffer(event.frame.data, np.int16).astype(np.int32)) > 3000
            now = time.monotonic()
            if loud.any() and (not self.beeps or now - self.beeps[-1] > 0.3):
                self.beeps.append(now - 0.01 + float(np.argmax(loud)) / 48_000)

    async def look(self, track: rtc.RemoteTrack) -> None:
        was_white = False
        async for event in rtc.VideoStream(track):
            white = event.frame.data[320 * 90 + 160] > (BLACK + WHITE) // 2
            self.pictures.append((time.monotonic(), event.timestamp_us))
            if white and not was_white:
                self.flashes.append(time.monotonic())
            was_white = white


async def test_flashes_and_beeps_stay_together_over_stalls(stage: testing.Stage):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    speaker = Speaker()
    await speaker.publish(ada)
    source = rtc.VideoSource(320, 180)
    camera = rtc.LocalVideoTrack.create_video_track("camera", source)
    encoding = rtc.VideoEncoding(max_framerate=30)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, simulcast=False, video_encoding=encoding)
    await ada.room.local_participant.publish_track(camera, options)
    spectator = Spectator()
    sound, sight = await arrival(bob), await arrival(bob, "video")
    tasks = [asyncio.create_task(spectator.listen(sound)), asyncio.create_task(spectator.look(sight))]
    due = time.monotonic()
    for number in range(7 * FPS):
        if number in (3 * FPS - 10, 5 * FPS - 10):
            # Neither is captured for half a second.
            due += 0.5
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        place = number % FPS
        if place == 0 and number:
            await speaker.play(speaker.sine(0.04, 1000, 0.5))
        source.capture_frame(grey(WHITE if number >= FPS and place < 3 else BLACK))
        due += STEP
    await asyncio.sleep(0.2)  # The last beep's way.
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert len(spectator.beeps) == len(spectator.flashes) == 6
    skews = np.array(spectator.beeps) - np.array(spectator.flashes)
    assert np.abs(skews).mean() <= 0.03
    assert np.abs(skews).max() <= 0.045
    assert np.abs(skews[-3:].mean() - skews[:3].mean()) <= 0.02, "it does not drift"


async def test_times_of_pictures_are_as_far_apart_as_the_captures_over_a_jittery_network():
    link = testing.Link(delay=0.005, jitter=0.03, seed=2)
    async with testing.server(link=link) as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        source = rtc.VideoSource(320, 180)
        camera = rtc.LocalVideoTrack.create_video_track("camera", source)
        encoding = rtc.VideoEncoding(max_framerate=30)
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, simulcast=False, video_encoding=encoding
        )
        await ada.room.local_participant.publish_track(camera, options)
        spectator = Spectator()
        looking = asyncio.create_task(spectator.look(await arrival(bob, "video")))
        captures = []
        while len(spectator.pictures) < 45:
            captures.append(time.monotonic())
            source.capture_frame(grey(BLACK + len(captures) % 2 * 30))
            await asyncio.sleep(1 / FPS)
        looking.cancel()
        await asyncio.wait([looking])
        # The first frames teach how fast the path is at best.
        times = np.array([stamp for _, stamp in spectator.pictures[20:]]) / 1e6
        steps = np.diff(times)
        assert (steps > 0).all()
        assert np.median(steps) == pytest.approx(np.median(np.diff(captures)), abs=0.004)
        assert np.percentile(np.abs(steps - np.median(steps)), 80) <= 0.008

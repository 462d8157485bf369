"""Pictures: whole, sharp, in time, for late joiners too, and bounded for slow readers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest

from greenroom import rtc, testing

from .conftest import arrival
from .pictures import Planes, frame, moved, photo, psnr, ssim, text

pytestmark = pytest.mark.loopback

SIZE = (1280, 720)
codecs = pytest.mark.parametrize("codec", [rtc.VideoCodec.VP8, rtc.VideoCodec.H264], ids=["vp8", "h264"])


class Show:
    """A published source of some pictures."""

    def __init__(self, pictures: list[Planes], screen: bool = False) -> None:
        self.pictures, self.screen = pictures, screen
        self.frames = [frame(picture) for picture in pictures]
        height, width = pictures[0][0].shape
        self.source = rtc.VideoSource(width, height, is_screencast=screen)
        self.track = rtc.LocalVideoTrack.create_video_track("show", self.source)
        self.captured = 0

    async def publish(self, person: testing.Person, **options: object) -> None:
        source = rtc.TrackSource.SOURCE_SCREENSHARE if self.screen else rtc.TrackSource.SOURCE_CAMERA
        # Of its own accord a small picture would be sent less often than it is captured here.
        encoding = rtc.VideoEncoding(max_framerate=30)
        options = {"simulcast": False, "source": source, "video_encoding": encoding, **options}
        await person.room.local_participant.publish_track(self.track, rtc.TrackPublishOptions(**options))

    def capture(self) -> None:
        self.source.capture_frame(self.frames[self.captured % len(self.frames)])
        self.captured += 1

    @contextlib.asynccontextmanager
    async def running(self, fps: float = 30) -> AsyncIterator[None]:
        async def run() -> None:
            due = time.monotonic()
            while True:
                self.capture()
                due += 1 / fps
                await asyncio.sleep(max(0.0, due - time.monotonic()))

        task = asyncio.create_task(run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def likeness(self, received: rtc.VideoFrame) -> float:
        """The PSNR to the picture it is most like."""
        return max(psnr(received, picture) for picture in self.pictures)


class Watcher:
    """Everything that a video track shows from now on."""

    def __init__(self, track: rtc.RemoteTrack, capacity: int = 0) -> None:
        self.stream = rtc.VideoStream(track, capacity=capacity)
        self.events: list[rtc.VideoFrameEvent] = []
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async for event in self.stream:
            self.events.append(event)
            self._changed.set()

    async def until(self, condition, within: float = 20.0) -> rtc.VideoFrame:
        """Watch until a frame from now on satisfies the condition, and give it."""
        place = len(self.events)
        async with asyncio.timeout(within):
            while True:
                for event in self.events[place:]:
                    if condition(event.frame):
                        return event.frame
                place = len(self.events)
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        await self.stream.aclose()
        await self._task


async def inbound(person: testing.Person) -> dict[str, float]:
    """Counters of the only received track."""
    stats = await person.room.get_rtc_stats()
    return next(dict(entry.values) for entry in stats.subscriber_stats if entry.type == "inbound_rtp")


@codecs
async def test_the_first_frame_has_its_full_size_and_is_good(stage: testing.Stage, codec: int):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    show = Show([moved(photo(*SIZE), step) for step in range(8)])
    await show.publish(ada, video_codec=codec)
    watcher = Watcher(await arrival(bob, "video"))
    async with show.running():
        first = await watcher.until(lambda _: True)
        assert (first.width, first.height) == SIZE
        assert show.likeness(first) >= 34
        # A second at most, counted in frames.
        await watcher.until(lambda _: len(watcher.events) >= 30)
    assert max(show.likeness(event.frame) for event in watcher.events[15:30]) >= 36
    assert min(show.likeness(event.frame) for event in watcher.events[15:30]) >= 34
    await watcher.close()


@codecs
async def test_text_on_a_screen_is_sharp(stage: testing.Stage, codec: int):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    show = Show([text(*SIZE)], screen=True)
    await show.publish(ada, video_codec=codec)
    watcher = Watcher(await arrival(bob, "video"))
    async with show.running(fps=15):
        # Two seconds at most, counted in frames.
        last = await watcher.until(lambda _: len(watcher.events) >= 28)
    assert (last.width, last.height) == SIZE
    assert ssim(last, show.pictures[0]) >= 0.98
    await watcher.close()


@codecs
@pytest.mark.parametrize("simulcast", [False, True], ids=["single", "simulcast"])
async def test_who_comes_late_sees_a_still_picture(stage: testing.Stage, codec: int, simulcast: bool):
    ada = await stage.join("ada")
    show = Show([photo(*SIZE)])
    await show.publish(ada, video_codec=codec, simulcast=simulcast)
    show.capture()
    await asyncio.sleep(0.5)  # Nothing is captured any more: there is no event for that.
    bob = await stage.join("bob")
    watcher = Watcher(await arrival(bob, "video"))
    received = await watcher.until(lambda frame: frame.width == SIZE[0], within=5)
    assert psnr(received, show.pictures[0]) >= 36
    await watcher.close()


async def test_quality_changes_the_received_size(stage: testing.Stage):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    show = Show([moved(photo(*SIZE), step) for step in range(8)])
    await show.publish(ada, simulcast=True)
    watcher = Watcher(await arrival(bob, "video"))
    publication = next(iter(bob.room.remote_participants["ada"].track_publications.values()))
    async with show.running():
        await watcher.until(lambda frame: frame.width == 1280)
        for quality, width in ((0, 320), (1, 640), (2, 1280), (0, 320)):
            publication.set_video_quality(quality)
            captured = show.captured
            await watcher.until(lambda frame, width=width: frame.width == width)
            assert show.captured - captured <= 30, "within a second of frames"
    await watcher.close()


async def test_a_reader_that_sleeps_gets_the_newest_frame_and_the_rest_is_counted(stage: testing.Stage):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    shades = [(np.full((180, 320), 20 + 25 * n, np.uint8), *[np.full((90, 160), 128, np.uint8)] * 2) for n in range(9)]
    show = Show(shades)
    await show.publish(ada)
    track = await arrival(bob, "video")
    slow, every = rtc.VideoStream(track, capacity=1), Watcher(track)
    show.capture()
    await every.until(lambda _: True)
    await anext(slow)
    ages = []
    read = 1
    for _ in range(5):
        for _ in range(6):
            show.capture()
            await every.until(lambda _: True)
        event = await anext(slow)
        read += 1
        ages.append(every.events[-1].timestamp_us - event.timestamp_us)
    assert ages == [0] * 5, "the frame at hand is the newest"
    assert slow.dropped == len(every.events) - read
    await asyncio.gather(slow.aclose(), every.close())


@codecs
async def test_losses_and_an_outage_corrupt_no_picture_and_the_video_goes_on(codec: int):
    link = testing.Link(delay=0.01, jitter=0.01, seed=7)
    async with testing.server(link=link) as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        show = Show([moved(photo(640, 360), 2 * step) for step in range(8)])
        await show.publish(ada, video_codec=codec)
        watcher = Watcher(await arrival(bob, "video"))
        async with show.running():
            await watcher.until(lambda _: True)
            requests = (await inbound(bob))["keyframe_requests"]
            link.loss = 0.05
            begin, shown = show.captured, len(watcher.events)
            await watcher.until(lambda _: show.captured - begin >= 60)
            seen = len(watcher.events) - shown
            lossy = (await inbound(bob))["keyframe_requests"] - requests
            link.up = False
            await asyncio.sleep(0.5)
            link.up = True
            begin = show.captured
            await watcher.until(lambda _: True, within=5)
            assert show.captured - begin <= 60, "it goes on within two seconds of frames, although a tenth is lost"
            await watcher.until(lambda _: show.captured - begin >= 45)
            asked = (await inbound(bob))["keyframe_requests"] - requests
    assert link.lost > 20
    assert seen >= 0.8 * 60, "lost packets are sent again"
    assert lossy <= 2
    assert asked <= 8
    assert min(show.likeness(event.frame) for event in watcher.events[10::5]) >= 30
    await watcher.close()

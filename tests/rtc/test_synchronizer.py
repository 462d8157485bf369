"""`AVSynchronizer` shows every picture once, in order, and plays every sound."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import rtc
from greenroom.errors import ConfigError, StateError

pytestmark = pytest.mark.loopback


class Screen:
    """A video source that notes what it is shown."""

    def __init__(self) -> None:
        self.shown: list[rtc.VideoFrame] = []

    def capture_frame(self, frame: rtc.VideoFrame) -> None:
        self.shown.append(frame)


def picture() -> rtc.VideoFrame:
    return rtc.VideoFrame(16, 16, rtc.VideoBufferType.RGBA, bytearray(16 * 16 * 4))


async def test_pictures_are_shown_in_order_at_the_pace_of_the_video():
    screen, source = Screen(), rtc.AudioSource(48000, 1, 1000)
    synchronizer = rtc.AVSynchronizer(audio_source=source, video_source=screen, video_fps=50)
    pictures = [picture() for _ in range(20)]
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number, each in enumerate(pictures):
        await synchronizer.push(rtc.AudioFrame.create(48000, 1, 960), number / 50)
        await synchronizer.push(each, number / 50)
    async with asyncio.timeout(20):
        await synchronizer.wait_for_playout()
    assert screen.shown == pictures
    assert loop.time() - started >= 19 / 50 - 0.01
    assert synchronizer.last_video_time == pytest.approx(19 / 50)
    assert synchronizer.last_audio_time == pytest.approx(20 / 50)
    assert 0 < synchronizer.actual_fps <= 60
    await synchronizer.aclose()
    await synchronizer.aclose()
    with pytest.raises(StateError):
        await synchronizer.push(picture())


async def test_clearing_drops_what_was_not_shown():
    screen = Screen()
    synchronizer = rtc.AVSynchronizer(
        audio_source=rtc.AudioSource(48000, 1), video_source=screen, video_fps=1, video_queue_size_ms=5000
    )
    for _ in range(4):
        await synchronizer.push(picture())
    await asyncio.sleep(0)
    await synchronizer.clear_queue()
    assert len(screen.shown) <= 1
    await synchronizer.aclose()


async def test_a_rate_that_cannot_be_is_refused():
    with pytest.raises(ConfigError):
        rtc.AVSynchronizer(audio_source=None, video_source=None, video_fps=0)


async def test_closing_lets_whoever_waits_go_on():
    synchronizer = rtc.AVSynchronizer(audio_source=rtc.AudioSource(48000, 1), video_source=Screen(), video_fps=1)
    pushes = [asyncio.ensure_future(synchronizer.push(picture())) for _ in range(5)]
    shown = asyncio.ensure_future(synchronizer.wait_for_playout())
    await asyncio.wait(pushes[:1])
    assert not shown.done() and not pushes[-1].done()
    await synchronizer.aclose()
    async with asyncio.timeout(5):
        await asyncio.gather(shown, *pushes)


async def test_a_picture_that_cannot_be_shown_does_not_hold_up_the_others(caplog):
    class Broken(Screen):
        def capture_frame(self, frame: rtc.VideoFrame) -> None:
            super().capture_frame(frame)
            if len(self.shown) == 1:
                raise ValueError("out of paper")

    screen = Broken()
    synchronizer = rtc.AVSynchronizer(audio_source=rtc.AudioSource(48000, 1), video_source=screen, video_fps=100)
    for _ in range(3):
        await synchronizer.push(picture())
    async with asyncio.timeout(5):
        await synchronizer.wait_for_playout()
    assert len(screen.shown) == 3 and "out of paper" in caplog.text
    await synchronizer.aclose()

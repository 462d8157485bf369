"""`AudioSource`: pacing, order, interruption, cancellation and the last sample."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from greenroom import rtc
from greenroom.errors import FrameError

from .conftest import until

pytestmark = pytest.mark.loopback


def frame(milliseconds: float, value: int = 1000, rate: int = 48000, channels: int = 1) -> rtc.AudioFrame:
    count = round(rate * milliseconds / 1000)
    return rtc.AudioFrame(np.full(count * channels, value, np.int16).tobytes(), rate, channels, count)


async def heard(source: rtc.AudioSource) -> tuple[rtc.AudioStream, list[int], asyncio.Task[None]]:
    """Everything that the source plays, sample by sample."""
    stream = rtc.AudioStream(rtc.LocalAudioTrack.create_audio_track("x", source))
    samples: list[int] = []

    async def listen() -> None:
        async for event in stream:
            samples.extend(event.frame.data)

    return stream, samples, asyncio.create_task(listen())


@pytest.mark.parametrize(
    ("rate", "channels", "queue"), [(0, 1, 50), (48000, 0, 50), (48000, 3, 50), (48000, 1, 15), (48000, 1, -10)]
)
async def test_values_that_cannot_work_are_refused(rate: int, channels: int, queue: int):
    with pytest.raises(ValueError, match="must be"):
        rtc.AudioSource(rate, channels, queue)


async def test_a_frame_of_another_format_is_refused_and_costs_nothing():
    source = rtc.AudioSource(48000, 1)
    for wrong in (frame(10, rate=16000), frame(10, channels=2)):
        with pytest.raises(FrameError, match="sample_rate and num_channels don't match"):
            await source.capture_frame(wrong)
    assert source.queued_duration == 0


def test_a_source_can_be_made_before_there_is_a_loop():
    source = rtc.AudioSource(48000, 1)

    async def use() -> float:
        await source.capture_frame(frame(20))
        return source.queued_duration

    assert asyncio.run(use()) > 0


async def test_captures_run_ahead_by_the_queue_and_no_further():
    source = rtc.AudioSource(48000, 1, 50)
    started = time.monotonic()
    for count in range(1, 21):
        await source.capture_frame(frame(20))
        ahead = count * 0.020 - (time.monotonic() - started)
        assert ahead <= 0.050 + 0.015, "the capture returned too early"
        assert source.queued_duration <= 0.0501


async def test_one_long_frame_returns_when_its_rest_fits_the_queue():
    source = rtc.AudioSource(48000, 1, 50)
    started = time.monotonic()
    await source.capture_frame(frame(300))
    assert time.monotonic() - started >= 0.235
    assert source.queued_duration <= 0.0501


async def test_concurrent_captures_play_in_call_order():
    source = rtc.AudioSource(48000, 1, 50)
    stream, samples, listening = await heard(source)
    await asyncio.gather(*(source.capture_frame(frame(60, value)) for value in (100, 200, 300)))
    await source.wait_for_playout()
    await _until_heard(samples, 300)
    await stream.aclose()
    await listening
    order = [value for value, before in zip(samples, [0, *samples], strict=False) if value and value != before]
    assert order == [100, 200, 300]


async def test_the_frames_buffer_may_be_reused_at_once():
    source = rtc.AudioSource(48000, 1, 50)
    stream, samples, listening = await heard(source)
    shared = rtc.AudioFrame.create(48000, 1, 4800)
    view = np.frombuffer(shared.data, np.int16)
    view[:] = 500
    capture = asyncio.create_task(source.capture_frame(shared))
    await asyncio.sleep(0)
    view[:] = 900
    await capture
    await source.wait_for_playout()
    await _until_heard(samples, 500)
    await stream.aclose()
    await listening
    assert set(samples) == {0, 500}


async def test_cancelling_a_capture_drops_its_rest_and_the_next_goes_on():
    source = rtc.AudioSource(48000, 1, 50)
    capture = asyncio.create_task(source.capture_frame(frame(5000)))
    await asyncio.sleep(0)
    capture.cancel()
    with pytest.raises(asyncio.CancelledError):
        await capture
    assert source.queued_duration <= 0.0501
    async with asyncio.timeout(5):
        await source.capture_frame(frame(20))
        await source.wait_for_playout()


async def test_clearing_ends_a_blocked_capture_and_everybody_who_waits():
    source = rtc.AudioSource(48000, 1, 50)
    capture = asyncio.create_task(source.capture_frame(frame(60_000)))
    played = asyncio.create_task(source.wait_for_playout())
    await asyncio.sleep(0)
    source.clear_queue()
    async with asyncio.timeout(5):
        await capture
        await source.wait_for_playout()
    played.cancel()
    assert source.queued_duration == 0


async def test_the_tail_of_a_finite_stream_is_played():
    source = rtc.AudioSource(48000, 1, 50)
    stream, samples, listening = await heard(source)
    total = 48 * 47 + 24
    await source.capture_frame(frame(47.5, 700))
    await source.wait_for_playout()
    await until(lambda: samples.count(700) >= total)
    await stream.aclose()
    await listening
    first = samples.index(700)
    assert samples[first : first + total] == [700] * total
    assert samples.count(700) == total


async def test_without_a_queue_frames_are_10_ms_and_nothing_waits():
    source = rtc.AudioSource(48000, 1, 0)
    with pytest.raises(FrameError, match="10ms"):
        await source.capture_frame(frame(20))
    async with asyncio.timeout(5):
        for _ in range(200):
            await source.capture_frame(frame(10))


async def test_empty_frames_and_frames_after_closing_are_ignored():
    source = rtc.AudioSource(48000, 1)
    await source.capture_frame(rtc.AudioFrame(b"", 48000, 1, 0))
    await source.aclose()
    await source.aclose()
    await source.capture_frame(frame(10_000))
    await source.wait_for_playout()
    source.clear_queue()


async def test_closing_ends_a_blocked_capture():
    source = rtc.AudioSource(48000, 1, 50)
    capture = asyncio.create_task(source.capture_frame(frame(60_000)))
    await asyncio.sleep(0)
    await source.aclose()
    async with asyncio.timeout(5):
        await capture


async def test_a_forgotten_source_frees_its_engine_part():
    import gc

    from greenroom.runtime.bridge import bridge_for_loop

    source = rtc.AudioSource(48000, 1)
    await source.capture_frame(frame(10))
    del source
    gc.collect()
    await until(lambda: not bridge_for_loop().engine.statistics()["sources"])


async def _until_heard(samples: list[int], value: int) -> None:
    await until(lambda: value in samples and samples[-1] != value)

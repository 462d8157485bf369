"""What is interrupted stops at the far end, what is awaited was played, and no Python delay is heard."""

from __future__ import annotations

import time

import numpy as np
import pytest

from greenroom import testing

from .conftest import Recorder, Speaker, arrival, gaps, heard

pytestmark = pytest.mark.loopback


async def opened(stage: testing.Stage) -> tuple[Speaker, Recorder]:
    """A call over which something was heard already."""
    ada, bob = await stage.join("ada"), await stage.join("bob")
    speaker = Speaker()
    await speaker.publish(ada)
    recorder = Recorder(await arrival(bob))
    await speaker.play(speaker.sine(0.5, 440))
    await recorder.hear()
    await speaker.source.wait_for_playout()
    await recorder.more(0.4)
    return speaker, recorder


async def test_a_cleared_queue_is_not_heard_and_the_next_frame_follows_at_once(stage: testing.Stage):
    speaker, recorder = await opened(stage)
    for _ in range(3):
        start = recorder.seconds
        await speaker.play(speaker.sine(0.9, 440))
        await recorder.more(0.4)
        played = 0.9 - speaker.source.queued_duration
        speaker.source.clear_queue()
        await speaker.play(speaker.sine(0.2, 1200))
        await speaker.source.wait_for_playout()
        await recorder.more(0.4)
        wave = recorder.samples(start)[:, 0]
        old, new = heard(wave, 48_000, 440), heard(wave, 48_000, 1200)
        assert old[-1][1] - old[0][0] <= played + 0.06
        assert new[0][0] - old[-1][1] <= 0.02, "the next frame is accepted within 20 ms"
        assert new[-1][1] - new[0][0] == pytest.approx(0.2, abs=0.03)
    await recorder.close()


async def test_what_was_awaited_is_played_to_its_end_and_nothing_stale_follows(stage: testing.Stage):
    speaker, recorder = await opened(stage)
    for milliseconds in (237, 251):
        start = recorder.seconds
        await speaker.play(speaker.sine(milliseconds / 1000, 440))
        await speaker.source.wait_for_playout()
        assert speaker.source.queued_duration == 0
        await speaker.play(speaker.sine(0.1, 1200))
        await speaker.source.wait_for_playout()
        await recorder.more(0.4)
        wave = recorder.samples(start)[:, 0]
        first, second = heard(wave, 48_000, 440), heard(wave, 48_000, 1200)
        assert first[-1][1] - first[0][0] == pytest.approx(milliseconds / 1000, abs=0.02)
        assert second[0][0] >= first[-1][1] - 0.01
        assert second[0][0] - first[-1][1] <= 0.04
        assert second[-1][1] - second[0][0] == pytest.approx(0.1, abs=0.02)
    await recorder.close()


async def test_python_that_holds_the_interpreter_for_half_a_second_is_not_heard(stage: testing.Stage):
    speaker, recorder = await opened(stage)
    async with speaker.sounding(440):
        await recorder.hear()
        await recorder.more(0.6)
        start = recorder.seconds
        until = time.perf_counter() + 0.5
        while time.perf_counter() < until:
            pass
        await recorder.more(1.2)
    wave = recorder.samples(start)[:, 0]
    assert len(wave) >= 1.2 * 48_000
    assert not gaps(wave[: round(1.0 * 48_000)], 48_000, 0.03)
    assert recorder.stream.dropped == 0
    assert np.abs(wave).max() < 0.32
    await recorder.close()

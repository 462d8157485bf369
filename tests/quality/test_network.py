"""Sound over networks that lose, delay, reorder and stop."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from greenroom import testing

from .conftest import Recorder, Speaker, arrival, gaps, impurity, path_delay

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize(
    ("loss", "delay", "jitter"), [(0.05, 0.02, 0.03), (0.10, 0.0, 0.0)], ids=["5 % and 30 ms of jitter", "10 %"]
)
async def test_losses_and_jitter_leave_no_gap(loss: float, delay: float, jitter: float):
    link = testing.Link(delay=delay, jitter=jitter, seed=3)
    async with testing.server(link=link) as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        speaker = Speaker()
        await speaker.publish(ada)
        recorder = Recorder(await arrival(bob))
        async with speaker.sounding(440):
            await recorder.hear()
            await recorder.more(1)
            link.loss = loss
            start = recorder.seconds
            await recorder.more(2.5)
            wave = recorder.samples(start)[:, 0]
        assert link.lost > 10
        assert all(length <= 0.06 for _, length in gaps(wave, 48_000, 0.02))
        assert np.mean(impurity(wave, 48_000, 440) > 0.3) <= 0.06
        await recorder.close()


async def test_an_outage_of_half_a_second_is_over_when_it_is_over():
    link = testing.Link(seed=5)
    async with testing.server(link=link) as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        speaker = Speaker()
        await speaker.publish(ada)
        recorder = Recorder(await arrival(bob))
        async with speaker.sounding(440):
            await recorder.hear()
            await recorder.more(1)
            start = recorder.seconds
            link.up = False
            await asyncio.sleep(0.5)
            link.up = True
            out = recorder.seconds - start
            await recorder.more(2)
        wave = recorder.samples(start, start + 3)[:, 0]
        silent = gaps(wave, 48_000, 0.02)
        assert silent, "the outage is heard"
        assert sum(length for _, length in silent) <= max(out, 0.5) + 0.06
        assert await path_delay(speaker, recorder, 2) <= 0.1
        await recorder.close()

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from greenroom.errors import FrameError, StateError
from greenroom.media.audio import AudioFrame, AudioFrameEvent
from greenroom.media.audio_mixer import AudioMixer

RATE = 1000
BLOCK = 100


def frame_of(values, rate: int = RATE) -> AudioFrame:
    return AudioFrame.from_ndarray(np.array(values, np.int16), rate)


async def stream_of(values, step: int = 10) -> AsyncIterator[AudioFrame]:
    for start in range(0, len(values), step):
        yield frame_of(values[start : start + step])


class Feed:
    """A stream that gives what it is told, when it is told."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[AudioFrame | Exception | None] = asyncio.Queue()
        self.reads = 0
        self.cancelled = False

    def give(self, values) -> None:
        self.queue.put_nowait(frame_of(values))

    def end(self) -> None:
        self.queue.put_nowait(None)

    def __aiter__(self):
        return self

    async def __anext__(self) -> AudioFrame:
        self.reads += 1
        try:
            item = await self.queue.get()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item


async def collect(mixer: AudioMixer) -> np.ndarray:
    return np.concatenate([frame.to_ndarray()[:, 0] async for frame in mixer] or [np.zeros(0, np.int16)])


async def test_streams_are_added_up_sample_by_sample():
    rng = np.random.default_rng(1)
    parts = [rng.integers(-8000, 8000, length, np.int16) for length in (1000, 730, 55, 0)]
    mixer = AudioMixer(RATE, 1)
    for part, step in zip(parts, (10, 33, 1, 7), strict=True):
        mixer.add_stream(stream_of(part, step))
    mixer.end_input()
    wanted = np.zeros(1000, np.int64)
    for part in parts:
        wanted[: part.size] += part
    mixed = await collect(mixer)
    assert np.array_equal(mixed, np.clip(wanted, -32768, 32767))


async def test_blocks_have_the_size_asked_for_and_the_last_is_filled_up():
    mixer = AudioMixer(RATE, 1, blocksize=64)
    mixer.add_stream(stream_of(np.full(100, 5, np.int16)))
    mixer.end_input()
    frames = [frame async for frame in mixer]
    assert [frame.samples_per_channel for frame in frames] == [64, 64]
    assert (frames[0].sample_rate, frames[0].num_channels) == (RATE, 1)
    assert list(frames[1].data) == [5] * 36 + [0] * 28


async def test_clipping():
    mixer = AudioMixer(RATE, 1)
    for _ in range(3):
        mixer.add_stream(stream_of(np.full(BLOCK, 30000, np.int16)))
    mixer.end_input()
    assert set(await collect(mixer)) == {32767}


async def test_other_formats_are_converted():
    mixer = AudioMixer(8000, 2, blocksize=80)
    at = np.arange(4800) / 48000
    tone = np.rint(10000 * np.sin(2 * np.pi * 200 * at)).astype(np.int16)

    async def events():
        for start in range(0, 4800, 480):
            yield AudioFrameEvent(frame_of(tone[start : start + 480], 48000))

    mixer.add_stream(events())
    mixer.end_input()
    mixed = np.concatenate([frame.to_ndarray() async for frame in mixer])
    assert mixed.shape == (800, 2) and np.array_equal(mixed[:, 0], mixed[:, 1])
    assert np.abs(mixed[100:700, 0] - tone[600:4200:6]).max() <= 2


async def test_a_late_stream_holds_up_nobody_and_comes_back():
    live, late = Feed(), Feed()
    mixer = AudioMixer(RATE, 1, stream_timeout_ms=20)
    mixer.add_stream(live)
    mixer.add_stream(late)
    late.give([100] * 30)
    for number in range(1, 51):
        live.give([number] * BLOCK)
    first = await anext(mixer)
    assert list(first.data) == [101] * 30 + [1] * 70
    for number in range(2, 41):
        assert set((await anext(mixer)).data) == {number}
    late.give([1000] * BLOCK)
    seen = [set((await anext(mixer)).data) for _ in range(10)]
    assert [s for s in seen if max(s) >= 1000] != []
    late.end()
    live.end()
    mixer.end_input()
    assert (await collect(mixer)).size == 0


async def test_a_stalled_stream_does_not_slow_the_others_down():
    """Ten seconds of audio beside a stream that never gives anything cost one time-out, not one a block."""
    mixer = AudioMixer(RATE, 1, blocksize=10, stream_timeout_ms=50)
    stalled = Feed()
    mixer.add_stream(stalled)
    mixer.add_stream(stream_of(np.arange(10_000, dtype=np.int16)))
    async with asyncio.timeout(10):
        mixed = [await anext(mixer) for _ in range(1000)]
    assert np.array_equal(np.concatenate([frame.data for frame in mixed]), np.arange(10_000))
    assert stalled.reads == 1
    await mixer.aclose()
    assert stalled.cancelled


async def test_nothing_comes_out_while_nothing_comes_in():
    feed = Feed()
    mixer = AudioMixer(RATE, 1, stream_timeout_ms=1)
    mixer.add_stream(feed)
    waiting = asyncio.ensure_future(anext(mixer))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    feed.give([3] * BLOCK)
    assert set((await waiting).data) == {3}
    await mixer.aclose()


async def test_streams_come_and_go():
    steady, guest = Feed(), Feed()
    mixer = AudioMixer(RATE, 1, stream_timeout_ms=5000)
    waiting = asyncio.ensure_future(anext(mixer))
    await asyncio.sleep(0)
    mixer.add_stream(steady)
    mixer.add_stream(steady)
    steady.give([1] * BLOCK)
    assert set((await waiting).data) == {1}
    mixer.add_stream(guest)
    guest.give([10] * BLOCK)
    steady.give([1] * BLOCK)
    assert set((await anext(mixer)).data) == {11}
    steady.give([1] * BLOCK)
    waiting = asyncio.ensure_future(anext(mixer))
    await asyncio.sleep(0)
    mixer.remove_stream(guest)
    mixer.remove_stream(guest)
    assert set((await waiting).data) == {1}
    await mixer.aclose()
    assert guest.cancelled and steady.cancelled


async def test_a_stream_that_fails_is_left_out(caplog):
    feed = Feed()
    mixer = AudioMixer(RATE, 1)
    mixer.add_stream(feed)
    mixer.add_stream(stream_of(np.full(2 * BLOCK, 2, np.int16)))
    feed.give([1] * 50)
    feed.queue.put_nowait(OSError("gone"))
    mixer.end_input()
    assert (await collect(mixer)).tolist() == [3] * 50 + [2] * 150
    assert [record.exc_info[0] for record in caplog.records] == [OSError]


async def test_a_streams_own_time_out_is_no_end():
    feed = Feed()
    mixer = AudioMixer(RATE, 1)
    mixer.add_stream(feed)
    feed.give([1] * 50)
    feed.queue.put_nowait(TimeoutError())
    feed.give([2] * 50)
    feed.end()
    mixer.end_input()
    assert (await collect(mixer)).tolist() == [1] * 50 + [2] * 50


async def test_end_input_ends_without_streams_and_with_stalled_ones():
    empty = AudioMixer(RATE, 1)
    empty.end_input()
    assert (await collect(empty)).size == 0
    stalled = Feed()
    mixer = AudioMixer(RATE, 1, stream_timeout_ms=2)
    mixer.add_stream(stalled)
    stalled.give([4] * 30)
    mixer.end_input()
    async with asyncio.timeout(10):
        assert (await collect(mixer)).tolist() == [4] * 30 + [0] * 70
    with pytest.raises(StateError, match="Cannot add stream after mixer has been closed"):
        mixer.add_stream(Feed())
    assert stalled.cancelled


async def test_capacity_pauses_mixing():
    feed = Feed()
    mixer = AudioMixer(RATE, 1, capacity=2)
    for _ in range(50):
        feed.give([1] * BLOCK)
    mixer.add_stream(feed)
    for _ in range(200):
        await asyncio.sleep(0)
    assert feed.reads <= 4
    await mixer.aclose()


async def test_aclose_ends_every_iteration():
    mixer = AudioMixer(RATE, 1)
    mixer.add_stream(Feed())
    readers = [asyncio.ensure_future(collect(mixer)) for _ in range(3)]
    await asyncio.sleep(0)
    await mixer.aclose()
    await mixer.aclose()
    async with asyncio.timeout(10):
        assert [result.size for result in await asyncio.gather(*readers)] == [0, 0, 0]
        assert [frame async for frame in mixer] == []
    never_used = AudioMixer(RATE, 1)
    await never_used.aclose()
    assert [frame async for frame in never_used] == []


async def test_a_cancelled_read_loses_no_block():
    feed = Feed()
    mixer = AudioMixer(RATE, 1)
    mixer.add_stream(feed)
    for _ in range(5):
        reader = asyncio.ensure_future(anext(mixer))
        await asyncio.sleep(0)
        reader.cancel()
    feed.give([1] * BLOCK)
    assert set((await anext(mixer)).data) == {1}
    await mixer.aclose()


def test_what_cannot_be_mixed_is_refused():
    for args, options in (
        ((0, 1), {}),
        ((RATE, 0), {}),
        ((RATE, 1), {"blocksize": -1}),
        ((RATE, 1), {"capacity": -1}),
        ((RATE, 1), {"stream_timeout_ms": -1}),
    ):
        with pytest.raises(FrameError):
            AudioMixer(*args, **options)

"""Several streams of audio into one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import ArgumentError, FrameError, StateError
from greenroom.media.audio import SAMPLE_SIZE, AudioFrame, AudioFrameEvent
from greenroom.media.audio_resampler import AudioConverter

__all__ = ["AudioMixer"]

logger = logging.getLogger("greenroom.media")

_PATIENCE = 10
"""After `end_input`, streams that are all late are dropped after this many time-outs."""


class AudioMixer:
    """Adds up any number of async streams of audio frames, block by block.

    A block comes out as soon as every stream has given its share of it. A stream that gives nothing for
    `stream_timeout_ms` is late: it contributes silence and holds up nobody, until it gives something again. The pace is
    that of the streams; nothing is dropped, repeated or shifted. Frames of another rate or channel count are converted.

    Iterate over it to get the mixed frames; iteration ends after `end_input()` when every stream has, or at once with
    `aclose()`.
    """

    def __init__(
        self,
        sample_rate: int,
        num_channels: int,
        *,
        blocksize: int = 0,
        stream_timeout_ms: int = 100,
        capacity: int = 100,
    ) -> None:
        """Make a mixer; its work begins with the first stream, or the first frame asked for.

        Args:
            sample_rate: of the mix, in Hz.
            num_channels: of the mix.
            blocksize: samples per channel of each mixed frame; 0 = 100 ms.
            stream_timeout_ms: how long a stream may keep the others waiting.
            capacity: mixed frames that wait to be read before mixing pauses; 0 = no limit.

        Raises:
            FrameError: a rate, channel count or block size that cannot be.
        """
        AudioConverter(sample_rate, num_channels)
        limits = (("blocksize", blocksize), ("stream_timeout_ms", stream_timeout_ms), ("capacity", capacity))
        for name, value in limits:
            if check.number(name, value) < 0:
                raise FrameError(f"{name} must not be negative, got {value}")
        self._sample_rate = sample_rate
        self._num_channels = num_channels
        self._block_samples = blocksize or max(1, sample_rate // 10)
        self._timeout = stream_timeout_ms / 1000
        self._size = self._block_samples * num_channels * SAMPLE_SIZE
        self._inputs: dict[int, _Input] = {}
        self._queue: asyncio.Queue[AudioFrame | None] = asyncio.Queue(capacity)
        self._changed: asyncio.Future[None] | None = None
        self._ending = self._closed = False
        self._patient_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def add_stream(self, stream: AsyncIterator[AudioFrame] | AsyncIterator[AudioFrameEvent]) -> None:
        """Mix this stream in from now on. One that is already there stays as it is.

        Raises:
            StateError: after `end_input()` or `aclose()`.
        """
        if not hasattr(stream, "__anext__"):
            raise ArgumentError(f"stream must be an async iterator of audio frames, not {stream!r:.60}")
        if self._ending:
            raise StateError("Cannot add stream after mixer has been closed")
        if id(stream) not in self._inputs:
            self._inputs[id(stream)] = _Input(stream, AudioConverter(self._sample_rate, self._num_channels))
        self._start()
        self._wake()

    def remove_stream(self, stream: AsyncIterator[AudioFrame] | AsyncIterator[AudioFrameEvent]) -> None:
        """Leave this stream out from now on, with what it gave and was not mixed yet. Unknown ones are ignored."""
        removed = self._inputs.pop(id(stream), None)
        if removed is not None:
            removed.cancel()
        self._wake()

    def end_input(self) -> None:
        """No stream will be added any more: the mix ends when those that are there do."""
        if self._ending:
            return
        self._ending = True
        self._patient_until = asyncio.get_running_loop().time() + _PATIENCE * self._timeout
        self._start()
        self._wake()

    async def aclose(self) -> None:
        """Stop at once; drop what was mixed and not read, and end every iteration. Idempotent."""
        if self._closed:
            return
        self._ending = self._closed = True
        tasks: list[asyncio.Future[Any]] = [] if self._task is None else [self._task]
        tasks += [source.read for source in self._inputs.values() if source.read is not None]
        self._inputs.clear()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        for task in tasks:
            task.cancel()
        if tasks:
            # Streams may have something to clean up before they are let go.
            await asyncio.wait(tasks)

    def __aiter__(self) -> AudioMixer:
        return self

    async def __anext__(self) -> AudioFrame:
        self._start()
        frame = await self._queue.get()
        if frame is None:
            # For whoever else waits, or asks again.
            self._queue.put_nowait(None)
            raise StopAsyncIteration
        return frame

    def _start(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="audio-mixer")

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _run(self) -> None:
        silence = bytes(self._size)
        while True:
            await self._gather()
            if not self._inputs:
                break
            shares = [source.cut(self._size) for source in self._inputs.values()]
            self._forget_ended()
            data = _engine.mix_samples([silence, *shares])
            await self._queue.put(AudioFrame(data, self._sample_rate, self._num_channels, self._block_samples))
        await self._queue.put(None)

    async def _gather(self) -> None:
        """Wait until each stream has its share of the next block, is late or has ended; or until there is no more."""
        loop = asyncio.get_running_loop()
        for source in self._inputs.values():
            source.deadline = loop.time() + self._timeout
        while self._inputs or not self._ending:
            short = [source for source in self._inputs.values() if source.is_short(self._size)]
            awaited = [source for source in short if not source.late]
            if not awaited and any(source.buffer for source in self._inputs.values()):
                return
            await self._wait(short, self._time_limit(short, awaited))
            self._take(short, loop.time(), gives_up=self._ending and not awaited)
            self._forget_ended()

    def _time_limit(self, short: list[_Input], awaited: list[_Input]) -> float | None:
        """When to stop waiting, by the loop's clock."""
        if awaited:
            return min(source.deadline for source in awaited)
        return self._patient_until if self._ending and short else None

    async def _wait(self, short: list[_Input], limit: float | None) -> None:
        """Wait for a frame of any of these streams, a change of the streams, or the time limit."""
        loop = asyncio.get_running_loop()
        self._changed = loop.create_future()
        timeout = None if limit is None else max(0.0, limit - loop.time())
        events: list[asyncio.Future[Any]] = [self._changed]
        events += [source.start_read() for source in short]
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    def _take(self, short: list[_Input], now: float, *, gives_up: bool) -> None:
        for source in short:
            if source.take():
                source.late = False
                source.deadline = now + self._timeout
                self._patient_until = now + _PATIENCE * self._timeout
            elif now >= source.deadline and not source.late:
                source.late = True
                logger.warning("audio mixer: a stream is late by %.3f s, going on without it", self._timeout)
        if gives_up and now >= self._patient_until:
            for source in short:
                source.ended = True
                source.cancel()

    def _forget_ended(self) -> None:
        self._inputs = {key: source for key, source in self._inputs.items() if source.buffer or not source.ended}


class _Input:
    """One stream, what of it waits to be mixed, and the one read that is under way.

    A read is never cancelled while the stream is wanted: that would end an async generator for good.
    """

    __slots__ = ("_converter", "_stream", "buffer", "deadline", "ended", "late", "read")

    def __init__(self, stream: AsyncIterator[AudioFrame | AudioFrameEvent], converter: AudioConverter) -> None:
        self._stream = stream
        self._converter = converter
        self.buffer = bytearray()
        self.deadline = math.inf
        self.ended = self.late = False
        self.read: asyncio.Future[AudioFrame | AudioFrameEvent] | None = None

    def is_short(self, size: int) -> bool:
        return not self.ended and len(self.buffer) < size

    def start_read(self) -> asyncio.Future[AudioFrame | AudioFrameEvent]:
        if self.read is None:
            self.read = asyncio.ensure_future(anext(self._stream))
        return self.read

    def take(self) -> bool:
        """Buffer what the read brought. False when it brought nothing yet."""
        if self.read is None or not self.read.done():
            return False
        read, self.read = self.read, None
        error = asyncio.CancelledError() if read.cancelled() else read.exception()
        if isinstance(error, TimeoutError):
            # The stream's own, e.g. of a wait_for inside: it may well go on.
            return False
        if error is None:
            error = self._buffer(read.result())
        if error is not None:
            self.ended = True
            self.buffer += self._converter.flush()
            if not isinstance(error, StopAsyncIteration | asyncio.CancelledError):
                logger.error("audio mixer: a stream failed and is left out", exc_info=error)
        return True

    def cut(self, size: int) -> bytes:
        """The next share of a block, shorter if there is less."""
        share = bytes(self.buffer[:size])
        del self.buffer[:size]
        return share

    def cancel(self) -> None:
        if self.read is not None:
            self.read.cancel()
            self.read.add_done_callback(_retrieve)
            self.read = None

    def _buffer(self, item: AudioFrame | AudioFrameEvent) -> Exception | None:
        try:
            self.buffer += self._converter.push(item.frame if isinstance(item, AudioFrameEvent) else item)
        except FrameError as error:
            return error
        return None


def _retrieve(read: asyncio.Future[Any]) -> None:
    """Looks at a discarded read's exception, so that the loop does not report it as forgotten."""
    if not read.cancelled():
        read.exception()

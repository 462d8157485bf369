"""`AudioSource`: PCM in, at real-time pace."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import ConfigError, EngineError, FrameError
from greenroom.media.audio import AudioFrame
from greenroom.rtc._source import MediaSource

if TYPE_CHECKING:
    from greenroom.runtime.bridge import Bridge

__all__ = ["AudioSource"]

#: Milliseconds; a longer queue is a mistake in units.
_MAX_QUEUE = 600_000


class AudioSource(MediaSource[_engine.AudioSource]):
    """A queue of audio that plays in real time, published or not, with silence when it runs empty.

    `capture_frame` waits while more than `queue_size_ms` of audio is ahead, which paces a loop of captures.

    Args:
        sample_rate: Hz of every frame that will be captured, 1000 to 768000.
        num_channels: 1 or 2.
        queue_size_ms: how far captures may run ahead of the playout, in multiples of 10. 0 = no queue: each frame
            must be 10 ms and nothing waits.
        loop: kept for compatibility; the running loop is used.

    Raises:
        ConfigError: one of the values cannot work.
    """

    def __init__(
        self,
        sample_rate: int,
        num_channels: int,
        queue_size_ms: int = 50,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._sample_rate, self._num_channels = check.audio_format(sample_rate, num_channels)
        if check.whole("queue_size_ms", queue_size_ms, 0, _MAX_QUEUE) % 10:
            raise ConfigError(f"queue_size_ms must be a multiple of 10 from 0 to {_MAX_QUEUE}, not {queue_size_ms}")
        self._queue_size = queue_size_ms / 1000
        self._requests = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._failure: EngineError | None = None
        super().__init__()

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self._sample_rate

    @property
    def num_channels(self) -> int:
        """Interleaved channels per sample."""
        return self._num_channels

    @property
    def queued_duration(self) -> float:
        """Seconds of audio that were captured and not played yet."""
        return self._opened[1].queued if self._opened is not None else 0.0

    async def capture_frame(self, frame: AudioFrame) -> None:
        """Play the frame after everything captured before; returns when it fits in the queue.

        The samples are copied before the first wait, so the frame's buffer may be reused at once. Concurrent captures
        are taken in call order. Cancelling drops what is not in the queue yet. A frame without samples, or one given
        after `aclose()`, is ignored.

        Raises:
            FrameError: the frame's rate or channel count is not the source's.
            EngineError: the media engine failed.
        """
        check.instance("frame", frame, AudioFrame)
        if frame.samples_per_channel == 0 or self._closed:
            return
        if (frame.sample_rate, frame.num_channels) != (self._sample_rate, self._num_channels):
            raise FrameError(
                "an RtcError occurred: InvalidState - sample_rate and num_channels don't match: the frame has "
                f"{frame.sample_rate} Hz x{frame.num_channels}, the source {self._sample_rate} Hz x{self._num_channels}"
            )
        if self._queue_size == 0 and frame.samples_per_channel * 100 != self._sample_rate:
            raise FrameError(
                "InvalidState - direct capture requires 10ms frames: "
                f"{self._sample_rate // 100} samples per channel, not {frame.samples_per_channel}"
            )
        if self._failure is not None:
            raise self._failure
        native, request = self._open(), next(self._requests)
        if native.capture(request, frame.data.cast("B"), frame.samples_per_channel):
            if self._queue_size == 0:
                await asyncio.sleep(0)
            return
        try:
            await self._wait(request)
        except asyncio.CancelledError:
            native.cancel(request)
            raise

    def clear_queue(self) -> None:
        """Forget everything that was captured and not played; waiting captures and `wait_for_playout` return."""
        if self._opened is not None:
            self._opened[1].clear()

    async def wait_for_playout(self) -> None:
        """Return when everything captured so far was played or cleared.

        Raises:
            EngineError: the media engine failed.
        """
        if self._opened is None or self._closed:
            return
        if self._failure is not None:
            raise self._failure
        native, request = self._open(), next(self._requests)
        native.notify_drained(request)
        await self._wait(request)

    async def aclose(self) -> None:
        """Stop. Waiting captures return; what is still queued is not played. Idempotent."""
        await super().aclose()
        self._release()

    def _make(self, bridge: Bridge, handle: int) -> _engine.AudioSource:
        native = _engine.AudioSource(bridge.engine, handle, self._sample_rate, self._num_channels, self._queue_size)
        bridge.attach(handle, self._on_event)
        return native

    async def _wait(self, request: int) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[request] = waiter
        try:
            await waiter
        finally:
            del self._waiting[request]

    def _release(self, error: Exception | None = None) -> None:
        for waiter in self._waiting.values():
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def _on_event(self, event: _engine.Event) -> None:
        match event:
            case _engine.Captured(request=request) | _engine.Drained(request=request):
                waiter = self._waiting.get(request)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
            case _engine.EngineFailed(message=message):
                self._failure = EngineError(f"the media engine failed: {message}")
                self._release(self._failure)
            case _:
                pass

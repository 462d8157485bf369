"""`AudioStream`: the PCM of a track as an asynchronous iterator."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import ConfigError
from greenroom.media.audio import AudioFrame, AudioFrameEvent
from greenroom.media.audio_filter import NoiseCancellationOptions
from greenroom.media.frame_processor import FrameProcessor
from greenroom.rtc._reader import MOST_FRAMES, MediaReader, MediaStream

if TYPE_CHECKING:
    from greenroom.rtc.participant import Participant
    from greenroom.rtc.track import Track
    from greenroom.runtime.bridge import Bridge

__all__ = ["AudioFrameEvent", "AudioStream", "NoiseCancellationOptions"]

log = logging.getLogger("greenroom.rtc")

#: Milliseconds; longer frames are a mistake in units.
_MAX_FRAME_SIZE = 60_000


class AudioStream(MediaStream[bytearray, AudioFrameEvent]):
    """Audio of a remote or local track, resampled and remixed to what you ask for.

    The iteration ends when the track is unsubscribed or unpublished, its participant leaves, the room disconnects or
    `aclose()` is called; what was buffered is given out first (not after `aclose()`).

    Args:
        track: an audio track.
        loop: kept for compatibility; the running loop is used.
        capacity: frames to keep for a slow reader, then the oldest is dropped. 0 = 10 s worth.
        sample_rate: Hz of the frames, 1000 to 768000.
        num_channels: 1 or 2.
        frame_size_ms: length of each frame, at most 60000. None = 10.
        noise_cancellation: a `FrameProcessor` each frame goes through.
        auto_close_noise_cancellation: close the processor with the stream.

    Raises:
        ConfigError: a value cannot work, or the track is not an audio track.
    """

    _processor: FrameProcessor[AudioFrame] | None
    _close_processor: bool

    def __init__(
        self,
        track: Track,
        loop: asyncio.AbstractEventLoop | None = None,
        capacity: int = 0,
        sample_rate: int = 48000,
        num_channels: int = 1,
        frame_size_ms: int | None = None,
        noise_cancellation: NoiseCancellationOptions | FrameProcessor[AudioFrame] | None = None,
        auto_close_noise_cancellation: bool = True,
    ) -> None:
        self._open(capacity, sample_rate, num_channels, frame_size_ms)
        self._set_processor(noise_cancellation, auto_close_noise_cancellation)
        self._reader.read_track(track)

    @classmethod
    def from_track(
        cls,
        *,
        track: Track,
        loop: asyncio.AbstractEventLoop | None = None,
        capacity: int = 0,
        sample_rate: int = 48000,
        num_channels: int = 1,
        frame_size_ms: int | None = None,
        noise_cancellation: NoiseCancellationOptions | FrameProcessor[AudioFrame] | None = None,
        auto_close_noise_cancellation: bool = False,
    ) -> AudioStream:
        """Like the constructor, but by default the processor stays open."""
        return cls(
            track,
            capacity=capacity,
            sample_rate=sample_rate,
            num_channels=num_channels,
            frame_size_ms=frame_size_ms,
            noise_cancellation=noise_cancellation,
            auto_close_noise_cancellation=auto_close_noise_cancellation,
        )

    @classmethod
    def from_participant(
        cls,
        *,
        participant: Participant,
        track_source: int,
        loop: asyncio.AbstractEventLoop | None = None,
        capacity: int = 0,
        sample_rate: int = 48000,
        num_channels: int = 1,
        frame_size_ms: int | None = None,
        noise_cancellation: NoiseCancellationOptions | FrameProcessor[AudioFrame] | None = None,
        auto_close_noise_cancellation: bool = True,
    ) -> AudioStream:
        """The participant's track of that source, across republishing, until it leaves. It does not subscribe."""
        stream = cls.__new__(cls)
        stream._open(capacity, sample_rate, num_channels, frame_size_ms)
        stream._set_processor(noise_cancellation, auto_close_noise_cancellation)
        stream._reader.follow(participant, track_source)
        return stream

    async def aclose(self) -> None:
        """End the iteration now, also for a waiting reader. Idempotent."""
        await super().aclose()
        if self._close_processor and self._processor is not None:
            self._processor._close()
            self._processor = None

    def _open(self, capacity: int, sample_rate: int, num_channels: int, frame_size_ms: int | None) -> None:
        sample_rate, num_channels = check.audio_format(sample_rate, num_channels)
        length = 10 if frame_size_ms is None else check.whole("frame_size_ms", frame_size_ms, 1, _MAX_FRAME_SIZE)
        frame_samples = sample_rate * length // 1000
        capacity = check.whole("capacity in frames", capacity, 0, MOST_FRAMES)
        self._sample_rate = sample_rate
        self._num_channels = num_channels
        self._frame_samples = frame_samples
        self._processor_failed = False

        def open_sink(bridge: Bridge, handle: int, track: Track) -> _engine.AudioSink:
            sink = _engine.AudioSink(
                bridge.engine,
                handle,
                sample_rate=sample_rate,
                num_channels=num_channels,
                frame_samples=frame_samples,
                capacity=capacity,
            )
            track._attach_sink(sink, bridge)
            return sink

        self._reader = MediaReader(open_sink)

    def _event(self, item: bytearray) -> AudioFrameEvent:
        frame = AudioFrame(item, self._sample_rate, self._num_channels, self._frame_samples)
        return AudioFrameEvent(frame if self._processor is None else self._processed(frame))

    def _set_processor(
        self, processor: NoiseCancellationOptions | FrameProcessor[AudioFrame] | None, close: bool
    ) -> None:
        if isinstance(processor, NoiseCancellationOptions):
            raise ConfigError(f"the native module {processor.module_id!r} cannot be used here; pass a FrameProcessor")
        self._processor = check.given(check.instance, "noise_cancellation", processor, FrameProcessor)
        self._close_processor = check.flag("auto_close_noise_cancellation", close)

    def _processed(self, frame: AudioFrame) -> AudioFrame:
        processor = self._processor
        if processor is None or not processor.enabled:
            return frame
        try:
            return processor._process(frame)
        except Exception:
            if not self._processor_failed:
                self._processor_failed = True
                log.exception("%r failed; its frames are passed on unchanged", processor)
            return frame

"""Streams of audio from one sample rate to another."""

from __future__ import annotations

from enum import StrEnum, unique

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import FrameError
from greenroom.media.audio import SAMPLE_SIZE, AudioFrame

__all__ = ["AudioConverter", "AudioResampler", "AudioResamplerQuality", "remix_and_resample"]


@unique
class AudioResamplerQuality(StrEnum):
    """How steep and deep the filter is; its delay at a lower rate of 16 kHz, shrinking with higher ones."""

    QUICK = "quick"
    """60 dB, 0.5 ms."""
    LOW = "low"
    """76 dB, 1 ms."""
    MEDIUM = "medium"
    """96 dB, 2 ms: what real-time streams use."""
    HIGH = "high"
    """100 dB and no aliases at all, 5 ms."""
    VERY_HIGH = "very_high"
    """120 dB and no aliases at all, 8 ms."""


_LEVELS = {quality: level for level, quality in enumerate(AudioResamplerQuality)}


def _level(quality: str) -> int:
    try:
        return _LEVELS[AudioResamplerQuality(quality)]
    except ValueError:
        names = ", ".join(_LEVELS)
        raise FrameError(f"quality must be one of {names}, not {quality!r}") from None


class AudioResampler:
    """Converts a stream from one rate to another; what comes out does not depend on how the input was cut up."""

    def __init__(
        self,
        input_rate: int,
        output_rate: int,
        *,
        num_channels: int = 1,
        quality: AudioResamplerQuality = AudioResamplerQuality.MEDIUM,
    ) -> None:
        """Start a stream.

        Args:
            input_rate: in Hz, 1000 to 768000.
            output_rate: in Hz, 1000 to 768000.
            num_channels: of both sides, 1 to 255.
            quality: accuracy against delay and cost.

        Raises:
            FrameError: a rate or channel count that is out of range.
        """
        level = _level(quality)
        input_rate, output_rate = check.index("input_rate", input_rate), check.index("output_rate", output_rate)
        num_channels = check.index("num_channels", num_channels)
        try:
            self._native = _engine.Resampler(input_rate, output_rate, num_channels, level)
        except (ValueError, OverflowError) as error:
            raise FrameError(str(error)) from None
        self._input_rate = input_rate
        self._output_rate = output_rate
        self._num_channels = num_channels

    @property
    def delay(self) -> float:
        """Seconds by which output lags behind input: the filter's look-ahead. 0.0 when the rates are equal."""
        return self._native.delay / self._input_rate

    def push(self, data: bytes | bytearray | memoryview | AudioFrame) -> list[AudioFrame]:
        """Take samples in; return one frame of what is ready, or none.

        The n-th sample that comes out stands at the time n / output_rate of the input: nothing is shifted, it only
        arrives `delay` later.

        Args:
            data: a frame of the declared format, or bytes of interleaved int16 samples.

        Raises:
            FrameError: a frame of another format, or bytes that are not whole samples.
        """
        if isinstance(data, AudioFrame):
            self._check_format(data)
            samples = data.samples()
        else:
            samples = memoryview(check.octets("data", data, "an AudioFrame or bytes"))
            if len(samples) % SAMPLE_SIZE:
                raise FrameError(f"{len(samples)} bytes are not whole int16 samples")
        return self._frames(self._native.push(samples))

    def flush(self) -> list[AudioFrame]:
        """End the stream; return one frame of what is left, or none.

        Over the whole stream exactly round(samples * output_rate / input_rate) samples per channel come out. The next
        push starts a new stream.
        """
        return self._frames(self._native.flush())

    def _check_format(self, frame: AudioFrame) -> None:
        if (frame.sample_rate, frame.num_channels) != (self._input_rate, self._num_channels):
            raise FrameError(
                f"the resampler takes {self._num_channels} channels at {self._input_rate} Hz, "
                f"not {frame.num_channels} at {frame.sample_rate} Hz"
            )

    def _frames(self, data: bytearray) -> list[AudioFrame]:
        count = len(data) // (SAMPLE_SIZE * self._num_channels)
        return [AudioFrame(data, self._output_rate, self._num_channels, count)] if count else []


class AudioConverter:
    """Makes one rate and channel count out of frames of any format, also when that changes in mid-stream."""

    def __init__(
        self,
        sample_rate: int,
        num_channels: int,
        *,
        quality: AudioResamplerQuality = AudioResamplerQuality.MEDIUM,
    ) -> None:
        """Start a stream that comes out with `sample_rate` Hz and `num_channels`.

        Raises:
            FrameError: a rate or channel count that is out of range.
        """
        level = _level(quality)
        sample_rate, num_channels = check.index("sample_rate", sample_rate), check.index("num_channels", num_channels)
        try:
            self._native = _engine.AudioConverter(sample_rate, num_channels, level)
        except (ValueError, OverflowError) as error:
            raise FrameError(str(error)) from None

    def push(self, frame: AudioFrame) -> bytearray:
        """Take a frame in; return the interleaved int16 samples that are ready.

        Raises:
            FrameError: a rate or channel count that is out of range.
        """
        try:
            return self._native.push(frame.samples(), frame.sample_rate, frame.num_channels)
        except (ValueError, OverflowError) as error:
            raise FrameError(str(error)) from None

    def flush(self) -> bytearray:
        """End the stream; return the samples that are left."""
        return self._native.flush()


def remix_and_resample(
    frame: AudioFrame, sample_rate: int, num_channels: int, *, quality: AudioResamplerQuality | None = None
) -> AudioFrame:
    """See `AudioFrame.remix_and_resample`."""
    converter = AudioConverter(sample_rate, num_channels, quality=quality or AudioResamplerQuality.MEDIUM)
    data = converter.push(frame) + converter.flush()
    return AudioFrame(data, sample_rate, num_channels, len(data) // (SAMPLE_SIZE * num_channels))

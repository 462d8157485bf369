"""One piece of PCM audio, and what makes one of several or of nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from greenroom import _arguments as check
from greenroom.errors import ArgumentError, FrameError

if TYPE_CHECKING:
    import os
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from greenroom.media.audio_resampler import AudioResamplerQuality

    AudioData: TypeAlias = bytes | bytearray | memoryview | NDArray[np.int16]

__all__ = ["AudioFrame", "AudioFrameEvent", "combine_audio_frames", "sine_wave_generator"]

SAMPLE_SIZE = 2
"""Bytes of one int16 sample."""

_BYTE_FORMATS = frozenset("Bbc")
_INT16_FORMATS = frozenset(("h", "@h", "=h"))


class AudioFrame:
    """Interleaved 16-bit samples with their rate and channel count.

    The buffer that was passed is kept, not copied: writing to `data` writes to it, and the other way round. A frame
    made from `bytes` is read-only.
    """

    __slots__ = ("__weakref__", "_data", "_num_channels", "_sample_rate", "_samples_per_channel", "_userdata")

    def __init__(
        self,
        data: AudioData,
        sample_rate: int,
        num_channels: int,
        samples_per_channel: int,
        *,
        userdata: dict[str, Any] | None = None,
    ) -> None:
        """Make a frame around `data`.

        Args:
            data: interleaved int16 samples: bytes of them, or a contiguous int16 buffer of shape (samples * channels,)
                or (samples, channels). More than is declared is kept, and ignored when the frame is played.
            sample_rate: in Hz.
            num_channels: 1 for mono, 2 for stereo.
            samples_per_channel: how many samples of each channel the frame lasts.
            userdata: anything to go along with the frame.

        Raises:
            FrameError: `data` is shorter than declared, or not int16, or not contiguous; a number is out of range.
            ArgumentError: something is of another type, e.g. `data` is no buffer.
        """
        self._sample_rate = _positive("sample_rate", sample_rate)
        self._num_channels = _positive("num_channels", num_channels)
        self._samples_per_channel = check.index("samples_per_channel", samples_per_channel)
        if self._samples_per_channel < 0:
            raise FrameError(f"samples_per_channel must not be negative, got {samples_per_channel}")
        self._data = _as_bytes(data, self._num_channels)
        self._userdata = {} if userdata is None else userdata

        size, least = len(self._data), self._num_channels * self._samples_per_channel * SAMPLE_SIZE
        if size < least:
            raise FrameError(
                "data length must be >= num_channels * samples_per_channel * sizeof(int16): "
                f"{size} bytes given, {least} needed"
            )
        if size % SAMPLE_SIZE:
            raise FrameError(f"data length must be a multiple of sizeof(int16): {size} bytes given")

    @staticmethod
    def create(sample_rate: int, num_channels: int, samples_per_channel: int) -> AudioFrame:
        """A writable frame of silence.

        Raises:
            FrameError: a number is out of range.
        """
        count = check.index("samples_per_channel", samples_per_channel)
        size = max(0, check.index("num_channels", num_channels)) * max(0, count) * SAMPLE_SIZE
        return AudioFrame(bytearray(size), sample_rate, num_channels, samples_per_channel)

    @staticmethod
    def from_ndarray(
        array: ArrayLike,
        sample_rate: int,
        *,
        num_channels: int | None = None,
        userdata: dict[str, Any] | None = None,
    ) -> AudioFrame:
        """A frame of an array's samples; int16 and contiguous ones are not copied.

        Args:
            array: shape (samples,) or (samples, channels); int16, or floats where 1.0 is full scale. Floats are rounded
                to nearest and clipped, not-a-number becomes 0.
            sample_rate: in Hz.
            num_channels: for shape (samples * channels,) only; 1 when left out.
            userdata: anything to go along with the frame.

        Raises:
            FrameError: another shape or dtype, or a length that is no multiple of the channels.
        """
        from greenroom.media.audio_arrays import to_int16

        samples = to_int16(array, num_channels)
        return AudioFrame(samples, sample_rate, samples.shape[1], samples.shape[0], userdata=userdata)

    @staticmethod
    def from_wav(source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> AudioFrame:
        """All of a WAV file, or of its bytes, as one frame.

        Raises:
            FrameError: not a WAV file, or an encoding that is not understood.
            OSError: the file cannot be read.
        """
        from greenroom.media.wav import read_wav

        return read_wav(source)

    @property
    def data(self) -> memoryview:
        """The samples: a view with items of int16, so that `len(frame.data)` counts samples of all channels."""
        return memoryview(self._data).cast("B").cast("h")

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._sample_rate

    @property
    def num_channels(self) -> int:
        """1 for mono, 2 for stereo."""
        return self._num_channels

    @property
    def samples_per_channel(self) -> int:
        """How many samples of each channel the frame lasts."""
        return self._samples_per_channel

    @property
    def duration(self) -> float:
        """In seconds."""
        return self._samples_per_channel / self._sample_rate

    @property
    def userdata(self) -> dict[str, Any]:
        """What was given to go along with the frame."""
        return self._userdata

    def to_ndarray(self, dtype: DTypeLike = "int16") -> NDArray[Any]:
        """The declared samples as an array of shape (samples, channels).

        Args:
            dtype: int16 gives a view of the frame's memory, writable if the frame is; a float type gives a copy in
                which 1.0 is full scale, and which `from_ndarray` turns back into the same samples.

        Raises:
            FrameError: another dtype.
        """
        from greenroom.media.audio_arrays import from_int16

        return from_int16(self.samples(), self._num_channels, dtype)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        import numpy as np

        return np.array(self.to_ndarray(), dtype=dtype, copy=copy)

    def samples(self) -> memoryview:
        """The declared samples as bytes, without anything that `data` holds beyond them."""
        view = memoryview(self._data).cast("B")
        return view[: self._num_channels * self._samples_per_channel * SAMPLE_SIZE]

    def replace_samples(self, samples: bytes | bytearray) -> None:
        """Overwrite the declared samples with as many others; a read-only frame gets memory of its own.

        Raises:
            FrameError: another number of bytes.
        """
        samples = check.octets("samples", samples)
        if len(samples) != len(self.samples()):
            raise FrameError(f"{len(samples)} bytes cannot replace {len(self.samples())}")
        if self.data.readonly:
            self._data = bytearray(self._data)
        self.samples()[:] = samples

    def remix_and_resample(
        self, sample_rate: int, num_channels: int, *, quality: AudioResamplerQuality | None = None
    ) -> AudioFrame:
        """A new frame of the same duration at another rate and channel count.

        Each call stands alone: for a stream of frames use `AudioResampler`, which joins them without a seam. Mono is
        repeated into every channel, stereo is averaged into mono.

        Raises:
            FrameError: a rate or channel count that is out of range.
        """
        from greenroom.media.audio_resampler import remix_and_resample

        return remix_and_resample(self, sample_rate, num_channels, quality=quality)

    def to_wav_bytes(self) -> bytes:
        """A WAV file of all of `data`."""
        from greenroom.media.wav import wav_bytes

        return wav_bytes(memoryview(self._data).cast("B"), self._sample_rate, self._num_channels)

    def __repr__(self) -> str:
        return (
            f"rtc.AudioFrame(sample_rate={self._sample_rate}, num_channels={self._num_channels}, "
            f"samples_per_channel={self._samples_per_channel}, duration={self.duration:.3f})"
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        from greenroom.media.audio_schema import audio_frame_schema

        return audio_frame_schema()


@dataclass(frozen=True, slots=True)
class AudioFrameEvent:
    """What an audio stream yields."""

    frame: AudioFrame


def combine_audio_frames(buffer: AudioFrame | Iterable[AudioFrame]) -> AudioFrame:
    """The frames' declared samples one after the other, in one new frame; a single frame is returned as it is.

    Raises:
        FrameError: no frames, or frames of different rates or channel counts.
    """
    if isinstance(buffer, AudioFrame):
        return buffer
    frames = check.several("buffer", buffer, AudioFrame)
    if not frames:
        raise FrameError("buffer is empty")
    first = frames[0]
    for frame in frames:
        if frame.sample_rate != first.sample_rate:
            raise FrameError(f"Sample rate mismatch: expected {first.sample_rate}, got {frame.sample_rate}")
        if frame.num_channels != first.num_channels:
            raise FrameError(f"Channel count mismatch: expected {first.num_channels}, got {frame.num_channels}")
    data = bytearray().join(frame.samples() for frame in frames)
    total = sum(frame.samples_per_channel for frame in frames)
    return AudioFrame(data, first.sample_rate, first.num_channels, total)


async def sine_wave_generator(
    freq: float, duration: float, sample_rate: int = 48000, amplitude: float = 0.3
) -> AsyncIterator[AudioFrame]:
    """Mono frames of 100 ms, the last one shorter, of a tone without a seam between them.

    Args:
        freq: in Hz.
        duration: in seconds.
        sample_rate: in Hz.
        amplitude: 1.0 is full scale.
    """
    import numpy as np

    block, total = max(1, sample_rate // 10), round(duration * sample_rate)
    for start in range(0, total, block):
        at = np.arange(start, min(start + block, total)) / sample_rate
        yield AudioFrame.from_ndarray(amplitude * np.sin(2 * np.pi * freq * at), sample_rate)


def _positive(name: str, value: int) -> int:
    number = check.index(name, value)
    if number < 1:
        raise FrameError(f"{name} must be positive, got {value}")
    return number


def _as_bytes(data: Any, num_channels: int) -> bytes | bytearray | memoryview:
    """`data` itself, or a view of its bytes."""
    if isinstance(data, bytes | bytearray):
        return data
    try:
        view = memoryview(data)
    except TypeError:
        expected = "expected bytes, bytearray, memoryview or an int16 array"
        raise ArgumentError(f"data: {expected}, got {type(data)} {data!r:.60}") from None
    if not view.c_contiguous:
        raise FrameError("memoryview must be contiguous: copy it first, e.g. with np.ascontiguousarray")
    if view.format not in _INT16_FORMATS and not (view.format in _BYTE_FORMATS and view.ndim == 1):
        raise FrameError(
            f"data must be int16 samples (format 'h') or bytes, got format {view.format!r} in {view.ndim} dimensions: "
            "AudioFrame.from_ndarray takes floats"
        )
    shape = view.shape or ()
    if view.ndim != 1 and (view.ndim != 2 or shape[1] != num_channels):
        raise FrameError(f"data of shape {shape} is neither (samples,) nor (samples, {num_channels})")
    return view.cast("B") if view.nbytes else bytearray()

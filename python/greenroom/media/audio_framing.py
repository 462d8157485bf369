"""Bytes of samples, in pieces of any size, into frames of one size."""

from __future__ import annotations

from greenroom.errors import FrameError
from greenroom.media.audio import SAMPLE_SIZE, AudioFrame

__all__ = ["AudioByteStream"]

_FIRST_PROGRESSIVE = 0.02


class AudioByteStream:
    """Cuts a stream of interleaved int16 samples into frames of one length."""

    def __init__(
        self,
        sample_rate: int,
        num_channels: int,
        samples_per_channel: int | None = None,
        progressive: bool = False,
    ) -> None:
        """Start a stream.

        Args:
            sample_rate: in Hz.
            num_channels: interleaved in what is pushed.
            samples_per_channel: of each frame; 100 ms when left out.
            progressive: begin with a frame of 20 ms and double until `samples_per_channel` is reached, so that the
                first sound is out sooner.

        Raises:
            FrameError: a number that is not positive.
        """
        length = sample_rate // 10 if samples_per_channel is None else samples_per_channel
        if min(sample_rate, num_channels, length) < 1:
            raise FrameError(
                f"a frame of {length} samples per channel, {num_channels} channels at {sample_rate} Hz cannot be"
            )
        self._sample_rate = sample_rate
        self._num_channels = num_channels
        self._stride = num_channels * SAMPLE_SIZE
        self._target = length
        self._first = min(length, max(1, int(sample_rate * _FIRST_PROGRESSIVE))) if progressive else length
        self._length = self._first
        self._buffer = bytearray()

    @property
    def buffered_duration(self) -> float:
        """Seconds of audio that wait for the rest of their frame."""
        return len(self._buffer) / self._stride / self._sample_rate

    def push(self, data: bytes | bytearray | memoryview | AudioFrame) -> list[AudioFrame]:
        """Take bytes in, which may end inside a sample; return the frames that are full now."""
        self._buffer += data.samples() if isinstance(data, AudioFrame) else memoryview(data).cast("B")
        frames = []
        start, size = 0, self._length * self._stride
        while len(self._buffer) - start >= size:
            frames.append(self._frame(self._buffer[start : start + size]))
            start += size
            self._length = min(2 * self._length, self._target)
            size = self._length * self._stride
        del self._buffer[:start]
        return frames

    write = push

    def flush(self) -> list[AudioFrame]:
        """Return what is buffered as one shorter frame, or nothing. A piece of a sample stays for the next push."""
        size = len(self._buffer) // self._stride * self._stride
        if not size:
            return []
        data = self._buffer[:size]
        del self._buffer[:size]
        return [self._frame(data)]

    def reset_progressive(self) -> None:
        """Begin again with a short frame; what is buffered stays."""
        self._length = self._first

    def clear(self) -> None:
        """Drop what is buffered and begin again."""
        self._buffer.clear()
        self.reset_progressive()

    def _frame(self, data: bytearray) -> AudioFrame:
        return AudioFrame(data, self._sample_rate, self._num_channels, len(data) // self._stride)

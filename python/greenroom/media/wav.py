"""WAV files: a reader that trusts no header, and a writer.

The reader takes integer samples of 8, 16, 24 and 32 bits and floats of 32 and 64 bits, plain or "extensible", RIFF and
RF64, from files, pipes and memory, complete or cut off anywhere in their samples; what comes out is always int16.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

from greenroom._arguments import MAX_SAMPLE_RATE
from greenroom.errors import ArgumentError, FrameError, StateError
from greenroom.media.audio import SAMPLE_SIZE, AudioFrame

__all__ = ["WavReader", "WavWriter", "read_wav", "wav_bytes", "write_wav"]

WavSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

MAX_CHANNELS = 255
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_ENCODINGS = frozenset({(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)})
_UNKNOWN_SIZE = 0xFFFFFFFF
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_PIECE = 1 << 16


class WavReader:
    """The frames of a WAV file, one after the other; memory for one frame at a time.

    Iterating again continues where it stopped. Close it, or use it in a `with` block; a file object that was passed in
    stays open.
    """

    def __init__(self, source: WavSource, *, frame_ms: float = 10.0) -> None:
        """Read the header.

        Args:
            source: a path, a binary file object, or a WAV file's bytes.
            frame_ms: how long each frame lasts; the last one is shorter.

        Raises:
            FrameError: not a WAV file, or an encoding that is not understood.
            OSError: the file cannot be read.
        """
        if not 0.0 < frame_ms <= 60_000.0:
            raise FrameError(f"frames of {frame_ms} ms cannot be: choose more than 0 and at most 60000")
        self._owned = isinstance(source, str | os.PathLike)
        self._file = _open(source)
        if not hasattr(self._file, "read"):
            raise ArgumentError(f"source must be a path, a binary file or the bytes of one, not {source!r:.60}")
        try:
            self._format, self._left = _read_header(self._file)
        except BaseException as error:
            self.close()
            if self._owned and isinstance(error, FrameError):
                raise FrameError(f"{source!s}: {error}") from error
            raise
        self._frame_samples = max(1, round(self._format.sample_rate * frame_ms / 1000))

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._format.sample_rate

    @property
    def num_channels(self) -> int:
        """1 for mono, 2 for stereo."""
        return self._format.num_channels

    def __iter__(self) -> Iterator[AudioFrame]:
        while (frame := self.read(self._frame_samples)).samples_per_channel:
            yield frame

    def read(self, samples_per_channel: int | None = None) -> AudioFrame:
        """The next so many samples per channel, fewer at the end and none after it; all that are left by default."""
        stride = self._format.stride
        wanted = None if samples_per_channel is None else max(0, samples_per_channel) * stride
        raw = _read_up_to(self._file, _smaller(wanted, self._left))
        if self._left is not None:
            self._left -= len(raw)
        del raw[len(raw) // stride * stride :]
        count = len(raw) // stride
        samples = _to_int16(raw, self._format)
        return AudioFrame(samples, self.sample_rate, self.num_channels, count)

    def close(self) -> None:
        """Close the file if it was opened here. Idempotent."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WavWriter:
    """A 16-bit WAV file that frames are appended to.

    The sizes in its header become right when it is closed; until then, and for good where the file cannot seek, they
    say "until the end", which readers understand.
    """

    def __init__(self, target: str | os.PathLike[str] | BinaryIO, sample_rate: int, num_channels: int = 1) -> None:
        """Create the file, or begin to write to a file object, which stays open at the end.

        Raises:
            FrameError: a rate or channel count that is out of range.
            OSError: the file cannot be written.
        """
        header = _header(sample_rate, num_channels, _UNKNOWN_SIZE)
        self._owned = isinstance(target, str | os.PathLike)
        self._file: BinaryIO = open(target, "wb") if isinstance(target, str | os.PathLike) else target
        self._sample_rate = sample_rate
        self._num_channels = num_channels
        self._start = self._file.tell() if self._file.seekable() else None
        self._size = 0
        self._closed = False
        self._file.write(header)

    def write(self, frame: AudioFrame) -> None:
        """Append a frame's declared samples.

        Raises:
            FrameError: a frame of another rate or channel count.
            StateError: the file is closed.
        """
        if self._closed:
            raise StateError("the WAV file is closed")
        if (frame.sample_rate, frame.num_channels) != (self._sample_rate, self._num_channels):
            raise FrameError(
                f"the file holds {self._num_channels} channels at {self._sample_rate} Hz, "
                f"not {frame.num_channels} at {frame.sample_rate} Hz"
            )
        samples = _little_endian(bytearray(frame.samples()))
        self._file.write(samples)
        self._size += len(samples)

    def close(self) -> None:
        """Write the sizes into the header; close the file if it was opened here. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._start is not None:
                end = self._file.tell()
                self._file.seek(self._start)
                self._file.write(_header(self._sample_rate, self._num_channels, self._size))
                self._file.seek(end)
            self._file.flush()
        finally:
            if self._owned:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_wav(source: WavSource) -> AudioFrame:
    """All of a WAV file as one frame.

    Raises:
        FrameError: not a WAV file, or an encoding that is not understood.
        OSError: the file cannot be read.
    """
    with WavReader(source) as reader:
        return reader.read()


def write_wav(target: str | os.PathLike[str] | BinaryIO, frames: AudioFrame | Iterable[AudioFrame]) -> None:
    """A WAV file of one frame, or of several one after the other.

    Raises:
        FrameError: no frames, or frames of different rates or channel counts.
        OSError: the file cannot be written.
    """
    frames = iter([frames] if isinstance(frames, AudioFrame) else frames)
    first = next(frames, None)
    if first is None:
        raise FrameError("there is no frame to write")
    with WavWriter(target, first.sample_rate, first.num_channels) as writer:
        writer.write(first)
        for frame in frames:
            writer.write(frame)


def wav_bytes(samples: memoryview, sample_rate: int, num_channels: int) -> bytes:
    """A WAV file of interleaved int16 samples, given as their bytes in host order."""
    return _header(sample_rate, num_channels, len(samples)) + _little_endian(bytearray(samples))


@dataclass(frozen=True, slots=True)
class _Format:
    encoding: int
    bits: int
    num_channels: int
    sample_rate: int

    @property
    def stride(self) -> int:
        """Bytes of one sample of every channel."""
        return self.bits // 8 * self.num_channels


def _open(source: WavSource) -> BinaryIO:
    if isinstance(source, str | os.PathLike):
        return open(source, "rb")
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    return source


def _read_header(file: BinaryIO) -> tuple[_Format, int | None]:
    """The format, and how many bytes of samples follow; None = until the end."""
    start = bytes(_read_up_to(file, 12))
    if len(start) < 12 or start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise FrameError(f"not a WAV file: it begins with {start!r} instead of RIFF....WAVE")
    found: _Format | None = None
    long_size: int | None = None
    while len(head := bytes(_read_up_to(file, _CHUNK.size))) == _CHUNK.size:
        name, size = _CHUNK.unpack(head)
        if name == b"data":
            if found is None:
                raise FrameError("a broken WAV file: its samples come before their format")
            return found, long_size if size == _UNKNOWN_SIZE else size
        padded = size + size % 2
        kept = bytes(_read_up_to(file, min(padded, 64))) if name in (b"fmt ", b"ds64") else b""
        if name == b"fmt ":
            found = _parse_format(kept[:size])
        elif name == b"ds64" and len(kept) >= 16:
            long_size = struct.unpack_from("<Q", kept, 8)[0]
        _skip(file, padded - len(kept))
    raise FrameError("a broken WAV file: it has no samples")


def _parse_format(chunk: bytes) -> _Format:
    if len(chunk) < _FORMAT.size:
        raise FrameError(f"a broken WAV file: its format has {len(chunk)} bytes, not {_FORMAT.size} or more")
    encoding, channels, rate, _, stride, bits = _FORMAT.unpack_from(chunk)
    if encoding == _EXTENSIBLE and len(chunk) >= 26:
        encoding = struct.unpack_from("<H", chunk, 24)[0]
    if (encoding, bits) not in _ENCODINGS:
        raise FrameError(
            f"WAV encoding {encoding} with {bits} bits is not understood: only integers (1) of 8, 16, 24 or 32 bits "
            "and floats (3) of 32 or 64 bits are"
        )
    if not 1 <= channels <= MAX_CHANNELS or not 1 <= rate <= MAX_SAMPLE_RATE:
        raise FrameError(
            f"a WAV file of {channels} channels at {rate} Hz cannot be: 1..{MAX_CHANNELS} channels at "
            f"1..{MAX_SAMPLE_RATE} Hz can"
        )
    found = _Format(encoding, bits, channels, rate)
    if stride != found.stride:
        raise FrameError(f"a broken WAV file: {channels} channels of {bits} bits are not {stride} bytes")
    return found


def _smaller(a: int | None, b: int | None) -> int | None:
    return min((value for value in (a, b) if value is not None), default=None)


def _read_up_to(file: BinaryIO, size: int | None) -> bytearray:
    """So many bytes, fewer only at the end of the file. Memory grows with what is there, not with what is claimed."""
    found = bytearray()
    while size is None or len(found) < size:
        piece = file.read(_PIECE if size is None else min(_PIECE, size - len(found)))
        if not piece:
            break
        found += piece
    return found


def _skip(file: BinaryIO, size: int) -> None:
    while size > 0 and (piece := file.read(min(_PIECE, size))):
        size -= len(piece)


def _to_int16(raw: bytearray, found: _Format) -> bytearray:
    """Samples of any encoding as int16 in host order."""
    if (found.encoding, found.bits) == (_PCM, 16):
        return _little_endian(raw)
    import numpy as np

    from greenroom.media.audio_arrays import float_to_int16

    if found.encoding == _FLOAT:
        samples = float_to_int16(np.frombuffer(raw, dtype=f"<f{found.bits // 8}"))
    elif found.bits == 8:
        samples = (np.frombuffer(raw, np.uint8).astype(np.int16) - 128) << 8
    else:
        width = found.bits // 8
        wide = np.zeros((len(raw) // width, 4), np.uint8)
        wide[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
        rounded = (wide.view("<i4")[:, 0].astype(np.int64) + 0x8000) >> 16
        samples = np.minimum(rounded, 32767).astype(np.int16)
    return bytearray(samples.tobytes())


def _little_endian(samples: bytearray) -> bytearray:
    """Swaps between host order and the order of WAV files, where they differ."""
    if sys.byteorder == "big":
        samples[0::2], samples[1::2] = samples[1::2], samples[0::2]
    return samples


def _header(sample_rate: int, num_channels: int, size: int) -> bytes:
    if not 1 <= num_channels <= MAX_CHANNELS or not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise FrameError(f"a WAV file of {num_channels} channels at {sample_rate} Hz cannot be written")
    stride = num_channels * SAMPLE_SIZE
    fits = size < _UNKNOWN_SIZE - _HEADER.size
    return _HEADER.pack(
        b"RIFF",
        size + _HEADER.size - 8 if fits else _UNKNOWN_SIZE,
        b"WAVE",
        b"fmt ",
        _FORMAT.size,
        _PCM,
        num_channels,
        sample_rate,
        sample_rate * stride,
        stride,
        8 * SAMPLE_SIZE,
        b"data",
        size if fits else _UNKNOWN_SIZE,
    )

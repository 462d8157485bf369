"""What the demo leaves behind: out.wav, and out.mp4 or pictures."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import wave
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Film", "write_wav"]


def write_wav(path: Path, samples: NDArray[np.int16], sample_rate: int) -> None:
    """Write mono samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())


class Film:
    """Received pictures with their times, spooled to an unnamed file in `folder` until the call is over."""

    #: Pictures after so many seconds are left out: they are kept uncompressed, which costs no time but space.
    LONGEST = 60.0

    def __init__(self, width: int, height: int, folder: Path) -> None:
        self._shape = (height, width, 3)
        self._size = height * width * 3
        self._times: list[float] = []
        self._file = tempfile.TemporaryFile(dir=folder)

    def add(self, time: float, picture: NDArray[np.uint8]) -> None:
        """Keep an RGB picture, shape (height, width, 3), received at `time` seconds; other sizes are left out."""
        if self._file.closed:
            return
        if picture.shape == self._shape and time - (self._times or [time])[0] <= self.LONGEST:
            self._times.append(time)
            self._file.write(picture.tobytes())

    def clear(self) -> None:
        """Forget the pictures so far."""
        self._times.clear()
        self._file.seek(0)
        self._file.truncate()

    def close(self) -> None:
        """Give the spooled pictures up."""
        self._file.close()

    def write(self, folder: Path, sound: Path, fps: int) -> str:
        """Write out.mp4 with the sound, or without ffmpeg one picture per second. Returns what was written."""
        if not self._times:
            return "no picture"
        if (program := shutil.which("ffmpeg")) is None:
            return self._write_pictures(folder)
        height, width, _ = self._shape
        command = [program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-i", str(sound)]
        command += ["-pix_fmt", "yuv420p", "-preset", "veryfast", "-shortest", str(folder / "out.mp4")]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None  # noqa: S101 - asked for in the line above
            for index in self._steady(fps):
                encoder.stdin.write(self._picture(index))
        return "out.mp4" if encoder.returncode == 0 else self._write_pictures(folder)

    def _picture(self, index: int) -> bytes:
        self._file.seek(index * self._size)
        return self._file.read(self._size)

    def _steady(self, fps: int) -> list[int]:
        """The index of one picture per 1/fps seconds: the newest there was at that moment."""
        first, last = self._times[0], self._times[-1]
        shown, index = [], 0
        for tick in range(int((last - first) * fps) + 1):
            while index + 1 < len(self._times) and self._times[index + 1] - first <= tick / fps:
                index += 1
            shown.append(index)
        return shown

    def _write_pictures(self, folder: Path) -> str:
        chosen = self._steady(1)
        for number, index in enumerate(chosen):
            picture = np.frombuffer(self._picture(index), np.uint8).reshape(self._shape)
            (folder / f"out-{number:02}.png").write_bytes(_png(picture))
        return f"{len(chosen)} pictures"


def _png(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture as a PNG file."""
    height, width = picture.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, width * 3)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(b"IEND", b"")

"""What the demo leaves behind: out.wav, and out.mp4 or pictures."""

from __future__ import annotations

import shutil
import struct
import subprocess
import wave
import zlib
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Film:
    """Received pictures with their times, kept compressed until the call is over."""

    width: int
    height: int
    _pictures: list[tuple[float, bytes]] = field(default_factory=list)

    def add(self, time: float, picture: NDArray[np.uint8]) -> None:
        """Keep an RGB picture, shape (height, width, 3), received at `time` seconds; other sizes are left out."""
        if picture.shape[:2] == (self.height, self.width):
            self._pictures.append((time, zlib.compress(picture.tobytes(), 1)))

    def clear(self) -> None:
        """Forget the pictures so far."""
        self._pictures.clear()

    def write(self, folder: Path, sound: Path, fps: int) -> str:
        """Write out.mp4 with the sound, or without ffmpeg one picture per second. Returns what was written."""
        if not self._pictures:
            return "no picture"
        if (program := shutil.which("ffmpeg")) is None:
            return self._write_pictures(folder)
        command = [program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{self.width}x{self.height}", "-r", str(fps), "-i", "-", "-i", str(sound)]
        command += ["-pix_fmt", "yuv420p", "-preset", "veryfast", "-shortest", str(folder / "out.mp4")]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None  # noqa: S101 - asked for in the line above
            for data in self._steady(fps):
                encoder.stdin.write(zlib.decompress(data))
        return "out.mp4" if encoder.returncode == 0 else self._write_pictures(folder)

    def _steady(self, fps: int) -> list[bytes]:
        """One picture per 1/fps seconds: the newest there was at that moment."""
        first, last = self._pictures[0][0], self._pictures[-1][0]
        shown, index = [], 0
        for tick in range(int((last - first) * fps) + 1):
            while index + 1 < len(self._pictures) and self._pictures[index + 1][0] - first <= tick / fps:
                index += 1
            shown.append(self._pictures[index][1])
        return shown

    def _write_pictures(self, folder: Path) -> str:
        chosen = self._steady(1)
        for number, data in enumerate(chosen):
            raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(self.height, self.width, 3)
            (folder / f"out-{number:02}.png").write_bytes(_png(raw))
        return f"{len(chosen)} pictures"


def _png(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture as a PNG file."""
    height, width = picture.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, width * 3)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(b"IEND", b"")

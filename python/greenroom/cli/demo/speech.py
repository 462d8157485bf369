"""The speaker's voice, the mirror's echo, and how a recording is compared with what was said."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Echo", "Likeness", "compare", "speech"]

TEXT = (
    "Good evening, and welcome to the green room. You are hearing a real call: my voice and my picture go to a server, "
    "a program adds an echo and the time of day, and sends both on to someone who writes them down."
)

#: Comparisons are made at this rate: the voice is below 4 kHz, and a codec keeps that part of it.
_JUDGED_RATE = 8000

Samples = NDArray[np.float32]


def speech() -> tuple[NDArray[np.int16], int]:
    """Spoken words as (mono samples, sample rate in Hz): by espeak-ng if it is installed, else synthesized vowels."""
    if (program := shutil.which("espeak-ng")) is None:
        return _vowels(), 24000
    command = [program, "-v", "en", "-s", "165", "--stdout", TEXT]
    recording = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
    with wave.open(io.BytesIO(recording)) as file:
        rate = file.getframerate()
        # A stream's header says it is endless: the file ends where its bytes do.
        return np.frombuffer(file.readframes(len(recording)), np.int16), rate


def _vowels() -> NDArray[np.int16]:
    """Five seconds of a voice-like sound at 24 kHz: a gliding pitch whose harmonics pass through moving formants."""
    rate, length = 24000, 5.0
    time = np.arange(int(rate * length)) / rate
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.7 * time) + 10 * np.sin(2 * np.pi * 2.3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    turns = np.floor(time * 4).astype(int)
    formants = np.array([(730, 1090), (270, 2290), (300, 870), (530, 1840), (660, 1720), (440, 1020), (490, 1350)])
    first, second = formants[turns * 3 % len(formants)].T
    voice = np.zeros_like(time)
    for harmonic in range(1, 24):
        frequency = harmonic * pitch
        weight = np.exp(-(((frequency - first) / 120) ** 2)) + 0.6 * np.exp(-(((frequency - second) / 160) ** 2))
        voice += (weight + 0.02) * np.sin(harmonic * phase)
    syllables = np.clip(1.3 * np.sin(np.pi * (time * 4 % 1)), 0, 1)
    voice *= syllables / np.abs(voice).max()
    return np.asarray(voice * 20000, np.int16)


class Echo:
    """What the mirror does to sound: every sample comes back once more, later and softer."""

    DELAY = 0.18
    GAIN = 0.5
    LEVEL = 0.7

    def __init__(self, sample_rate: int) -> None:
        self._past = np.zeros(int(self.DELAY * sample_rate), np.float32)

    def __call__(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """The next samples (mono) with the echo of earlier ones."""
        line = np.concatenate([self._past, samples.astype(np.float32)])
        self._past = line[len(samples) :]
        mixed = self.LEVEL * (line[len(line) - len(samples) :] + self.GAIN * line[: len(samples)])
        return np.asarray(np.clip(mixed, -32768, 32767), np.int16)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much of what was said is in a recording.

    Attributes:
        correlation: 1 when it is the same, 0 when it has nothing to do with it.
        lag: seconds by which the recording is behind.
    """

    correlation: float
    lag: float


def compare(said: NDArray[np.int16], said_rate: int, heard: NDArray[np.int16], heard_rate: int) -> Likeness:
    """Find what was said in what was heard (both mono), up to two seconds later or one second earlier.

    It is looked for in pieces of half a second, because a jitter buffer may stretch time between them.
    """
    if not said.any() or not heard.any():
        return Likeness(0.0, 0.0)
    expected, recording = _judged(said, said_rate), _judged(heard, heard_rate)
    size = _JUDGED_RATE // 2
    starts = range(0, min(len(expected), len(recording)) - size + 1, size)
    pieces = [expected[start : start + size] for start in starts]
    loud = 0.3 * max((float(np.linalg.norm(piece)) for piece in pieces), default=0.0)
    found = [
        _find(piece, start, recording)
        for start, piece in zip(starts, pieces, strict=True)
        if np.linalg.norm(piece) > loud
    ]
    if not found:
        return Likeness(0.0, 0.0)
    correlations, lags = zip(*found, strict=True)
    return Likeness(float(np.median(correlations)), float(np.median(lags)) / _JUDGED_RATE)


def _find(piece: Samples, start: int, recording: Samples) -> tuple[float, int]:
    """The best correlation of a piece with a part of the recording, and how many samples after `start` that part is."""
    first = max(0, start - _JUDGED_RATE)
    searched = recording[first : start + len(piece) + 2 * _JUDGED_RATE]
    if len(searched) < len(piece):
        return 0.0, 0
    size = 1 << (len(searched) + len(piece)).bit_length()
    products = np.fft.irfft(np.conj(np.fft.rfft(piece, size)) * np.fft.rfft(searched, size), size)
    energy = np.cumsum(np.concatenate([[0.0], searched.astype(np.float64) ** 2]))
    energies = np.maximum(energy[len(piece) :] - energy[: -len(piece)], 1.0)
    correlations = products[: len(energies)] / (np.linalg.norm(piece) * np.sqrt(energies))
    best = int(correlations.argmax())
    return float(correlations[best]), first + best - start


def _judged(samples: NDArray[np.int16], rate: int) -> Samples:
    """The samples at the rate of comparisons, without what lies above it."""
    width = max(1, round(rate / _JUDGED_RATE))
    smooth = np.convolve(samples.astype(np.float32), np.full(width, 1 / width, np.float32), "same")
    moments = np.arange(int(len(samples) * _JUDGED_RATE / rate)) * (rate / _JUDGED_RATE)
    return np.asarray(np.interp(moments, np.arange(len(smooth)), smooth), np.float32)

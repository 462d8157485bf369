"""From what was sent and received to a table, and to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from greenroom.cli.demo.meter import read
from greenroom.cli.demo.players import RATE, Ear, Eye, Speaker
from greenroom.cli.demo.speech import compare

__all__ = ["Line", "audio_line", "table", "video_line"]

#: What a codec and a jitter buffer on a busy machine may take away: other words reach 0.25.
LEAST_CORRELATION = 0.45
LEAST_READABLE = 0.9
MOST_COLOUR_ERROR = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One received track.

    Attributes:
        way: who hears or sees whom.
        form: sample rate, or size of the picture.
        rate: frames or pictures per second.
        bitrate: bit/s received, 0 = unknown.
        loss: share of packets lost, 0..1.
        latency: seconds from capture to hand-over, median.
        content: what was found in it, for people.
        faults: why it is not what was sent; empty = it is.
    """

    way: str
    codec: str
    form: str
    rate: float
    bitrate: float
    loss: float
    latency: float
    content: str
    faults: tuple[str, ...]


async def audio_line(way: str, ear: Ear, speaker: Speaker, words: NDArray[np.int16], seconds: float) -> Line:
    """Judge one received voice; `words` is what it must be, at the speaker's rate."""
    heard = ear.heard()
    likeness = compare(words, speaker.sample_rate, heard, RATE)
    faults = []
    if len(heard) < 0.8 * seconds * RATE:
        faults.append(f"only {len(heard) / RATE:.1f} s of {seconds:.1f} s were heard")
    if likeness.correlation < LEAST_CORRELATION:
        faults.append(f"the sound is not what was said (likeness {likeness.correlation:.2f})")
    reading = await read(ear.track)
    return Line(
        way=way,
        codec=ear.codec,
        form=f"{RATE // 1000} kHz",
        rate=ear.frames / seconds,
        bitrate=reading.bitrate_since(ear.reading),
        loss=reading.loss_since(ear.reading),
        latency=ear.starts_at() + likeness.lag - speaker.began if likeness.correlation else 0.0,
        content=f"{likeness.correlation:.2f} alike",
        faults=tuple(faults),
    )


async def video_line(way: str, eye: Eye, speaker: Speaker, seconds: float) -> Line:
    """Judge one received picture track by the numbers and colours in it."""
    readable = len(eye.read) / eye.frames if eye.frames else 0.0
    error = float(np.median(eye.colour_errors)) if eye.colour_errors else 255.0
    numbers = {number for number, _ in eye.read}
    faults = []
    if len(numbers) < 3 * seconds:
        faults.append(f"only {len(numbers)} different pictures arrived in {seconds:.1f} s")
    elif readable < LEAST_READABLE:
        faults.append(f"{1 - readable:.0%} of the pictures cannot be read")
    if numbers - speaker.shown.keys():
        faults.append("pictures arrived that nobody sent")
    if error > MOST_COLOUR_ERROR and eye.frames:
        faults.append(f"colours are off by {error:.0f}")
    delays = [when - speaker.shown[number] for number, when in eye.read if number in speaker.shown]
    reading = await read(eye.track)
    span = eye.last_at - eye.first_at
    return Line(
        way=way,
        codec=eye.codec,
        form="x".join(map(str, eye.size)),
        rate=(eye.frames - 1) / span if span > 0 else 0.0,
        bitrate=reading.bitrate_since(eye.reading),
        loss=reading.loss_since(eye.reading),
        latency=float(np.median(delays)) if delays else 0.0,
        content=f"{readable:.0%} read, colour ±{error:.0f}",
        faults=tuple(faults),
    )


def table(lines: Sequence[Line]) -> Table:
    """The lines for a terminal."""
    made = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("what arrived", "codec", "form"):
        made.add_column(name, no_wrap=True)
    for name in ("fps", "kbit/s", "loss", "latency"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("content")
    for line in lines:
        verdict = "[green]✓[/] " if not line.faults else "[red]✗[/] "
        made.add_row(
            line.way,
            line.codec.rpartition("/")[2],
            line.form,
            f"{line.rate:.0f}",
            f"{line.bitrate / 1000:.0f}" if line.bitrate else "-",
            f"{line.loss:.1%}",
            f"{line.latency * 1000:.0f} ms" if line.latency else "-",
            verdict + line.content,
        )
    return made

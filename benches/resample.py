"""Speed, delay and accuracy of resampling, beside the official client's resampler and the soxr package.

    python benches/resample.py [--seconds 10] [--rounds 5] [--json FILE]

A stream is pushed in 10 ms frames, as audio arrives, at equal qualities (quick, medium, high, very high). `speed` is
seconds of mono audio per second of processor time, the best of the rounds; `delay` how far the output was behind the
input before the flush, in ms; `snr` the worst over a sweep of sines from 20 Hz to 0.45 of the lower rate, in dB against
the exact sine (a drop of the gain counts as an error); `alias` the level that is left of a sine at 0.55 of the lower
rate, in dB of its own. What is not installed has dashes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from greenroom.media.audio import AudioFrame
from greenroom.media.audio_resampler import AudioResampler, AudioResamplerQuality

PAIRS = ((48000, 16000), (48000, 24000), (16000, 48000), (44100, 48000), (48000, 44100), (8000, 48000))
QUALITIES = ("quick", "medium", "high", "very_high")
SOXR_QUALITIES = {"quick": "QQ", "medium": "MQ", "high": "HQ", "very_high": "VHQ"}
AMPLITUDE = 30000.0

Push = Callable[[np.ndarray], np.ndarray]
Flush = Callable[[], np.ndarray]
Maker = Callable[[int, int, str], tuple[Push, Flush]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    makers: dict[str, Maker | None] = {
        "greenroom": ours,
        "official": official if find_spec("livekit") and find_spec("livekit.rtc") else None,
        "soxr": soxr_package if find_spec("soxr") else None,
    }
    print(f"{'':28}" + "".join(f"{name:>36}" for name in makers))
    print(f"{'rates':15}{'quality':13}" + f"{'speed':>12}{'delay':>8}{'snr':>8}{'alias':>8}" * len(makers))
    rows = []
    for source, target in PAIRS:
        for quality in QUALITIES:
            row = {name: maker and measure(maker, source, target, quality, options) for name, maker in makers.items()}
            rows.append({"from": source, "to": target, "quality": quality, **row})
            print(f"{source:6} > {target:6}{quality:>10}   " + "".join(map(columns, row.values())), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def columns(figures: dict[str, float] | None) -> str:
    if figures is None:
        return f"{'-':>12}{'-':>8}{'-':>8}{'-':>8}"
    return "{speed:11.0f}x{delay:8.1f}{snr:8.1f}{alias:8.1f}".format(**figures)


def measure(maker: Maker, source: int, target: int, quality: str, options: argparse.Namespace) -> dict[str, float]:
    noise = np.random.default_rng(1).integers(-20000, 20000, int(options.seconds * source)).astype(np.int16)
    blocks = [noise[at : at + source // 100] for at in range(0, noise.size, source // 100)]
    best = float("inf")
    for _ in range(options.rounds):
        push, flush = maker(source, target, quality)
        start = time.process_time()
        count = sum(push(block).size for block in blocks)
        best = min(best, time.process_time() - start)
        assert abs(count + flush().size - noise.size * target / source) <= 1
    low = min(source, target)
    sweep = np.geomspace(20, 0.45 * low, 12)
    return {
        "speed": options.seconds / best,
        "delay": 1000 * (noise.size / source - count / target),
        "snr": min(snr(maker, source, target, quality, float(frequency)) for frequency in sweep),
        "alias": alias(maker, source, target, quality, 0.55 * low) if source > target else float("nan"),
    }


def resampled(maker: Maker, source: int, target: int, quality: str, frequency: float) -> np.ndarray:
    tone = AMPLITUDE * np.sin(2 * np.pi * frequency * np.arange(source) / source)
    push, flush = maker(source, target, quality)
    out = np.concatenate([push(np.rint(tone).astype(np.int16)), flush()]).astype(np.float64)
    return out[out.size // 4 : out.size * 3 // 4]


def snr(maker: Maker, source: int, target: int, quality: str, frequency: float) -> float:
    out = resampled(maker, source, target, quality, frequency)
    at = np.arange(target // 4, target // 4 + out.size)
    wanted = AMPLITUDE * np.sin(2 * np.pi * frequency * at / target)
    return float(10 * np.log10(np.mean(wanted**2) / np.mean((out - wanted) ** 2)))


def alias(maker: Maker, source: int, target: int, quality: str, frequency: float) -> float:
    if frequency >= source / 2:
        return float("nan")
    out = resampled(maker, source, target, quality, frequency)
    return float(10 * np.log10(max(1e-9, np.mean(out**2)) / (AMPLITUDE**2 / 2)))


def ours(source: int, target: int, quality: str) -> tuple[Push, Flush]:
    return through(AudioResampler(source, target, quality=AudioResamplerQuality(quality)), AudioFrame, source)


def official(source: int, target: int, quality: str) -> tuple[Push, Flush]:
    from livekit import rtc

    resampler = rtc.AudioResampler(source, target, quality=rtc.AudioResamplerQuality(quality))
    return through(resampler, rtc.AudioFrame, source)


def through(resampler: AudioResampler, frame: type[AudioFrame], source: int) -> tuple[Push, Flush]:
    def joined(frames: list[AudioFrame]) -> np.ndarray:
        return np.concatenate([np.frombuffer(f.data, np.int16) for f in frames] or [np.zeros(0, np.int16)])

    def push(block: np.ndarray) -> np.ndarray:
        return joined(resampler.push(frame(bytearray(block.tobytes()), source, 1, block.size)))

    return push, lambda: joined(resampler.flush())


def soxr_package(source: int, target: int, quality: str) -> tuple[Push, Flush]:
    import soxr

    stream = soxr.ResampleStream(source, target, 1, dtype="int16", quality=SOXR_QUALITIES[quality])
    return stream.resample_chunk, lambda: stream.resample_chunk(np.zeros(0, np.int16), last=True)


if __name__ == "__main__":
    main()

"""720p30 video from capture to frame, beside the official client and server: delay and processor time.

    python benches/video.py [--codecs vp8 h264] [--rounds 3] [--seconds 8] [--json FILE]

A publisher and a subscriber run in one process, their server in another; no simulcast. The picture moves, and every
frame carries its number in blocks of light and dark, so that the delay of each is known: from `capture_frame` to the frame's being read.
The processor time is that of publisher and subscriber together.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _bench as bench

WIDTH, HEIGHT, FPS = 1280, 720, 30
BLOCK, BITS = 32, 16
TARGETS = {"vp8": {"delay, median (ms)": 59, "processor (cores)": 0.53}}
TARGETS["h264"] = {"delay, median (ms)": 27, "processor (cores)": 0.22}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codecs", nargs="+", default=["vp8", "h264"], choices=["vp8", "h264"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", nargs=3, metavar=("SDK", "URL", "CODEC"), help="one round, in this process")
    options = parser.parse_args()
    if options.run:
        return run(*options.run, options.seconds)
    everything = {}
    for codec in options.codecs:
        rounds: dict[str, list[dict[str, float]]] = {side.label: [] for side in bench.sides()}
        for _ in range(options.rounds):
            for side in bench.sides():
                with bench.server(side.server) as server:
                    arguments = ("--run", side.sdk, server.url, codec, "--seconds", options.seconds)
                    rounds[side.label].append(bench.child(Path(__file__), *arguments))
        columns = {label: bench.medians(each) for label, each in rounds.items()}
        bench.table(f"{codec}, {WIDTH}x{HEIGHT} at {FPS} frames per second", columns, TARGETS[codec])
        everything[codec] = rounds
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))


# -- one round ----------------------------------------------------------------------------------------------------


def run(sdk: str, url: str, codec: str, seconds: float) -> None:
    sys.stdout.write(json.dumps(asyncio.run(measure(sdk, url, codec, seconds))) + "\n")
    sys.stdout.flush()
    # The official client's threads would outlive the interpreter.
    os._exit(0)


async def measure(sdk: str, url: str, codec: str, seconds: float) -> dict[str, float]:
    rtc: Any = importlib.import_module(f"{sdk}.rtc")
    alice, bob = rtc.Room(), rtc.Room()
    subscribed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    bob.on("track_subscribed", lambda track, *_: subscribed.set_result(track))
    await bob.connect(url, bench.token("bob", "video"))
    await alice.connect(url, bench.token("alice", "video"))
    source = rtc.VideoSource(WIDTH, HEIGHT)
    options = rtc.TrackPublishOptions(
        source=rtc.TrackSource.SOURCE_CAMERA,
        simulcast=False,
        video_codec=getattr(rtc.VideoCodec, codec.upper()),
        video_encoding=rtc.VideoEncoding(max_bitrate=2_000_000, max_framerate=FPS),
    )
    track = rtc.LocalVideoTrack.create_video_track("camera", source)
    await alice.local_participant.publish_track(track, options)
    remote = await asyncio.wait_for(subscribed, 10)
    sent: dict[int, float] = {}
    delays: dict[int, float] = {}
    tasks = [asyncio.create_task(publish(rtc, source, sent)), asyncio.create_task(watch(rtc, remote, sent, delays))]
    await asyncio.sleep(4)
    delays.clear()
    captured, began, cpu = len(sent), time.monotonic(), sum(bench.cpu_seconds())
    await asyncio.sleep(seconds)
    elapsed, cpu = time.monotonic() - began, sum(bench.cpu_seconds()) - cpu
    for task in tasks:
        task.cancel()
    return {
        "delay, median (ms)": statistics.median(delays.values()) * 1e3,
        "delay, 99th percentile (ms)": bench.percentile(list(delays.values()), 0.99) * 1e3,
        "processor (cores)": cpu / elapsed,
        "memory (MB)": bench.rss(),
        "frames captured per second": (len(sent) - captured) / elapsed,
        "frames read per second": len(delays) / elapsed,
    }


async def publish(rtc: Any, source: Any, sent: dict[int, float]) -> None:
    began = time.monotonic()
    pictures = [bytearray(picture) for picture in moving_pictures()]
    for number in range(1 << BITS):
        picture = pictures[number % len(pictures)]
        stamp(picture, number)
        frame = rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.I420, picture)
        sent[number] = time.monotonic()
        source.capture_frame(frame)
        await asyncio.sleep(max(0.0, began + (number + 1) / FPS - time.monotonic()))


async def watch(rtc: Any, track: Any, sent: dict[int, float], delays: dict[int, float]) -> None:
    async for event in rtc.VideoStream(track, format=rtc.VideoBufferType.I420):
        now = time.monotonic()
        number = read_stamp(event.frame.data, event.frame.width)
        if number in sent:
            delays.setdefault(number, now - sent[number])


def moving_pictures() -> Iterator[bytes]:
    """A second of texture that moves, as I420."""
    import numpy as np

    noise = np.random.default_rng(1).integers(0, 40, (HEIGHT // 8, WIDTH // 4), dtype=np.uint8)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    ground = (60 + 60 * np.sin(columns / 90.0) + 60 * np.cos(rows / 70.0)).clip(16, 200).astype(np.uint8)
    ground = ground + np.kron(noise, np.ones((8, 4), np.uint8))
    chroma = bytes([110]) * (WIDTH * HEIGHT // 4) + bytes([150]) * (WIDTH * HEIGHT // 4)
    for index in range(FPS):
        yield np.roll(ground, index * 8, axis=1).tobytes() + chroma


def stamp(picture: bytearray, number: int) -> None:
    """Write the number in a row of blocks at the top."""
    row = b"".join((b"\xeb" if number >> bit & 1 else b"\x10") * BLOCK for bit in range(BITS))
    for line in range(BLOCK):
        picture[line * WIDTH : line * WIDTH + len(row)] = row


def read_stamp(luma: Any, width: int) -> int:
    at = BLOCK // 2 * width + BLOCK // 2
    return sum((luma[at + bit * BLOCK] > 128) << bit for bit in range(BITS))


if __name__ == "__main__":
    main()

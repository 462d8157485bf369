"""One round of video.py: python benches/_video.py SDK URL CODEC SECONDS"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import _probe as probe

WIDTH, HEIGHT, FPS = 1280, 720, 30
#: The number of a frame is written in squares of so many pixels, one per bit.
BLOCK, BITS = 32, 16


async def measure(sdk: str, url: str, codec: str, seconds: float) -> dict[str, float]:
    rtc: Any = importlib.import_module(f"{sdk}.rtc")
    alice, bob = rtc.Room(), rtc.Room()
    subscribed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    bob.on("track_subscribed", lambda track, *_: subscribed.set_result(track))
    await bob.connect(url, probe.token("bob", "video"))
    await alice.connect(url, probe.token("alice", "video"))
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
    captured, began, cpu = len(sent), time.monotonic(), sum(probe.cpu_seconds())
    await asyncio.sleep(seconds)
    elapsed, cpu = time.monotonic() - began, sum(probe.cpu_seconds()) - cpu
    for task in tasks:
        task.cancel()
    return {
        "delay, median (ms)": probe.median(list(delays.values())) * 1e3,
        "delay, 99th percentile (ms)": probe.percentile(list(delays.values()), 0.99) * 1e3,
        "processor (cores)": cpu / elapsed,
        "memory (MB)": probe.rss(),
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
    sdk, url, codec, seconds = sys.argv[1:]
    probe.finish(asyncio.run(measure(sdk, url, codec, float(seconds))))

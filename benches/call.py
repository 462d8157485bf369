"""A call's audio from end to end, beside the official client and server: delay, joining, and what it costs.

    python benches/call.py [--rounds 3] [--seconds 8] [--json FILE]

A publisher and a subscriber run in one process, their server in another. The publisher captures a frame of 10 ms every
10 ms; the delay is the time from handing over the first frame of a burst of tone to reading the first frame in which it is heard.
The official client goes through livekit-server if LIVEKIT_SERVER names its binary.
"""

from __future__ import annotations

import argparse
import asyncio
import array
import importlib
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import _bench as bench

RATE, FRAME = 48_000, 480
BURST_EVERY, BURST_FRAMES = 31, 5
JOINS = 5
TARGETS = {
    "delay, median (ms)": 60,
    "join (ms)": 50,
    "publish to subscribed (ms)": 80,
    "processor (cores)": 0.05,
    "memory (MB)": 45,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", nargs=2, metavar=("SDK", "URL"), help="one round, in this process")
    options = parser.parse_args()
    if options.run:
        return run(*options.run, options.seconds)
    rounds: dict[str, list[dict[str, float]]] = {side.label: [] for side in bench.sides()}
    for _ in range(options.rounds):
        for side in bench.sides():
            with bench.server(side.server) as server:
                figures = bench.child(Path(__file__), "--run", side.sdk, server.url, "--seconds", options.seconds)
                rounds[side.label].append(figures)
    columns = {label: bench.medians(each) for label, each in rounds.items()}
    bench.table("one publisher and one subscriber in one process: 48 kHz mono audio", columns, TARGETS)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))


# -- one round ----------------------------------------------------------------------------------------------------


def run(sdk: str, url: str, seconds: float) -> None:
    sys.stdout.write(json.dumps(asyncio.run(Call(sdk, url).measure(seconds))) + "\n")
    sys.stdout.flush()
    # The official client's threads end as they like.
    import os

    os._exit(0)


class Call:
    """Two rooms and a track between them."""

    def __init__(self, sdk: str, url: str) -> None:
        self.rtc: Any = importlib.import_module(f"{sdk}.rtc")
        self.url = url
        self.sent: list[float] = []
        self.heard: list[float] = []
        self.frames_read = 0

    async def measure(self, seconds: float) -> dict[str, float]:
        rtc = self.rtc
        joins = [await self.join_time(index) for index in range(JOINS)]
        alice, bob = rtc.Room(), rtc.Room()
        subscribed: asyncio.Future[tuple[float, Any]] = asyncio.get_running_loop().create_future()

        def on_subscribed(track: Any, *_: object) -> None:
            subscribed.set_result((time.monotonic(), track))

        bob.on("track_subscribed", on_subscribed)
        await bob.connect(self.url, bench.token("bob", "call"))
        await alice.connect(self.url, bench.token("alice", "call"))
        source = rtc.AudioSource(RATE, 1)
        track = rtc.LocalAudioTrack.create_audio_track("tone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        began = time.monotonic()
        await alice.local_participant.publish_track(track, options)
        at, remote = await asyncio.wait_for(subscribed, 10)
        tasks = [asyncio.create_task(self.publish(source)), asyncio.create_task(self.listen(remote))]
        await asyncio.sleep(2)
        figures = await self.steady(seconds)
        for task in tasks:
            task.cancel()
        delays = self.delays()
        result = {
            "delay, median (ms)": statistics.median(delays) * 1e3,
            "delay, 99th percentile (ms)": bench.percentile(delays, 0.99) * 1e3,
            "join (ms)": statistics.median(joins) * 1e3,
            "publish to subscribed (ms)": (at - began) * 1e3,
            **figures,
        }
        await asyncio.gather(alice.disconnect(), bob.disconnect())
        return result

    async def join_time(self, index: int) -> float:
        room = self.rtc.Room()
        token = bench.token("visitor", f"join {index}")
        began = time.monotonic()
        await room.connect(self.url, token)
        took = time.monotonic() - began
        await room.disconnect()
        return took

    async def steady(self, seconds: float) -> dict[str, float]:
        self.sent.clear()
        self.heard.clear()
        read, began, cpu = self.frames_read, time.monotonic(), sum(bench.cpu_seconds())
        switches = context_switches()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - began
        return {
            "processor (cores)": (sum(bench.cpu_seconds()) - cpu) / elapsed,
            "memory (MB)": bench.rss(),
            "threads": bench.status("Threads"),
            "wake-ups per second": (context_switches() - switches) / elapsed,
            "frames read per second": (self.frames_read - read) / elapsed,
        }

    async def publish(self, source: Any) -> None:
        silence, tone = (self.frame(volume) for volume in (0, 12_000))
        began = time.monotonic()
        index = 0
        while True:
            phase = index % BURST_EVERY
            if phase == 0:
                self.sent.append(time.monotonic())
            await source.capture_frame(tone if phase < BURST_FRAMES else silence)
            index += 1
            await asyncio.sleep(max(0.0, began + index * 0.01 - time.monotonic()))

    async def listen(self, track: Any) -> None:
        quiet = 0
        async for event in self.rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
            self.frames_read += 1
            if max(event.frame.data) < 2_000:
                quiet += 1
            else:
                if quiet > 10:
                    self.heard.append(time.monotonic())
                quiet = 0

    def frame(self, volume: int) -> Any:
        wave = (int(volume * math.sin(2 * math.pi * 1_000 * index / RATE)) for index in range(FRAME))
        return self.rtc.AudioFrame(array.array("h", wave).tobytes(), RATE, 1, FRAME)

    def delays(self) -> list[float]:
        """Each burst that was heard, against the last one sent before."""
        before = [max((sent for sent in self.sent if sent <= heard), default=math.nan) for heard in self.heard]
        return [heard - sent for heard, sent in zip(self.heard, before, strict=True) if heard - sent < 0.31]


def context_switches() -> int:
    total = 0
    for task in Path("/proc/self/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    return total


if __name__ == "__main__":
    main()

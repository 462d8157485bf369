"""One round of call.py: python benches/_call.py SDK URL SECONDS"""

from __future__ import annotations

import array
import asyncio
import importlib
import math
import sys
import time
from typing import Any

import _probe as probe

RATE, FRAME = 48_000, 480
#: In frames. The first of each burst is measured.
BURST_EVERY, BURST_FRAMES = 31, 5
JOINS = 5


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
        await bob.connect(self.url, probe.token("bob", "call"))
        await alice.connect(self.url, probe.token("alice", "call"))
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
            "delay, median (ms)": probe.median(delays) * 1e3,
            "delay, 99th percentile (ms)": probe.percentile(delays, 0.99) * 1e3,
            "join (ms)": probe.median(joins) * 1e3,
            "publish to subscribed (ms)": (at - began) * 1e3,
            **figures,
        }
        await asyncio.gather(alice.disconnect(), bob.disconnect())
        return result

    async def join_time(self, index: int) -> float:
        room = self.rtc.Room()
        token = probe.token("visitor", f"join {index}")
        began = time.monotonic()
        await room.connect(self.url, token)
        took = time.monotonic() - began
        await room.disconnect()
        return took

    async def steady(self, seconds: float) -> dict[str, float]:
        self.sent.clear()
        self.heard.clear()
        read, began, cpu = self.frames_read, time.monotonic(), sum(probe.cpu_seconds())
        switches = probe.context_switches()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - began
        return {
            "processor (cores)": (sum(probe.cpu_seconds()) - cpu) / elapsed,
            "memory (MB)": probe.rss(),
            "threads": probe.status("Threads"),
            "wake-ups per second": (probe.context_switches() - switches) / elapsed,
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


if __name__ == "__main__":
    probe.finish(asyncio.run(Call(sys.argv[1], sys.argv[2]).measure(float(sys.argv[3]))))

"""What forwarding costs a server, beside livekit-server: packets per second of processor time, memory per participant.

    python benches/forward.py [--subscribers 60 300] [--seconds 8] [--rounds 1] [--breakdown] [--json FILE]

One publisher sends Opus tracks to many subscribers, who discard what they get; all of them are clients of ours in other
processes, for both servers, and one room holds them. `packets` are the datagrams that the server received and sent, as
its clients count them, including feedback. --breakdown samples our server with `perf` where that works.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _bench as bench
import _probe as probe

ROOM = "forward"
RATE = 48_000
#: Audio tracks by the number of subscribers, so that both loads are about as heavy.
TRACKS = {60: 4, 300: 1}
JOINING_AT_ONCE = 6
MOST_SUBSCRIBERS_PER_PROCESS = 150
TARGETS = {"packets per core (1000/s)": 100, "memory per participant (kB)": 200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subscribers", nargs="+", type=int, default=[60, 300])
    parser.add_argument("--tracks", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--breakdown", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--load", nargs=4, metavar=("ROLE", "URL", "FIRST", "COUNT"), help="one loading process")
    options = parser.parse_args()
    if options.load:
        role, url, first, count = options.load
        return asyncio.run(load(role, url, int(first), int(count)))
    servers = ["greenroom"] + (["livekit"] if bench.official_server() else [])
    everything = {}
    for subscribers in options.subscribers:
        tracks = options.tracks or TRACKS.get(subscribers, 1)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name in servers:
                rounds[name].append(measure(name, subscribers, tracks, options))
        columns = {name: bench.medians(each) for name, each in rounds.items()}
        title = f"{subscribers} subscribers of {tracks} audio track{'s' if tracks > 1 else ''}"
        bench.table(title, columns, TARGETS)
        everything[subscribers] = rounds
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))


# -- the whole load, from outside ---------------------------------------------------------------------------------


def measure(kind: str, subscribers: int, tracks: int, options: argparse.Namespace) -> dict[str, float]:
    with bench.server(kind) as server, contextlib.ExitStack() as loads:
        time.sleep(1)
        before = probe.rss(server.pid)
        workers = [loads.enter_context(loader("publish", server.url, 0, tracks))]
        began = time.monotonic()
        for first in range(0, subscribers, MOST_SUBSCRIBERS_PER_PROCESS):
            count = min(MOST_SUBSCRIBERS_PER_PROCESS, subscribers - first)
            workers.append(loads.enter_context(loader("subscribe", server.url, first, count)))
        joined = time.monotonic() - began
        time.sleep(3)
        sampled = sample_with_perf(server.pid, options.seconds) if options.breakdown and kind == "greenroom" else None
        counts = [ask(worker) for worker in workers]
        user, system = probe.cpu_seconds(server.pid)
        threads = bench.thread_cpu(server.pid)
        at = time.monotonic()
        time.sleep(options.seconds)
        elapsed = time.monotonic() - at
        counts = [after - earlier for earlier, after in zip(counts, map(ask, workers), strict=True)]
        after = probe.cpu_seconds(server.pid)
        user, system = after[0] - user, after[1] - system
        media = sum(
            spent - threads.get(name, 0)
            for name, spent in bench.thread_cpu(server.pid).items()
            if name.startswith("greenroom-")
        )
        if sampled is not None:
            print(sampled.communicate()[0])
        memory = probe.rss(server.pid) - before
    packets = sum(counts)
    figures = {
        "packets per second (1000)": packets / elapsed / 1e3,
        "delivered of what was due": counts[1] / (subscribers * tracks * 50 * elapsed) if subscribers <= 150 else 0.0,
        "processor (cores)": (user + system) / elapsed,
        "packets per core (1000/s)": packets / (user + system) / 1e3,
        "microseconds per packet": (user + system) / packets * 1e6,
        "  of that in the kernel": system / packets * 1e6,
        "memory per participant (kB)": memory * 1e3 / (subscribers + 1),
        "time for all to join (s)": joined,
    }
    if kind == "greenroom":
        figures["  of that outside the media thread"] = max(0.0, user + system - media) / packets * 1e6
    if subscribers > MOST_SUBSCRIBERS_PER_PROCESS:
        del figures["delivered of what was due"]
    return figures


@contextlib.contextmanager
def loader(role: str, url: str, first: int, count: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--load", role, url, str(first), str(count)]
    with subprocess.Popen(
        command, env=bench.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(f"the {role} load did not come up")
            yield process
        finally:
            process.kill()


def ask(worker: subprocess.Popen[str]) -> int:
    """How many datagrams a loading process has sent and received."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("count\n")
    worker.stdin.flush()
    return int(worker.stdout.readline())


def sample_with_perf(pid: int, seconds: float) -> subprocess.Popen[str] | None:
    """Sample where the server's time goes; the text comes with `communicate`."""
    if shutil.which("perf") is None:
        print("no breakdown: `perf` is not installed")
        return None
    data = Path(tempfile.gettempdir()) / f"greenroom-forward-{pid}.perf"
    command = (
        f"perf record -q -e cpu-clock -F 997 -p {pid} -o {data} -- sleep {seconds} >/dev/null 2>&1; "
        f"perf report -i {data} --stdio --no-children --percent-limit 0.8 2>/dev/null | grep -v '^#'; rm -f {data}"
    )
    return subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True)


# -- one loading process ------------------------------------------------------------------------------------------


async def load(role: str, url: str, first: int, count: int) -> None:
    from greenroom import rtc
    from greenroom.runtime.bridge import bridge_for_loop

    loop = asyncio.get_running_loop()
    engine = bridge_for_loop().engine
    if role == "publish":
        kept: Any = await publish(rtc, url, count)
    else:
        kept = await subscribe(rtc, url, first, count)
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        figures = engine.statistics()
        print(figures["packets_in"] + figures["packets_out"], flush=True)
    del kept


async def publish(rtc: Any, url: str, tracks: int) -> Any:
    room = rtc.Room()
    await room.connect(url, probe.token("publisher", ROOM))
    wave = array.array("h", (int(9_000 * math.sin(2 * math.pi * 440 * index / RATE)) for index in range(RATE)))
    frame = rtc.AudioFrame(wave.tobytes(), RATE, 1, RATE)

    async def play(source: Any) -> None:
        while True:
            await source.capture_frame(frame)

    tasks = []
    for index in range(tracks):
        source = rtc.AudioSource(RATE, 1)
        track = rtc.LocalAudioTrack.create_audio_track(f"tone {index}", source)
        await room.local_participant.publish_track(track)
        tasks.append(asyncio.create_task(play(source)))
    return room, tasks


async def subscribe(rtc: Any, url: str, first: int, count: int) -> list[Any]:
    gate = asyncio.Semaphore(JOINING_AT_ONCE)

    async def join(index: int) -> Any:
        room = rtc.Room()
        subscribed = asyncio.Event()
        room.on("track_subscribed", lambda *_: subscribed.set())
        async with gate:
            await room.connect(url, probe.token(f"subscriber {index}", ROOM))
            await asyncio.wait_for(subscribed.wait(), 30)
        return room

    return await asyncio.gather(*(join(first + index) for index in range(count)))


if __name__ == "__main__":
    main()

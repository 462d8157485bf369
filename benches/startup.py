"""What the client costs before it does anything, beside the official one: import, joining, idle sources, interruption.

    python benches/startup.py [--rounds 5] [--json FILE]

Import time and memory are over bare Python's. "Until joined" is the processor time of the import, a room and joining,
with the server in another process: what an import only puts off shows there. The interruption: 5 s of audio are
captured in one frame, and after half a second the queue is cleared; the figure is how long it takes until the next
frame of 10 ms has been accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _bench as bench
import _probe as probe

SOURCES = 50
IMPORT, JOINED = "import (s of processor time)", "until joined (s of processor time)"
JOIN = """
import asyncio
import {sdk}.rtc
async def main():
    await {sdk}.rtc.Room().connect({url!r}, {token!r})
asyncio.get_event_loop_policy().new_event_loop().run_until_complete(main())
"""
TARGETS = {
    IMPORT: 0.10,
    "memory after import (MB)": 30,
    "threads for 50 idle sources": 0,
    "memory per idle source (kB)": 100,
    "interruption (ms)": 20,
    "interrupted capture returns (ms)": 20,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", metavar="SDK", help="one round, in this process")
    options = parser.parse_args()
    if options.run:
        probe.finish(measure(options.run))
    rounds: dict[str, list[dict[str, float]]] = {"greenroom": [], "livekit": []}
    for _ in range(options.rounds):
        for sdk, each in rounds.items():
            each.append(bench.child(Path(__file__).name, "--run", sdk))
    columns = {sdk: bench.medians(each) for sdk, each in rounds.items()}
    for sdk, each in rounds.items():
        # Other load on the machine only ever adds to these.
        for figure in (IMPORT, JOINED):
            columns[sdk][figure] = min(figures[figure] for figures in each)
    bench.table("before the first call", columns, TARGETS)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))


def measure(sdk: str) -> dict[str, float]:
    # argparse, json and asyncio are here already: import time is that of a program of some size, memory that of bare
    # Python, each measured in processes of their own.
    bare, bare_memory = fresh("pass")
    whole, whole_memory = fresh(f"import {sdk}.rtc")
    with bench.server("greenroom") as server:
        joined, _ = fresh(JOIN.format(sdk=sdk, url=server.url, token=probe.token("ada", "lobby")))
    rtc: Any = importlib.import_module(f"{sdk}.rtc")
    return {
        IMPORT: whole - bare,
        JOINED: joined - bare,
        "memory after import (MB)": whole_memory - bare_memory,
        **asyncio.run(idle_sources(rtc)),
        **asyncio.run(interruption(rtc)),
    }


def fresh(statement: str) -> tuple[float, float]:
    """Processor seconds for a statement in a new interpreter, and the interpreter's memory in MB after it."""
    program = (
        f"import time\nbegan = time.process_time()\n{statement}\ntook = time.process_time() - began\n"
        "print(took, [l for l in open('/proc/self/status') if l.startswith('VmRSS')][0].split()[1], flush=True)\n"
        "import os\nos._exit(0)"  # the official client's threads would outlive the interpreter
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    took, kilobytes = done.stdout.split()
    return float(took), int(kilobytes) * 1024 / 1e6


async def idle_sources(rtc: Any) -> dict[str, float]:
    first = rtc.AudioSource(48_000, 1)
    await asyncio.sleep(0.1)
    threads, memory = probe.status("Threads"), probe.rss()
    sources = [rtc.AudioSource(48_000, 1) for _ in range(SOURCES)]
    await asyncio.sleep(0.3)
    cpu = sum(probe.cpu_seconds())
    await asyncio.sleep(1)
    figures = {
        f"threads for {SOURCES} idle sources": probe.status("Threads") - threads,
        "memory per idle source (kB)": (probe.rss() - memory) * 1e3 / SOURCES,
        "processor for them (cores)": sum(probe.cpu_seconds()) - cpu,
    }
    for source in [first, *sources]:
        await source.aclose()
    return figures


async def interruption(rtc: Any) -> dict[str, float]:
    source = rtc.AudioSource(48_000, 1)
    long, short = (rtc.AudioFrame(bytes(2 * count), 48_000, 1, count) for count in (240_000, 480))
    playing = asyncio.create_task(source.capture_frame(long))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    source.clear_queue()
    errors = await capture(source, short)
    accepted = time.monotonic() - began
    await asyncio.wait([playing], timeout=10)
    returned = time.monotonic() - began
    await source.aclose()
    return {
        "interruption (ms)": accepted * 1e3,
        "errors until then": errors,
        "interrupted capture returns (ms)": returned * 1e3,
    }


async def capture(source: Any, frame: Any) -> int:
    """Capture a frame however often it takes; how many times it failed."""
    for errors in itertools.count():
        try:
            await source.capture_frame(frame)
            return errors
        except Exception:  # noqa: BLE001 - the official client raises no other
            await asyncio.sleep(0.01)
    raise AssertionError


if __name__ == "__main__":
    main()

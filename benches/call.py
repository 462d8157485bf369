"""A call's audio from end to end, beside the official client and server: delay, joining, and what it costs.

    python benches/call.py [--rounds 3] [--seconds 8] [--json FILE]

A publisher and a subscriber run in one process, their server in another. The publisher captures a frame of 10 ms every
10 ms; the delay is the time from handing over the first frame of a burst of tone to reading the first
frame in which it is heard. The official client goes through livekit-server if LIVEKIT_SERVER names its binary.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import _bench as bench

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
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {side.label: [] for side in bench.sides()}
    for _ in range(options.rounds):
        for side in bench.sides():
            with bench.server(side.server) as server:
                figures = bench.child("_call.py", side.sdk, server.url, options.seconds)
                rounds[side.label].append(figures)
    columns = {label: bench.medians(each) for label, each in rounds.items()}
    bench.table("one publisher and one subscriber in one process: 48 kHz mono audio", columns, TARGETS)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))


if __name__ == "__main__":
    main()

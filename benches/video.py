"""720p30 video from capture to frame, beside the official client and server: delay and processor time.

    python benches/video.py [--codecs vp8 h264] [--rounds 3] [--seconds 8] [--json FILE]

A publisher and a subscriber run in one process, their server in another; no simulcast. The picture moves, and every
frame carries its number in blocks of light and dark, so that the delay of each is known: from `capture_frame` to the
frame's being read. The processor time is that of publisher and subscriber together.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import _bench as bench

TARGETS = {"vp8": {"delay, median (ms)": 59, "processor (cores)": 0.53}}
TARGETS["h264"] = {"delay, median (ms)": 27, "processor (cores)": 0.22}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codecs", nargs="+", default=["vp8", "h264"], choices=["vp8", "h264"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    everything = {}
    for codec in options.codecs:
        rounds: dict[str, list[dict[str, float]]] = {side.label: [] for side in bench.sides()}
        for _ in range(options.rounds):
            for side in bench.sides():
                with bench.server(side.server) as server:
                    figures = bench.child("_video.py", side.sdk, server.url, codec, options.seconds)
                    rounds[side.label].append(figures)
        columns = {label: bench.medians(each) for label, each in rounds.items()}
        bench.table(f"{codec}, 1280x720 at 30 frames per second", columns, TARGETS[codec])
        everything[codec] = rounds
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()

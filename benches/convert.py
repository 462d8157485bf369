"""Time of every conversion between two encodings, beside OpenCV, swscale (through PyAV) and the official client.

    python benches/convert.py [--size 1280x720] [--rounds 30] [--json FILE]

One thread everywhere. Each figure is the shortest of many calls, because other load on the machine only ever adds time.
Ours is `VideoFrame.convert` as a program calls it. A competitor that is not installed, or cannot do a pair, has a dash;
the official client runs in a process of its own per pair, because some pairs end it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from greenroom.media import VideoBufferType as T
from greenroom.media import VideoFrame

AV_FORMATS = {
    T.RGBA: "rgba",
    T.ABGR: "abgr",
    T.ARGB: "argb",
    T.BGRA: "bgra",
    T.RGB24: "rgb24",
    T.I420: "yuv420p",
    T.I420A: "yuva420p",
    T.I422: "yuv422p",
    T.I444: "yuv444p",
    T.I010: "yuv420p10le",
    T.NV12: "nv12",
}
CV2_CODES = {
    (T.I420, T.RGBA): "COLOR_YUV2RGBA_I420",
    (T.I420, T.BGRA): "COLOR_YUV2BGRA_I420",
    (T.I420, T.RGB24): "COLOR_YUV2RGB_I420",
    (T.NV12, T.RGBA): "COLOR_YUV2RGBA_NV12",
    (T.NV12, T.BGRA): "COLOR_YUV2BGRA_NV12",
    (T.NV12, T.RGB24): "COLOR_YUV2RGB_NV12",
    (T.RGBA, T.I420): "COLOR_RGBA2YUV_I420",
    (T.BGRA, T.I420): "COLOR_BGRA2YUV_I420",
    (T.RGB24, T.I420): "COLOR_RGB2YUV_I420",
    (T.RGBA, T.BGRA): "COLOR_RGBA2BGRA",
    (T.BGRA, T.RGBA): "COLOR_BGRA2RGBA",
    (T.RGBA, T.RGB24): "COLOR_RGBA2RGB",
    (T.BGRA, T.RGB24): "COLOR_BGRA2RGB",
    (T.RGB24, T.RGBA): "COLOR_RGB2RGBA",
    (T.RGB24, T.BGRA): "COLOR_RGB2BGRA",
}
OFFICIAL = """
import sys, time
from livekit import rtc
width, height, source, target, rounds = map(int, sys.argv[1:])
data = bytearray(sys.stdin.buffer.read())
frame = rtc.VideoFrame(width, height, source, data)
best = 1e9
for _ in range(rounds):
    start = time.perf_counter()
    frame.convert(target)
    best = min(best, time.perf_counter() - start)
print(best)
"""


def shortest(call: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest of many calls."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def picture(width: int, height: int, type: T) -> VideoFrame:
    """A smooth picture with some noise, which is what cameras see."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(1).integers(0, 16, (height, width))
    red, green, blue = (x * 255 // width), (y * 255 // height), (x + y) % 256
    pixels = np.stack([red, green, blue, np.full_like(x, 200)], axis=2) + noise[..., None]
    return VideoFrame.from_ndarray(pixels.clip(0, 255).astype(np.uint8), T.RGBA).convert(type)


def cv2_call(frame: VideoFrame, target: T) -> Callable[[], object] | None:
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    name = CV2_CODES.get((frame.type, target))
    if name is None:
        return None
    code, source = getattr(cv2, name), frame.to_ndarray()
    out = cv2.cvtColor(source, code)
    return lambda: cv2.cvtColor(source, code, dst=out)


def swscale_call(frame: VideoFrame, target: T) -> Callable[[], object] | None:
    try:
        from av.video.reformatter import VideoReformatter
    except ImportError:
        return None
    if frame.type == target:
        return None
    reformatter, source, format = VideoReformatter(), frame.to_av(), AV_FORMATS[target]
    try:
        reformatter.reformat(source, format=format, threads=1)
    except ValueError:
        return None
    return lambda: reformatter.reformat(source, format=format, threads=1)


def official_time(frame: VideoFrame, target: T, rounds: int) -> float | None:
    arguments = [str(int(value)) for value in (frame.width, frame.height, frame.type, target, rounds)]
    try:
        done = subprocess.run(
            [sys.executable, "-c", OFFICIAL, *arguments], input=frame.data, capture_output=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return None
    return float(done.stdout) if done.returncode == 0 and done.stdout else None


def measure(width: int, height: int, rounds: int, types: list[T], official: bool) -> list[dict[str, object]]:
    """One row per pair: source, target, and milliseconds per contender (None = cannot)."""
    rows = []
    copy_of = bytearray(width * height * 4)
    memory = bytes(copy_of)
    bandwidth = len(memory) / shortest(lambda: copy_of.__setitem__(slice(None), memory), 200)
    for source in types:
        frame = picture(width, height, source)
        for target in types:
            ours = shortest(lambda frame=frame, target=target: frame.convert(target), rounds)
            others = {}
            for name, call in (("cv2", cv2_call(frame, target)), ("swscale", swscale_call(frame, target))):
                others[name] = None if call is None else shortest(call, rounds)
            others["official"] = official_time(frame, target, max(5, rounds // 3)) if official else None
            moved = frame.data.nbytes + frame.convert(target).data.nbytes
            row: dict[str, object] = {"source": source.name, "target": target.name, "ours": ours * 1e3}
            row |= {name: None if value is None else value * 1e3 for name, value in others.items()}
            row["copies"] = ours * bandwidth / (moved / 2)
            rows.append(row)
    return rows


def show(rows: list[dict[str, object]]) -> None:
    def number(value: object) -> str:
        return f"{value:9.3f}" if isinstance(value, float) else f"{'-':>9}"

    print(f"{'ms':14}{'ours':>9}{'cv2':>9}{'swscale':>9}{'official':>9}   ours / copy of as many bytes")
    for row in rows:
        names = f"{row['source']}>{row['target']}"
        figures = "".join(number(row[name]) for name in ("ours", "cv2", "swscale", "official"))
        print(f"{names:14}{figures}{number(row['copies'])}")
    conclude(rows)


def conclude(rows: list[dict[str, object]]) -> None:
    """What the figures mean for the targets that the project has set itself."""
    yuv, rgb = {"I420", "NV12"}, {"RGBA", "BGRA", "ARGB", "ABGR"}
    ratios, gains = [], []
    for row in rows:
        rivals = [row[name] for name in ("cv2", "swscale") if isinstance(row[name], float)]
        ends = {row["source"], row["target"]}
        if rivals and ends & yuv and ends & rgb:
            ratios.append((row["ours"] / min(rivals), f"{row['source']}>{row['target']}"))
        if isinstance(row["official"], float) and row["source"] != row["target"]:
            gains.append(row["official"] / row["ours"])
    if ratios:
        worst = ", ".join(f"{name} {ratio:.2f}" for ratio, name in sorted(ratios, reverse=True)[:4])
        print(f"\nI420/NV12 <-> four-byte RGB, time over the better of OpenCV and swscale: worst {worst}")
    if gains:
        print(f"official client's time over ours, mean of {len(gains)} pairs it can do: {sum(gains) / len(gains):.1f}")
    slowest = sorted(((row["copies"], f"{row['source']}>{row['target']}") for row in rows), reverse=True)[:6]
    print("most copies' worth of time: " + ", ".join(f"{name} {copies:.1f}" for copies, name in slowest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--types", default=",".join(member.name for member in T))
    parser.add_argument("--no-official", action="store_true")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    types = [T.Value(name) for name in options.types.split(",")]
    rows = measure(width, height, options.rounds, types, not options.no_official)
    show(rows)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()

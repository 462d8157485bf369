"""The pairs that the official client can convert, beside ours."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest

from greenroom.media import VideoBufferType, VideoFrame

pytest.importorskip("livekit.rtc")
pytestmark = pytest.mark.interop

T = VideoBufferType
# compat.md's list; the others raise or end the process.
PAIRS = {
    T.RGBA: [T.BGRA, T.I420],
    T.ARGB: [T.I420],
    T.BGRA: [T.RGBA, T.I420],
    T.RGB24: [T.I420],
    T.I420: [T.RGBA, T.ABGR, T.ARGB, T.BGRA, T.RGB24, T.I420],
    T.I420A: [T.I420, T.I420A],
    T.I422: [T.RGBA, T.ABGR, T.ARGB, T.I420, T.I422],
    T.I444: [T.RGBA, T.BGRA, T.I420, T.I444],
    T.NV12: [T.RGBA, T.BGRA, T.I420],
}
SCRIPT = """
import base64, json, sys
from livekit import rtc
for line in sys.stdin:
    width, height, source, target, flip_y, data = json.loads(line)
    frame = rtc.VideoFrame(width, height, source, bytearray(base64.b64decode(data)))
    out = frame.convert(target, flip_y=flip_y)
    print(base64.b64encode(bytes(out.data)).decode())
"""


def test_same_bytes_to_within_three_codes():
    """Its arithmetic has six to eight bits, which explains up to three codes."""
    cases = []
    for source, targets in PAIRS.items():
        for size in [(64, 48), (33, 17)]:
            y, x = np.mgrid[0 : size[1], 0 : size[0]] / 64
            pixels = np.stack([250 * x, 250 * y, 125 * (x + y), np.full_like(x, 255)], axis=2)
            frame = VideoFrame.from_ndarray(pixels.astype(np.uint8)).convert(source)
            cases += [(frame, target, flip_y) for target in targets for flip_y in (False, True)]
    lines = [
        json.dumps([f.width, f.height, f.type, target, flip_y, base64.b64encode(f.data).decode()])
        for f, target, flip_y in cases
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input="\n".join(lines), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    differences = {}
    for (frame, target, flip_y), line in zip(cases, done.stdout.split(), strict=True):
        theirs = np.frombuffer(base64.b64decode(line), np.uint8).astype(int)
        ours = np.frombuffer(frame.convert(target, flip_y=flip_y).data, np.uint8).astype(int)
        assert theirs.size == ours.size
        name = f"{frame.type.name} -> {target.name} {frame.width}x{frame.height} flip={flip_y}"
        differences[name] = int(np.abs(theirs - ours).max())
    assert {name: value for name, value in differences.items() if value > 3} == {}

"""The cross-check of all pairs of encodings: `python -m greenroom.media`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenroom.media.video import VideoFrame
from greenroom.media.video_types import ColorMatrix, ColorRange, VideoBufferType

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "worst_error"]

_SIZES = [(1, 1), (2, 2), (7, 5), (33, 2), (64, 48), (131, 67)]


def worst_error(source: VideoBufferType, target: VideoBufferType, sizes: Sequence[tuple[int, int]] = _SIZES) -> float:
    """The largest distance of any sample of `source` -> `target` from its exact value, in 8-bit codes.

    Noise of several sizes, both matrices, both ranges, upright and turned over. 0.5 is perfect rounding.
    """
    import numpy as np

    from greenroom.media.video_reference import expected_samples, samples

    unit = 4.0 if target is VideoBufferType.I010 else 1.0
    worst = 0.0
    for frame in _noise(source, sizes):
        for matrix in ColorMatrix:
            for range in ColorRange:
                for flip_y in (False, True):
                    converted = frame.convert(target, flip_y=flip_y, matrix=matrix, range=range)
                    expected = expected_samples(frame, target, flip_y=flip_y, matrix=matrix, range=range)
                    worst = max(worst, float(np.abs(samples(converted) - expected).max()) / unit)
    return worst


def main(arguments: list[str] | None = None) -> int:
    """Print the table. Returns 1 when a pair is off by more than one code."""
    parser = argparse.ArgumentParser(prog="python -m greenroom.media", description=__doc__)
    parser.parse_args(arguments)
    lines = ["largest error in 8-bit codes (0.50 is perfect rounding), rows to columns:", ""]
    lines.append(" " * 7 + "".join(f"{target.name:>7}" for target in VideoBufferType))
    failed = 0
    for source in VideoBufferType:
        errors = [worst_error(source, target) for target in VideoBufferType]
        failed += sum(error > 1.0 for error in errors)
        lines.append(f"{source.name:7}" + "".join(f"{error:7.2f}" for error in errors))
    count = len(VideoBufferType) ** 2
    lines += ["", f"{count - failed} of {count} pairs are within one code."]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if failed else 0


def _noise(type: VideoBufferType, sizes: Sequence[tuple[int, int]]) -> Iterator[VideoFrame]:
    import numpy as np

    random = np.random.default_rng(7)
    for width, height in sizes:
        frame = VideoFrame(1, 1, VideoBufferType.RGBA, bytes(4)).resize(width, height).convert(type)
        if type is VideoBufferType.I010:
            content = random.integers(0, 1024, frame.data.nbytes // 2, dtype=np.uint16)
        else:
            content = random.integers(0, 256, frame.data.nbytes, dtype=np.uint8)
        frame.data[:] = content.tobytes()
        yield frame

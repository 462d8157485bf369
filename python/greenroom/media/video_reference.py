"""What a conversion means, in floating point with numpy: the judge of the fast one, and sharing nothing with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from greenroom.media.video import VideoFrame
from greenroom.media.video_types import ColorMatrix, ColorRange, VideoBufferType

__all__ = ["expected_samples", "samples"]

_Floats = NDArray[np.float64]
#: Byte positions of R, G, B and A.
_ORDERS = {
    VideoBufferType.RGBA: (0, 1, 2, 3),
    VideoBufferType.ABGR: (3, 2, 1, 0),
    VideoBufferType.ARGB: (1, 2, 3, 0),
    VideoBufferType.BGRA: (2, 1, 0, 3),
    VideoBufferType.RGB24: (0, 1, 2),
}
_LUMA_WEIGHTS = {ColorMatrix.BT601: (0.299, 0.587, 0.114), ColorMatrix.BT709: (0.2126, 0.7152, 0.0722)}


@dataclass(frozen=True, slots=True)
class _Codes:
    """Black, and the span to white; the middle of chroma, and its span; the highest code."""

    black: float
    luma: float
    middle: float
    chroma: float
    most: float


def samples(frame: VideoFrame) -> _Floats:
    """All samples of a frame in the order they lie in memory."""
    dtype = "<u2" if frame.type is VideoBufferType.I010 else np.uint8
    return np.frombuffer(frame.data, dtype=dtype).astype(np.float64)


def expected_samples(
    frame: VideoFrame,
    type: VideoBufferType,
    *,
    flip_y: bool = False,
    matrix: ColorMatrix = ColorMatrix.BT601,
    range: ColorRange = ColorRange.LIMITED,
) -> _Floats:
    """The samples that `frame.convert(type, ...)` should have, not rounded."""
    width, height = frame.width, frame.height
    alpha = _alpha(frame)
    if flip_y:
        alpha = alpha[::-1]
    if type in _ORDERS:
        rgb = _rgb(frame, matrix, range)
        rgb = rgb[::-1] if flip_y else rgb
        out = np.empty((height, width, len(_ORDERS[type])))
        for source, position in enumerate(_ORDERS[type]):
            out[..., position] = rgb[..., source] if source < 3 else alpha
        return out.ravel()
    y, u, v = _yuv(frame, type, flip_y, matrix, range)
    if type is VideoBufferType.NV12:
        return np.concatenate([y.ravel(), np.stack([u, v], axis=2).ravel()])
    planes = [y.ravel(), u.ravel(), v.ravel()]
    return np.concatenate([*planes, alpha.ravel()] if type is VideoBufferType.I420A else planes)


def _codes(type: VideoBufferType, range: ColorRange) -> _Codes:
    unit = 4.0 if type is VideoBufferType.I010 else 1.0
    most = 256 * unit - 1
    if range is ColorRange.FULL:
        return _Codes(0.0, most, 128 * unit, most, most)
    return _Codes(16 * unit, 219 * unit, 128 * unit, 224 * unit, most)


def _sampling(type: VideoBufferType) -> tuple[int, int]:
    """Columns and rows of pixels per chroma sample."""
    return {VideoBufferType.I444: (1, 1), VideoBufferType.I422: (2, 1)}.get(type, (2, 2))


def _alpha(frame: VideoFrame) -> _Floats:
    if frame.type is VideoBufferType.I420A:
        return frame.plane_arrays()[3].astype(np.float64)
    order = _ORDERS.get(frame.type, ())
    if len(order) == 4:
        return frame.plane_arrays()[0][..., order[3]].astype(np.float64)
    return np.full((frame.height, frame.width), 255.0)


def _planes(frame: VideoFrame) -> tuple[_Floats, _Floats, _Floats]:
    planes: list[NDArray[Any]] = frame.plane_arrays()
    if frame.type is VideoBufferType.NV12:
        planes = [planes[0], planes[1][..., 0], planes[1][..., 1]]
    y, u, v = (plane.astype(np.float64) for plane in planes[:3])
    return y, u, v


def _rgb(frame: VideoFrame, matrix: ColorMatrix, range: ColorRange) -> _Floats:
    if frame.type in _ORDERS:
        order = list(_ORDERS[frame.type][:3])
        return frame.plane_arrays()[0][..., order].astype(np.float64)
    codes = _codes(frame.type, range)
    luma, *chroma = _planes(frame)
    columns, rows = _sampling(frame.type)
    cb, cr = ((_repeat(plane, columns, rows, luma.shape) - codes.middle) / codes.chroma for plane in chroma)
    y = (luma - codes.black) / codes.luma
    red, green, blue = _LUMA_WEIGHTS[matrix]
    r = y + 2 * (1 - red) * cr
    b = y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / green
    clipped: _Floats = np.clip(np.stack([r, g, b], axis=2) * 255.0, 0.0, 255.0)
    return clipped


def _yuv(
    frame: VideoFrame, type: VideoBufferType, flip_y: bool, matrix: ColorMatrix, range: ColorRange
) -> tuple[_Floats, _Floats, _Floats]:
    new = _codes(type, range)
    columns, rows = _sampling(type)
    if frame.type in _ORDERS:
        rgb = _rgb(frame, matrix, range) / 255.0
        rgb = rgb[::-1] if flip_y else rgb
        means = np.stack([_mean(rgb[..., channel], columns, rows) for channel in (0, 1, 2)], axis=2)
        weights = np.array(_LUMA_WEIGHTS[matrix])
        cb = (means[..., 2] - means @ weights) / (2 * (1 - weights[2]))
        cr = (means[..., 0] - means @ weights) / (2 * (1 - weights[0]))
        y, u, v = rgb @ weights * new.luma + new.black, cb * new.chroma + new.middle, cr * new.chroma + new.middle
    else:
        old = _codes(frame.type, range)
        luma, *chroma = _planes(frame)
        y = (luma - old.black) / old.luma * new.luma + new.black
        y = y[::-1] if flip_y else y
        moved = (_resample(plane, frame, type, flip_y) for plane in chroma)
        u, v = ((plane - old.middle) / old.chroma * new.chroma + new.middle for plane in moved)
    return np.clip(y, 0, new.most), np.clip(u, 0, new.most), np.clip(v, 0, new.most)


def _resample(plane: _Floats, frame: VideoFrame, type: VideoBufferType, flip_y: bool) -> _Floats:
    """Chroma in another sampling; turned over while it has every row."""
    old_columns, old_rows = _sampling(frame.type)
    columns, rows = _sampling(type)
    if old_rows == rows:
        old_rows = rows = 1
        full = _repeat(plane, old_columns, 1, (plane.shape[0], frame.width))
    else:
        full = _repeat(plane, old_columns, old_rows, (frame.height, frame.width))
    return _mean(full[::-1] if flip_y else full, columns, rows)


def _repeat(plane: _Floats, columns: int, rows: int, shape: tuple[int, ...]) -> _Floats:
    return plane.repeat(rows, axis=0).repeat(columns, axis=1)[: shape[0], : shape[1]]


def _mean(plane: _Floats, columns: int, rows: int) -> _Floats:
    """Means of blocks; what sticks out at the right or bottom is as the last pixel there."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % rows), (0, -width % columns)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    mean: _Floats = blocks.mean(axis=(1, 3))
    return mean

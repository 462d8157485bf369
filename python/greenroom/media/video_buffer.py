"""Flat views of what callers pass as pixels, and the layouts they must fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import ArgumentError, FrameError
from greenroom.media.video_types import VideoBufferType

__all__ = ["Layout", "PlaneLayout", "flat_view", "layout_of", "parse_type"]


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """Where one plane lies in the bytes of a frame.

    Attributes:
        offset: of its first byte.
        row: bytes per row, which is also the stride.
        rows: number of rows.
    """

    offset: int
    row: int
    rows: int

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.row * self.rows


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies in the bytes of a frame: planes one after the other, rows without gaps."""

    planes: tuple[PlaneLayout, ...]
    size: int


def parse_type(value: int) -> VideoBufferType:
    """The encoding with that number.

    Raises:
        FrameError: there is none.
    """
    try:
        return VideoBufferType(value)
    except ValueError:
        names = ", ".join(f"{member.name} ({member.value})" for member in VideoBufferType)
        raise FrameError(f"{value!r} is not a video buffer type; these are: {names}") from None


def layout_of(type: VideoBufferType, width: int, height: int) -> Layout:
    """The layout of a frame of `width` x `height` pixels.

    Raises:
        FrameError: a size below 1 or above 16384.
        ArgumentError: a size that is not an integer.
    """
    return _layout_of(type, check.index("width", width), check.index("height", height))


def flat_view(data: Any, type: VideoBufferType) -> memoryview:
    """All bytes of a buffer as one row of unsigned bytes, without a copy.

    Args:
        data: anything with the buffer protocol, of bytes; for I010 also of 16-bit integers.
        type: what the bytes are to be.

    Raises:
        FrameError: the buffer is not contiguous, or its items are neither bytes nor, for I010, 16-bit integers.
        ArgumentError: `data` has no buffer.
    """
    try:
        view = memoryview(data)
    except TypeError:
        raise ArgumentError(f"data must be bytes or another buffer, not {data!r:.60}") from None
    allowed = ("B", "b", "c", "H", "h") if type is VideoBufferType.I010 else ("B", "b", "c")
    if view.format.lstrip("@=<") not in allowed:
        raise FrameError(f"{type.name} data is made of {' or '.join(allowed)} items, not of {view.format!r}")
    if not view.c_contiguous:
        raise FrameError("the buffer is not contiguous: copy it first, e.g. with bytes() or numpy.ascontiguousarray()")
    if view.format[0] in "@=<":
        # memoryview.cast() refuses ctypes' spelling of the native format.
        return memoryview(_engine.FlatBuffer(view))
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


@lru_cache(maxsize=256)
def _layout_of(type: VideoBufferType, width: int, height: int) -> Layout:
    try:
        shapes = _engine.plane_shapes(type, width, height)
    except OverflowError:
        raise FrameError(f"{width} and {height} cannot be a size in pixels") from None
    planes, offset = [], 0
    for row, rows in shapes:
        planes.append(PlaneLayout(offset, row, rows))
        offset += row * rows
    return Layout(tuple(planes), offset)

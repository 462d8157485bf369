"""The numbers of pictures: encodings, rotations, colour matrices and ranges, scaling filters."""

from __future__ import annotations

from enum import IntEnum

from greenroom.media.named_enum import NamedIntEnum

__all__ = ["ColorMatrix", "ColorRange", "ScaleFilter", "VideoBufferType", "VideoRotation"]


class VideoBufferType(NamedIntEnum):
    """How a picture lies in memory. Packed names are the order of the *bytes*: RGBA is R, G, B, A.

    Chroma planes of halved size round up: a picture of width w has (w + 1) // 2 chroma samples per row.
    """

    RGBA = 0
    ABGR = 1
    ARGB = 2
    BGRA = 3
    RGB24 = 4
    I420 = 5
    I420A = 6
    I422 = 7
    I444 = 8
    I010 = 9
    NV12 = 10


class VideoRotation(NamedIntEnum):
    """How far a picture must be turned clockwise to be upright."""

    VIDEO_ROTATION_0 = 0
    VIDEO_ROTATION_90 = 1
    VIDEO_ROTATION_180 = 2
    VIDEO_ROTATION_270 = 3

    @property
    def degrees(self) -> int:
        """0, 90, 180 or 270."""
        return 90 * int(self)


class ColorMatrix(IntEnum):
    """Weights between RGB and YUV. Cameras over WebRTC send BT.601."""

    BT601 = 0
    BT709 = 1


class ColorRange(IntEnum):
    """Codes of black and white in YUV: 16 and 235 (LIMITED), or 0 and 255 (FULL)."""

    LIMITED = 0
    FULL = 1


class ScaleFilter(IntEnum):
    """How pixels of another size are made.

    AREA, the mean of what a new pixel covers, is fastest for half the size; BILINEAR is smoother.
    """

    NEAREST = 0
    BILINEAR = 1
    AREA = 2

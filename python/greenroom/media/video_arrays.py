"""Video frames as numpy arrays. numpy is slow to load, so this module is imported only where an array is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from greenroom.errors import FrameError
from greenroom.media.video_types import VideoBufferType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from greenroom.media.video import VideoFrame

_PACKED = {
    VideoBufferType.RGBA: 4,
    VideoBufferType.ABGR: 4,
    VideoBufferType.ARGB: 4,
    VideoBufferType.BGRA: 4,
    VideoBufferType.RGB24: 3,
}
#: Samples of a frame per two pixels, where all rows can have the picture's width.
_HALF_ROWS = {
    VideoBufferType.I420: 3,
    VideoBufferType.NV12: 3,
    VideoBufferType.I010: 3,
    VideoBufferType.I422: 4,
    VideoBufferType.I420A: 5,
}


def to_ndarray(frame: VideoFrame) -> NDArray[Any]:
    """See `VideoFrame.to_ndarray`."""
    shape, typestr = array_shape(frame)
    return np.frombuffer(frame.data, dtype=typestr).reshape(shape)


def array_shape(frame: VideoFrame) -> tuple[tuple[int, ...], str]:
    """Shape and numpy type string of a frame's array."""
    width, height = frame.width, frame.height
    typestr = "<u2" if frame.type is VideoBufferType.I010 else "|u1"
    if frame.type in _PACKED:
        return (height, width, _PACKED[frame.type]), typestr
    if frame.type is VideoBufferType.I444:
        return (3, height, width), typestr
    if width % 2 == 0 and (height % 2 == 0 or frame.type is VideoBufferType.I422):
        return (height * _HALF_ROWS[frame.type] // 2, width), typestr
    return (frame.data.nbytes // int(typestr[-1]),), typestr


def plane_arrays(frame: VideoFrame) -> list[NDArray[Any]]:
    """See `VideoFrame.plane_arrays`."""
    if frame.type in _PACKED:
        return [to_ndarray(frame)]
    dtype = "<u2" if frame.type is VideoBufferType.I010 else "|u1"
    arrays: list[NDArray[Any]] = []
    for plane, stride in frame._strided_planes():
        array: NDArray[Any] = np.frombuffer(plane, dtype=dtype).reshape(plane.nbytes // stride, -1)
        is_pairs = frame.type is VideoBufferType.NV12 and arrays
        arrays.append(array.reshape(array.shape[0], -1, 2) if is_pairs else array)
    return arrays


def frame_parts(
    array: NDArray[Any], type: VideoBufferType, width: int | None, height: int | None
) -> tuple[int, int, VideoBufferType, memoryview]:
    """Width, height, type and bytes of the frame that an array holds.

    Raises:
        FrameError: the dtype or the shape does not fit the type.
    """
    array = np.asarray(array)
    wanted = np.dtype(np.uint16 if type is VideoBufferType.I010 else np.uint8)
    if array.dtype != wanted:
        raise FrameError(f"a {type.name} array has the dtype {wanted}, not {array.dtype}")
    if width is None or height is None:
        if width is not height:
            raise FrameError("give both width and height, or neither")
        width, height = _size_of(array, type)
    return width, height, type, np.ascontiguousarray(array).reshape(-1).data


def _size_of(array: NDArray[Any], type: VideoBufferType) -> tuple[int, int]:
    shape = array.shape
    if type in _PACKED:
        expected = f"(height, width, {_PACKED[type]})"
        if array.ndim == 3 and shape[2] == _PACKED[type]:
            return shape[1], shape[0]
    elif type is VideoBufferType.I444:
        expected = "(3, height, width)"
        if array.ndim == 3 and shape[0] == 3:
            return shape[2], shape[1]
    else:
        halves = _HALF_ROWS[type]
        expected = f"(height * {halves} // 2, width) of an even size"
        if array.ndim == 2 and shape[1] % 2 == 0 and shape[0] % halves == 0:
            return shape[1], shape[0] // halves * 2
        if array.ndim == 2 and type is VideoBufferType.I422 and shape[0] % 2 == 0 and shape[1] % 2 == 0:
            return shape[1], shape[0] // 2
    raise FrameError(f"a {type.name} array has the shape {expected}, not {shape}; otherwise give width and height")

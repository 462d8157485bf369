"""Video frames as Pillow and PyAV images, for programs that have those installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenroom import _engine
from greenroom.errors import ArgumentError, FrameError
from greenroom.media.video import VideoFrame
from greenroom.media.video_types import VideoBufferType

if TYPE_CHECKING:
    import av
    from PIL import Image

_AV_FORMATS = {
    VideoBufferType.RGBA: "rgba",
    VideoBufferType.ABGR: "abgr",
    VideoBufferType.ARGB: "argb",
    VideoBufferType.BGRA: "bgra",
    VideoBufferType.RGB24: "rgb24",
    VideoBufferType.I420: "yuv420p",
    VideoBufferType.I420A: "yuva420p",
    VideoBufferType.I422: "yuv422p",
    VideoBufferType.I444: "yuv444p",
    VideoBufferType.I010: "yuv420p10le",
    VideoBufferType.NV12: "nv12",
}
_AV_TYPES = {name: type for type, name in _AV_FORMATS.items()}


def to_pil(frame: VideoFrame) -> Image.Image:
    """See `VideoFrame.to_pil`."""
    from PIL import Image

    if frame.type not in (VideoBufferType.RGBA, VideoBufferType.RGB24):
        has_alpha = frame.type in (
            VideoBufferType.ABGR,
            VideoBufferType.ARGB,
            VideoBufferType.BGRA,
            VideoBufferType.I420A,
        )
        frame = frame.convert(VideoBufferType.RGBA if has_alpha else VideoBufferType.RGB24)
    mode = "RGBA" if frame.type is VideoBufferType.RGBA else "RGB"
    # Pillow's own annotation leaves memoryview out.
    data: Any = frame.data
    return Image.frombuffer(mode, (frame.width, frame.height), data, "raw", mode, 0, 1)


def from_pil(image: Image.Image) -> VideoFrame:
    """See `VideoFrame.from_pil`."""
    if not hasattr(image, "has_transparency_data"):
        raise ArgumentError(f"image must be a Pillow image, not {image!r:.60}")
    mode, type = ("RGBA", VideoBufferType.RGBA) if image.has_transparency_data else ("RGB", VideoBufferType.RGB24)
    return VideoFrame(image.width, image.height, type, image.convert(mode).tobytes())


def to_av(frame: VideoFrame) -> av.VideoFrame:
    """See `VideoFrame.to_av`."""
    import av

    image = av.VideoFrame(frame.width, frame.height, _AV_FORMATS[frame.type])
    size = (frame.width, frame.height)
    _engine.convert_planes(frame.type, size, frame._strided_planes(), frame.type, _av_planes(image))
    return image


def from_av(image: av.VideoFrame) -> VideoFrame:
    """See `VideoFrame.from_av`."""
    if not hasattr(image, "format"):
        raise ArgumentError(f"frame must be an av.VideoFrame, not {image!r:.60}")
    type = _AV_TYPES.get(image.format.name)
    if type is None:
        raise FrameError(f"no encoding has PyAV's format {image.format.name!r}; these have: {', '.join(_AV_TYPES)}")
    return VideoFrame.from_planes(image.width, image.height, type, _av_planes(image))


def _av_planes(image: Any) -> list[tuple[memoryview, int]]:
    return [(memoryview(plane), plane.line_size) for plane in image.planes]

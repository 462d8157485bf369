"""`VideoSource`: pictures in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import FrameError
from greenroom.media.video import VideoFrame
from greenroom.media.video_types import VideoRotation
from greenroom.rtc._source import MediaSource
from greenroom.rtc.options import FrameMetadata

if TYPE_CHECKING:
    from greenroom.runtime.bridge import Bridge

__all__ = ["VideoSource"]

#: Pixels; more is a mistake in units.
_LONGEST_SIDE = 65_535


class VideoSource(MediaSource[_engine.VideoSource]):
    """The newest picture of a video. It keeps no queue: each captured frame goes straight to the encoders.

    Args:
        width, height: the usual size, from which simulcast layers are chosen. Frames may have another.
        is_screencast: text and detail matter more than motion.

    Raises:
        ConfigError: the size is not 1 to 65535 each way.
    """

    def __init__(self, width: int, height: int, *, is_screencast: bool = False) -> None:
        self._width = check.whole("width in pixels", width, 1, _LONGEST_SIDE)
        self._height = check.whole("height in pixels", height, 1, _LONGEST_SIDE)
        self._is_screencast = check.flag("is_screencast", is_screencast)
        super().__init__()

    @property
    def width(self) -> int:
        """Declared width in pixels."""
        return self._width

    @property
    def height(self) -> int:
        """Declared height in pixels."""
        return self._height

    def capture_frame(
        self,
        frame: VideoFrame,
        *,
        timestamp_us: int = 0,
        rotation: int = 0,
        metadata: FrameMetadata | None = None,
    ) -> None:
        """Show this frame from now on. Returns when it was converted, so its buffer may be reused. Not a coroutine.

        Args:
            frame: any of the eleven encodings, any size.
            timestamp_us: when it was taken, in microseconds; 0 = now.
            rotation: a `VideoRotation`: how the viewer must turn it; the pixels are not turned.
            metadata: accepted and not sent yet.

        Raises:
            FrameError: the frame's data does not fit its size and type, or there is no such rotation.
        """
        check.instance("frame", frame, VideoFrame)
        check.given(check.instance, "metadata", metadata, FrameMetadata)
        timestamp_us = check.whole("timestamp_us", timestamp_us, -(2**63), 2**63 - 1)
        if self._closed:
            return
        try:
            degrees = VideoRotation(rotation).degrees
        except ValueError:
            names = ", ".join(f"{each.name} ({each.value})" for each in VideoRotation)
            raise FrameError(f"rotation {rotation!r} is not a VideoRotation; these are: {names}") from None
        native = self._open()
        native.capture(int(frame.type), frame.width, frame.height, frame.data, timestamp_us, degrees)

    def _make(self, bridge: Bridge, handle: int) -> _engine.VideoSource:
        return _engine.VideoSource(bridge.engine, handle, self._width, self._height, self._is_screencast)

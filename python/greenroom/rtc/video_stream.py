"""`VideoStream`: the pictures of a track as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import ConfigError, FrameError
from greenroom.media.video import VideoFrame
from greenroom.media.video_buffer import parse_type
from greenroom.media.video_types import VideoBufferType, VideoRotation
from greenroom.rtc._reader import MOST_FRAMES, MediaReader, MediaStream
from greenroom.rtc.options import FrameMetadata

if TYPE_CHECKING:
    from greenroom.rtc.participant import Participant
    from greenroom.rtc.track import Track
    from greenroom.runtime.bridge import Bridge

__all__ = ["VideoFrameEvent", "VideoStream"]

_Picture = tuple[int, int, int, bytearray, int, int]
_ROTATIONS = {rotation.degrees: rotation for rotation in VideoRotation}


@dataclass
class VideoFrameEvent:
    """One item of a `VideoStream`.

    Attributes:
        frame: the picture.
        timestamp_us: microseconds, growing from frame to frame and as far apart as the captures were. Of a remote
            track they count from about when its media began to arrive here and have nothing to do with a clock of the
            sender's; of a local track they are what `capture_frame` was given or chose.
        rotation: a `VideoRotation`: how the picture must be turned.
    """

    frame: VideoFrame
    timestamp_us: int
    rotation: VideoRotation
    metadata: FrameMetadata | None = None


class VideoStream(MediaStream[_Picture, VideoFrameEvent]):
    """Frames of a remote or local track, in the encoding you ask for. It ends like an `AudioStream`.

    Args:
        track: a video track.
        loop: kept for compatibility; the running loop is used.
        capacity: frames to keep for a slow reader, then the oldest is dropped. 0 = 8; 1 = the newest only.
        format: one of the eleven encodings. None = the decoder's own, I420.

    Raises:
        ConfigError: the track is not a video track, or a value cannot work.
    """

    def __init__(
        self,
        track: Track,
        loop: asyncio.AbstractEventLoop | None = None,
        capacity: int = 0,
        format: VideoBufferType | int | None = None,
    ) -> None:
        self._open(capacity, format)
        self._reader.read_track(track)

    @classmethod
    def from_track(
        cls,
        *,
        track: Track,
        loop: asyncio.AbstractEventLoop | None = None,
        format: VideoBufferType | int | None = None,
        capacity: int = 0,
    ) -> VideoStream:
        """Like the constructor."""
        return cls(track, capacity=capacity, format=format)

    @classmethod
    def from_participant(
        cls,
        *,
        participant: Participant,
        track_source: int,
        loop: asyncio.AbstractEventLoop | None = None,
        format: VideoBufferType | int | None = None,
        capacity: int = 0,
    ) -> VideoStream:
        """The participant's track of that source, across republishing, until it leaves. It does not subscribe."""
        stream = cls.__new__(cls)
        stream._open(capacity, format)
        stream._reader.follow(participant, track_source)
        return stream

    def _open(self, capacity: int, format: VideoBufferType | int | None) -> None:
        capacity = check.whole("capacity in frames", capacity, 0, MOST_FRAMES)
        try:
            wanted = -1 if format is None else int(parse_type(format))
        except FrameError as error:
            raise ConfigError(str(error)) from error

        def open_sink(bridge: Bridge, handle: int, track: Track) -> _engine.VideoSink:
            sink = _engine.VideoSink(bridge.engine, handle, format=wanted, capacity=capacity)
            track._attach_sink(sink, bridge)
            return sink

        self._reader = MediaReader(open_sink)

    def _event(self, item: _Picture) -> VideoFrameEvent:
        format, width, height, data, timestamp_us, rotation = item
        frame = VideoFrame(width, height, VideoBufferType(format), data)
        return VideoFrameEvent(frame, timestamp_us, _ROTATIONS[rotation])

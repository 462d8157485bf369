"""`AVSynchronizer`: pictures and sound of a generated video, published in step."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from typing import TYPE_CHECKING

from greenroom.errors import ConfigError, StateError
from greenroom.media.audio import AudioFrame
from greenroom.media.video import VideoFrame
from greenroom.runtime.tasks import TaskSet

if TYPE_CHECKING:
    from greenroom.rtc.audio_source import AudioSource
    from greenroom.rtc.video_source import VideoSource

__all__ = ["AVSynchronizer"]

log = logging.getLogger("greenroom.rtc")


class AVSynchronizer:
    """Takes audio and video frames as they are made and captures both at the pace of the video.

    Audio waits in its source's queue; a picture is shown when its time has come, counted from the first one.

    Args:
        audio_source, video_source: where the frames go.
        video_fps: frames per second.
        video_queue_size_ms: pictures to keep ahead; `push` waits while there are more.
        _max_delay_tolerance_ms: how late a picture may be before the clock is set back to it.
    """

    def __init__(
        self,
        *,
        audio_source: AudioSource,
        video_source: VideoSource,
        video_fps: float,
        video_queue_size_ms: float = 100,
        _max_delay_tolerance_ms: float = 300,
    ) -> None:
        if video_fps <= 0:
            raise ConfigError(f"video_fps must be positive, not {video_fps}")
        self._audio_source = audio_source
        self._video_source = video_source
        self._fps = video_fps
        self._tolerance = _max_delay_tolerance_ms / 1000
        capacity = max(1, math.ceil(video_fps * video_queue_size_ms / 1000))
        self._pictures: asyncio.Queue[tuple[VideoFrame, float | None]] = asyncio.Queue(capacity)
        self._due: float | None = None
        self._shown: deque[float] = deque(maxlen=max(2, round(video_fps)))
        self._last_times = [0.0, 0.0]
        self._closed = False
        self._tasks = TaskSet(log)
        self._tasks.spawn(self._show(), name="AVSynchronizer")

    @property
    def actual_fps(self) -> float:
        """Pictures per second over the last second."""
        if len(self._shown) < 2:
            return 0.0
        return (len(self._shown) - 1) / max(self._shown[-1] - self._shown[0], 1e-6)

    @property
    def last_audio_time(self) -> float:
        """The timestamp of the sound that is being played, in seconds."""
        return self._last_times[0] - self._audio_source.queued_duration

    @property
    def last_video_time(self) -> float:
        """The timestamp of the picture that was shown last, in seconds."""
        return self._last_times[1]

    async def push(self, frame: VideoFrame | AudioFrame, timestamp: float | None = None) -> None:
        """Add a frame; waits while enough is ahead.

        Raises:
            StateError: it is closed.
        """
        if self._closed:
            raise StateError("the synchronizer is closed")
        if isinstance(frame, AudioFrame):
            await self._audio_source.capture_frame(frame)
            if timestamp is not None:
                self._last_times[0] = timestamp + frame.duration
        else:
            await self._pictures.put((frame, timestamp))

    async def clear_queue(self) -> None:
        """Drop what was pushed and neither played nor shown."""
        self._audio_source.clear_queue()
        while not self._pictures.empty():
            self._pictures.get_nowait()
            self._pictures.task_done()

    async def wait_for_playout(self) -> None:
        """Return when everything that was pushed has been played and shown."""
        await asyncio.gather(self._audio_source.wait_for_playout(), self._pictures.join())

    def reset(self) -> None:
        """Count the time from the next picture on."""
        self._due = None

    async def aclose(self) -> None:
        """Stop; the sources stay open. Idempotent."""
        self._closed = True
        await self._tasks.close()

    async def _show(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame, timestamp = await self._pictures.get()
            now = loop.time()
            if self._due is None or now - self._due > self._tolerance:
                self._due = now
            await asyncio.sleep(max(0.0, self._due - now))
            self._video_source.capture_frame(frame)
            self._shown.append(loop.time())
            if timestamp is not None:
                self._last_times[1] = timestamp
            self._due += 1 / self._fps
            self._pictures.task_done()

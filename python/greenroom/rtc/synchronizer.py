"""`AVSynchronizer`: pictures and sound of a generated video, published in step."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom.errors import ArgumentError, StateError
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
        _check_source("audio_source", audio_source, "an AudioSource")
        _check_source("video_source", video_source, "a VideoSource")
        self._audio_source = audio_source
        self._video_source = video_source
        self._fps = check.positive("video_fps in frames per second", video_fps)
        self._tolerance = check.positive("_max_delay_tolerance_ms", _max_delay_tolerance_ms) / 1000
        capacity = max(1, math.ceil(video_fps * check.positive("video_queue_size_ms", video_queue_size_ms) / 1000))
        self._pictures: asyncio.Queue[tuple[VideoFrame, float | None]] = asyncio.Queue(capacity)
        self._due: float | None = None
        self._shown: deque[float] = deque(maxlen=max(2, round(video_fps)))
        self._last_times = [0.0, 0.0]
        self._closed = False
        self._pushing = 0
        self._clearings = 0
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
        """Add a frame; waits while enough is ahead. `timestamp` is its time in seconds.

        Raises:
            StateError: it is closed.
        """
        if self._closed:
            raise StateError("the synchronizer is closed")
        check.given(check.number, "timestamp", timestamp, "a number of seconds")
        if isinstance(frame, AudioFrame):
            await self._audio_source.capture_frame(frame)
            if timestamp is not None:
                self._last_times[0] = timestamp + frame.duration
        else:
            picture = check.instance("frame", frame, VideoFrame, "an AudioFrame or a VideoFrame")
            self._pushing += 1
            try:
                await self._pictures.put((picture, timestamp))
            finally:
                self._pushing -= 1

    async def clear_queue(self) -> None:
        """Drop what was pushed and neither played nor shown."""
        self._audio_source.clear_queue()
        self._clear_pictures()

    async def wait_for_playout(self) -> None:
        """Return when everything that was pushed has been played and shown."""
        await asyncio.gather(self._audio_source.wait_for_playout(), self._pictures.join())

    def reset(self) -> None:
        """Count the time from the next picture on."""
        self._due = None

    async def aclose(self) -> None:
        """Stop; the sources stay open, what was not shown is dropped, and whoever waits goes on. Idempotent."""
        self._closed = True
        await self._tasks.close()
        self._clear_pictures()
        while self._pushing:
            await asyncio.sleep(0)
            self._clear_pictures()

    async def _show(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame, timestamp = await self._pictures.get()
            now = loop.time()
            if self._due is None or now - self._due > self._tolerance:
                self._due = now
            clearing = self._clearings
            try:
                await asyncio.sleep(max(0.0, self._due - now))
                if clearing == self._clearings:
                    self._capture(frame, timestamp)
                    self._due += 1 / self._fps
            finally:
                self._pictures.task_done()

    def _capture(self, frame: VideoFrame, timestamp: float | None) -> None:
        try:
            self._video_source.capture_frame(frame)
        except Exception:
            log.exception("a picture could not be shown; the next one follows")
        self._shown.append(asyncio.get_running_loop().time())
        if timestamp is not None:
            self._last_times[1] = timestamp

    def _clear_pictures(self) -> None:
        self._clearings += 1
        while not self._pictures.empty():
            self._pictures.get_nowait()
            self._pictures.task_done()


def _check_source(name: str, source: object, what: str) -> None:
    if not callable(getattr(source, "capture_frame", None)):
        raise ArgumentError(f"{name} must be {what}, not {source!r}")

"""Voices and cameras: what a person in a room sends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from greenroom import rtc
from greenroom._engine import AudioConverter
from greenroom.media.wav import read_wav
from greenroom.testing.signals import Colour, Sound, Tone

__all__ = ["Camera", "Voice"]

_RATE = 48_000
_STEP = 480
_FRAME_INTERVAL = 1 / 15


@dataclass
class Voice:
    """A published audio track that plays one thing at a time."""

    source: rtc.AudioSource
    publication: rtc.LocalTrackPublication

    @classmethod
    async def publish(cls, room: rtc.Room) -> Voice:
        """Publish a microphone."""
        source = rtc.AudioSource(_RATE, 1)
        track = rtc.LocalAudioTrack.create_audio_track("voice", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        return cls(source, await room.local_participant.publish_track(track, options))

    async def play(self, sound: Sound) -> None:
        """Play to the end and wait for the last sample to leave."""
        if isinstance(sound, Tone):
            await self._play_tone(sound)
        else:
            await self.source.capture_frame(_mono(read_wav(sound)))
        await self.source.wait_for_playout()

    async def _play_tone(self, tone: Tone) -> None:
        played = 0
        while tone.seconds is None or played < tone.seconds * _RATE:
            data = tone.samples(played, _STEP, _RATE).tobytes()
            await self.source.capture_frame(rtc.AudioFrame(data, _RATE, 1, _STEP))
            played += _STEP


@dataclass
class Camera:
    """A published video track of one colour at a time."""

    source: rtc.VideoSource
    publication: rtc.LocalTrackPublication
    size: tuple[int, int]

    @classmethod
    async def publish(cls, room: rtc.Room, size: tuple[int, int]) -> Camera:
        """Publish a camera with pictures of `size` (width, height)."""
        source = rtc.VideoSource(*size)
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
        return cls(source, await room.local_participant.publish_track(track, options), size)

    async def show(self, colour: Colour) -> None:
        """Show a colour until cancelled."""
        width, height = self.size
        data = bytes((colour.red, colour.green, colour.blue, 255)) * (width * height)
        while True:
            self.source.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, data))
            await asyncio.sleep(_FRAME_INTERVAL)


def _mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    converter = AudioConverter(_RATE, 1, 2)
    data = converter.push(frame.data.cast("B"), frame.sample_rate, frame.num_channels) + converter.flush()
    return rtc.AudioFrame(data, _RATE, 1, len(data) // 2)

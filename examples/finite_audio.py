"""Publish a WAV file to its last sample, then leave: `python examples/finite_audio.py URL TOKEN speech.wav`."""

import asyncio
import sys
import wave
from collections.abc import Iterator

from greenroom import rtc

FRAME_MS = 20


def frames(file: wave.Wave_read) -> Iterator[rtc.AudioFrame]:
    """The file in pieces; the last one is as short as it is."""
    rate, channels = file.getframerate(), file.getnchannels()
    while data := file.readframes(rate * FRAME_MS // 1000):
        yield rtc.AudioFrame(data, rate, channels, len(data) // (2 * channels))


async def main(url: str, token: str, path: str) -> None:
    async with rtc.Room() as room:
        await room.connect(url, token)
        with wave.open(path) as file:
            source = rtc.AudioSource(file.getframerate(), file.getnchannels())
            track = rtc.LocalAudioTrack.create_audio_track("speech", source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            publication = await room.local_participant.publish_track(track, options)
            await publication.wait_for_subscription()
            for frame in frames(file):
                await source.capture_frame(frame)
        await source.wait_for_playout()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))

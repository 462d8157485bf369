"""Publish a 440 Hz tone in frames of 10 ms: `python examples/sine.py URL TOKEN`."""

import asyncio
import sys

import numpy as np

from greenroom import rtc

SAMPLE_RATE = 48000
NUM_CHANNELS = 1  # mono
SAMPLES_PER_CHANNEL = 480  # 10 ms
AMPLITUDE = 2**8 - 1
FREQUENCY = 440


async def main(url: str, token: str) -> None:
    async with rtc.Room() as room:
        await room.connect(url, token)
        source = rtc.AudioSource(SAMPLE_RATE, NUM_CHANNELS)
        track = rtc.LocalAudioTrack.create_audio_track("example-track", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(track, options)

        frame = rtc.AudioFrame.create(SAMPLE_RATE, NUM_CHANNELS, SAMPLES_PER_CHANNEL)
        samples = np.frombuffer(frame.data, dtype=np.int16)  # writes to the frame, no copy
        total = 0
        while room.isconnected():
            time = (total + np.arange(SAMPLES_PER_CHANNEL)) / SAMPLE_RATE
            samples[:] = AMPLITUDE * np.sin(2 * np.pi * FREQUENCY * time)
            await source.capture_frame(frame)  # waits while 50 ms are ahead: the loop runs in real time
            total += SAMPLES_PER_CHANNEL


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

"""Publish a 440 Hz tone in frames of 10 ms: `python examples/sine.py dev`."""

import numpy as np

from greenroom import rtc
from greenroom.agents import JobContext, JobRequest, WorkerOptions, cli

SAMPLE_RATE = 48000
NUM_CHANNELS = 1  # mono
AMPLITUDE = 2**8 - 1
SAMPLES_PER_CHANNEL = 480  # 10 ms
FREQUENCY = 440


async def entrypoint(job: JobContext) -> None:
    source = rtc.AudioSource(SAMPLE_RATE, NUM_CHANNELS)
    track = rtc.LocalAudioTrack.create_audio_track("example-track", source)
    # The agent is a participant, so what it says is its microphone.
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await job.agent.publish_track(track, options)

    frame = rtc.AudioFrame.create(SAMPLE_RATE, NUM_CHANNELS, SAMPLES_PER_CHANNEL)
    samples = np.frombuffer(frame.data, dtype=np.int16)  # writes to the frame, no copy
    total = 0
    while job.room.isconnected():
        time = (total + np.arange(SAMPLES_PER_CHANNEL)) / SAMPLE_RATE
        samples[:] = AMPLITUDE * np.sin(2 * np.pi * FREQUENCY * time)
        await source.capture_frame(frame)  # waits while 50 ms are ahead: the loop runs in real time
        total += SAMPLES_PER_CHANNEL


async def request_fnc(req: JobRequest) -> None:
    await req.accept(entrypoint)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc))

"""Publish a WAV file to its last sample, then end the job: `SPEECH=speech.wav python examples/finite_audio.py dev`."""

import os
import wave
from collections.abc import Iterator

from greenroom import rtc
from greenroom.agents import JobContext, JobRequest, WorkerOptions, cli

PATH = os.environ.get("SPEECH", "speech.wav")
FRAME_MS = 20


def frames(file: wave.Wave_read) -> Iterator[rtc.AudioFrame]:
    """The file in pieces; the last one is as short as it is."""
    rate, channels = file.getframerate(), file.getnchannels()
    while data := file.readframes(rate * FRAME_MS // 1000):
        yield rtc.AudioFrame(data, rate, channels, len(data) // (2 * channels))


async def entrypoint(job: JobContext) -> None:
    with wave.open(PATH) as file:
        source = rtc.AudioSource(file.getframerate(), file.getnchannels())
        track = rtc.LocalAudioTrack.create_audio_track("speech", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        publication = await job.agent.publish_track(track, options)
        await publication.wait_for_subscription()
        for frame in frames(file):
            await source.capture_frame(frame)
    await source.wait_for_playout()
    job.shutdown("finished")


async def request_fnc(req: JobRequest) -> None:
    await req.accept(entrypoint)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc))

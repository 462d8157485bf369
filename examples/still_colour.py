"""Publish one colour, ten frames a second: `python examples/still_colour.py dev`.

A picture that does not change is sent again and again all the same: who joins later sees it at once.
"""

import asyncio

from greenroom import rtc
from greenroom.agents import JobContext, JobRequest, WorkerOptions, cli

WIDTH = 640
HEIGHT = 480
# The type names the order of the bytes: the same four are red as ARGB, and would be yellow as RGBA.
COLOUR = [255, 255, 0, 0]
TYPE = rtc.VideoBufferType.ARGB


async def entrypoint(job: JobContext) -> None:
    source = rtc.VideoSource(WIDTH, HEIGHT)
    track = rtc.LocalVideoTrack.create_video_track("example-track", source)
    # The agent is a participant, so what it shows is its camera.
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
    await job.agent.publish_track(track, options)

    data = bytearray(COLOUR * WIDTH * HEIGHT)
    while job.room.isconnected():
        source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, TYPE, data))  # not a coroutine: nothing is queued
        await asyncio.sleep(0.1)


async def request_fnc(req: JobRequest) -> None:
    await req.accept(entrypoint)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc))

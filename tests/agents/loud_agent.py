"""A program of its own, without a guard around its end: plays a loud tone in every room it is sent to."""

import asyncio
import math
import struct

from greenroom import rtc
from greenroom.agents import AutoDisconnect, JobContext, JobRequest, WorkerOptions, cli


async def entrypoint(job: JobContext) -> None:
    source = rtc.AudioSource(48_000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    await job.agent.publish_track(track)
    position = 0
    while job.room.isconnected():
        samples = [int(10_000 * math.sin(math.tau * 660 * (position + each) / 48_000)) for each in range(480)]
        await source.capture_frame(rtc.AudioFrame(struct.pack("<480h", *samples), 48_000, 1, 480))
        position += 480
        await asyncio.sleep(0)


async def request_fnc(req: JobRequest) -> None:
    await req.accept(entrypoint, auto_disconnect=AutoDisconnect.ROOM_EMPTY)


cli.run_app(WorkerOptions(request_fnc=request_fnc, agent_name="loud", port=0, load_fnc=lambda: 0.0))

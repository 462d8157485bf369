"""A plain agent written with the official framework: it joins, says what it was told, and plays a tone."""

import asyncio
import json
import math
import struct

from livekit import rtc
from livekit.agents import AgentServer, JobContext, JobExecutorType, cli

server = AgentServer(job_executor_type=JobExecutorType.THREAD, port=0, num_idle_processes=0, load_fnc=lambda *_: 0.0)


@server.rtc_session(agent_name="tone")
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    told = {"metadata": ctx.job.metadata, "room": ctx.room.name, "job": ctx.job.id}
    await ctx.room.local_participant.set_attributes({"lk.agent.state": "speaking"})
    source = rtc.AudioSource(48_000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    publication = await ctx.room.local_participant.publish_track(track)
    await publication.wait_for_subscription()
    await ctx.room.local_participant.publish_data(json.dumps(told))
    position = 0
    while ctx.room.isconnected():
        samples = [int(10_000 * math.sin(math.tau * 660 * (position + each) / 48_000)) for each in range(480)]
        await source.capture_frame(rtc.AudioFrame(struct.pack("<480h", *samples), 48_000, 1, 480))
        position += 480
        await asyncio.sleep(0)


if __name__ == "__main__":
    cli.run_app(server)

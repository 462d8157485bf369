"""Receive every audio and video track: `python examples/receive.py dev`, then join a room.

Each track gets a stream and a task that reads it; both end with the track.
"""

import asyncio
import logging

from greenroom import rtc
from greenroom.agents import JobContext, JobRequest, WorkerOptions, cli

log = logging.getLogger("receive")


def do_something(participant: rtc.RemoteParticipant, frame: rtc.AudioFrame | rtc.VideoFrame) -> None:
    log.debug("%s: %s", participant.identity, frame)


async def entrypoint(job: JobContext) -> None:
    readers = set()

    async def read(track: rtc.Track, participant: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            stream = rtc.AudioStream(track)  # 48000 Hz, mono, 10 ms
        else:
            stream = rtc.VideoStream(track)  # as the decoder gives it: I420
        async for event in stream:
            do_something(participant, event.frame)
        await stream.aclose()
        log.info("%s: %s ended", participant.identity, track.name)

    @job.room.on("track_subscribed")
    def on_track_subscribed(
        track: rtc.Track,
        publication: rtc.TrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        task = asyncio.create_task(read(track, participant))
        readers.add(task)
        task.add_done_callback(readers.discard)


async def request_fnc(req: JobRequest) -> None:
    await req.accept(entrypoint)  # auto_subscribe is SUBSCRIBE_ALL unless something else is said


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc))

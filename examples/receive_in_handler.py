"""Receive in the event handler itself, which may be a coroutine: `python examples/receive_in_handler.py dev`.

Every call of the handler is a task of its own, and ends with its track.
"""

import logging

from greenroom import rtc
from greenroom.agents import JobContext, JobRequest, WorkerOptions, cli

log = logging.getLogger("receive")


def do_something(frame: rtc.AudioFrame | rtc.VideoFrame) -> None:
    log.debug("%s", frame)


async def entrypoint(job: JobContext) -> None:
    @job.room.on("track_subscribed")
    async def on_track_subscribed(
        track: rtc.Track,
        publication: rtc.TrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            async for event in rtc.AudioStream(track):
                do_something(event.frame)
        elif track.kind == rtc.TrackKind.KIND_VIDEO:
            async for event in rtc.VideoStream(track):
                do_something(event.frame)


async def request_fnc(req: JobRequest) -> None:
    await req.accept(entrypoint)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc))

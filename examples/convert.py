"""Convert every received picture to another encoding: `python examples/convert.py dev`.

Frames arrive in the decoder's encoding, I420; `convert` turns them into any of the other ten.
"""

import logging

from greenroom import rtc
from greenroom.agents import AutoSubscribe, JobContext, JobRequest, WorkerOptions, cli

log = logging.getLogger("convert")


def do_something(frame: rtc.VideoFrame) -> None:
    log.debug("%s", frame)


async def entrypoint(job: JobContext) -> None:
    @job.room.on("track_subscribed")
    async def on_track_subscribed(
        track: rtc.Track,
        publication: rtc.TrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        async for event in rtc.VideoStream(track):
            frame = event.frame
            log.debug("%s arrives as %s", track.name, frame.type)
            do_something(frame.convert(rtc.VideoBufferType.BGRA))


async def request_fnc(req: JobRequest) -> None:
    await req.accept(entrypoint, auto_subscribe=AutoSubscribe.VIDEO_ONLY)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc))

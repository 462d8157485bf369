"""Receive microphones only, each by its own decision: `python examples/manual_subscription.py dev`.

Nothing is subscribed by itself, so the server sends nothing that was not asked for.
"""

import logging

from greenroom import rtc
from greenroom.agents import AutoSubscribe, JobContext, JobRequest, WorkerOptions, cli

log = logging.getLogger("manual")


def subscribe_if_wanted(publication: rtc.RemoteTrackPublication) -> None:
    if publication.source == rtc.TrackSource.SOURCE_MICROPHONE:
        publication.set_subscribed(True)


async def entrypoint(job: JobContext) -> None:
    @job.room.on("track_published")
    def on_track_published(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        subscribe_if_wanted(publication)

    @job.room.on("track_subscribed")
    def on_track_subscribed(
        track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        log.info("receiving %s of %s", publication.name, participant.identity)

    # What was published before we came is here already, without an event.
    for participant in job.room.remote_participants.values():
        for publication in participant.track_publications.values():
            subscribe_if_wanted(publication)


async def request_fnc(req: JobRequest) -> None:
    await req.accept(
        entrypoint,
        # the other modes: SUBSCRIBE_ALL, AUDIO_ONLY, VIDEO_ONLY
        auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE,
    )


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc))

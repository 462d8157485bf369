"""A program of the page's time: jobs are accepted with an entrypoint, and the room is joined before it runs."""

from greenroom import rtc
from greenroom.agents import AutoDisconnect, AutoSubscribe, JobContext, JobRequest, WorkerOptions, cli


async def entrypoint(job: JobContext) -> None:
    @job.room.on("track_published")
    def on_track_published(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if publication.name == "wanted":
            publication.set_subscribed(True)

    @job.room.on("track_subscribed")
    async def on_track_subscribed(
        track: rtc.Track, publication: rtc.TrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        await job.agent.publish_data(f"subscribed {publication.name} of {participant.identity}")


async def request_fnc(req: JobRequest) -> None:
    await req.accept(
        entrypoint,
        auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE,
        auto_disconnect=AutoDisconnect.ROOM_EMPTY,
        identity=f"listener-{req.id}",
    )


if __name__ == "__main__":
    cli.run_app(WorkerOptions(request_fnc=request_fnc, agent_name="page"))

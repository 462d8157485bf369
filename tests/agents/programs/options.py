"""A program as the official documents wrote them before: everything in WorkerOptions."""

import asyncio

from greenroom import rtc
from greenroom.agents import (
    JobContext,
    JobProcess,
    WorkerOptions,
    WorkerPermissions,
    WorkerType,
    cli,
)


def prewarm_fnc(proc: JobProcess) -> None:
    proc.userdata["voice"] = 440


def load_fnc() -> float:
    return 0.1


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    participant = await ctx.wait_for_participant(kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD)

    source = rtc.AudioSource(48000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    publication = await ctx.room.local_participant.publish_track(track, options)
    await ctx.room.local_participant.set_attributes({"for": participant.identity, "sid": publication.sid})

    left = asyncio.Event()
    ctx.room.on("participant_disconnected", lambda participant: left.set())
    await left.wait()
    ctx.shutdown(reason="the caller left")


if __name__ == "__main__":
    cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            prewarm_fnc=prewarm_fnc,
            load_fnc=load_fnc,
            agent_name="options",
            worker_type=WorkerType.ROOM,
            permissions=WorkerPermissions(can_publish=True, can_subscribe=True, hidden=False),
        )
    )

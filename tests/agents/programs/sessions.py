"""A program as the official documents write them: a server, a decorated entrypoint, and what a job's context offers."""

import json
import logging

from livekit import api

from greenroom import rtc
from greenroom.agents import AgentServer, AutoSubscribe, JobContext, JobProcess, JobRequest, cli, get_job_context, utils

logger = logging.getLogger("sessions")

server = AgentServer(load_threshold=0.9, num_idle_processes=1)


def prewarm(proc: JobProcess) -> None:
    proc.userdata["greeting"] = "hello"


server.setup_fnc = prewarm


async def on_request(req: JobRequest) -> None:
    if req.room.name == "unwanted":
        await req.reject()
        return
    await req.accept(name="Host", identity="host", metadata="from the request", attributes={"floor": "3"})


async def on_session_end(ctx: JobContext) -> None:
    logger.info("the session in %s ends", ctx.room.name)


async def greet(ctx: JobContext, participant: rtc.RemoteParticipant) -> None:
    await ctx.agent.publish_data(f"{ctx.proc.userdata['greeting']} {participant.identity}", topic="greeting")


@server.rtc_session(agent_name="sessions", on_request=on_request, on_session_end=on_session_end)
async def entrypoint(ctx: JobContext) -> None:
    ctx.log_context_fields = {"room": ctx.room.name}
    ctx.add_participant_entrypoint(greet)

    async def write_down(reason: str) -> None:
        logger.info("ended: %s", reason)

    ctx.add_shutdown_callback(write_down)
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)

    participant = await ctx.wait_for_participant()
    there = await ctx.api.room.list_participants(api.ListParticipantsRequest(room=ctx.room.name))
    told = {
        "waited for": participant.identity,
        "there": sorted(each.identity for each in there.participants),
        "me": [ctx.agent.identity, ctx.agent.name, ctx.agent.metadata, dict(ctx.agent.attributes)],
        "token": ctx.token_claims().identity,
        "metadata": ctx.job.metadata,
        "same": get_job_context() is ctx,
        "given": utils.is_given(None),
    }
    await ctx.room.local_participant.publish_data(json.dumps(told).encode(), reliable=True, topic="told")

    @ctx.room.on("data_received")
    def on_data(packet: rtc.DataPacket) -> None:
        if packet.topic == "end":
            ctx.delete_room()


if __name__ == "__main__":
    cli.run_app(server)

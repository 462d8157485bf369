"""Agents written with the official framework, with jobs in processes; what they do is in the job's metadata."""

import asyncio
import json
import os

from livekit import api, rtc
from livekit.agents import AgentServer, JobContext, JobExecutorType, JobProcess, JobRequest, cli

LOAD = float(os.environ.get("TEST_LOAD", "0"))


def prewarm(proc: JobProcess) -> None:
    proc.userdata["prewarmed"] = os.getpid()


server = AgentServer(
    job_executor_type=JobExecutorType.PROCESS,
    port=0,
    num_idle_processes=1,
    load_fnc=lambda *_: LOAD,
    load_threshold=0.7,
    setup_fnc=prewarm,
)


async def on_request(req: JobRequest) -> None:
    if req.job.metadata == "reject":
        await req.reject()
    else:
        await req.accept(name="Official", identity=f"official-{req.room.name}", attributes={"mood": "fine"})


@server.rtc_session(agent_name="staff", on_request=on_request)
async def entrypoint(ctx: JobContext) -> None:
    async def meet(ctx: JobContext, participant: rtc.RemoteParticipant) -> None:
        await ctx.room.local_participant.set_attributes({"met": participant.identity})

    ctx.add_participant_entrypoint(meet)
    await ctx.connect()
    told = {"prewarmed": ctx.proc.userdata["prewarmed"] == os.getpid(), "metadata": ctx.job.metadata}
    if ctx.job.metadata == "crash":
        raise LookupError("the agent's own mistake")
    participants = await ctx.api.room.list_participants(api.ListParticipantsRequest(room=ctx.room.name))
    told["here"] = sorted(each.identity for each in participants.participants)
    await ctx.wait_for_participant()
    await ctx.room.local_participant.publish_data(json.dumps(told), topic="told")
    if ctx.job.metadata == "shutdown":
        await asyncio.sleep(0.2)
        ctx.shutdown("done")
    elif ctx.job.metadata == "delete":
        await ctx.delete_room()


if __name__ == "__main__":
    cli.run_app(server)

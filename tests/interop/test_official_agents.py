"""A worker written with the official framework: it registers with our server, gets a job, joins and is heard."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api, rtc

from greenroom.server import Server, ServerOptions
from tests.interop.conftest import KEYS
from tests.interop.official import PATIENCE, hear, joined, until

KEY, SECRET = next(iter(KEYS.items()))
SCRIPT = Path(__file__).with_name("official_agent.py")


@asynccontextmanager
async def worker(server):
    """The official worker as a process of its own, registered."""
    settings = {"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    before = server._core.dispatcher.machine.worker_count
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), "start", env={**os.environ, **settings}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: server._core.dispatcher.machine.worker_count > before, 2 * PATIENCE)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def calling(server):
    async with api.LiveKitAPI(server.url.replace("ws", "http"), KEY, SECRET) as client:
        yield client.agent_dispatch


async def test_an_agent_is_dispatched_heard_and_taken_back(server):
    async with worker(server), calling(server) as dispatches, joined(server, "ada") as ada:
        made = await dispatches.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name="tone", room="lab", metadata="for ada")
        )
        frequency, _ = await hear(await ada.remote_track("voice"))
        assert abs(frequency - 660) < 5
        (packet,) = await ada.wait("data_received")
        told = json.loads(packet.data)
        assert (told["metadata"], told["room"]) == ("for ada", "lab")
        (agent,) = ada.room.remote_participants.values()
        assert agent.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        assert agent.attributes["lk.agent.state"] == "speaking"
        listed = await dispatches.list_dispatch("lab")
        (job,) = next(each for each in listed if each.id == made.id).state.jobs
        assert job.id == told["job"] and job.state.participant_identity == agent.identity
        await dispatches.delete_dispatch(made.id, "lab")
        await ada.wait("participant_disconnected")
        assert made.id not in [each.id for each in await dispatches.list_dispatch("lab")]


async def test_a_room_made_by_a_token_may_ask_for_an_agent(server):
    token = (
        api.AccessToken(KEY, SECRET)
        .with_identity("ada")
        .with_grants(api.VideoGrants(room_join=True, room="lab"))
        .with_room_config(api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="tone")]))
        .to_jwt()
    )
    async with joined(server, "ada", token=token) as ada, worker(server):
        frequency, _ = await hear(await ada.remote_track("voice"))
    assert abs(frequency - 660) < 5


@pytest.mark.timeout(120)
async def test_the_job_of_a_worker_that_was_killed_is_offered_to_another():
    async with Server(ServerOptions(keys=KEYS, reoffer_jobs=True)) as server:
        async with calling(server) as dispatches, joined(server, "ada") as ada:
            async with worker(server) as first:
                await dispatches.create_dispatch(api.CreateAgentDispatchRequest(agent_name="tone", room="lab"))
                await hear(await ada.remote_track("voice"), 0.2)
                async with worker(server):
                    first.kill()
                    track, _, _ = await ada.wait("track_subscribed", after=1)
                    frequency, _ = await hear(track)
    assert abs(frequency - 660) < 5

"""The official framework's worker on our server, beyond a plain entrypoint: processes, requests, drain, restarts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api
from livekit.protocol.agent import JobStatus

from greenroom.server import Server
from tests.interop.conftest import KEYS
from tests.interop.official import joined, until

KEY, SECRET = next(iter(KEYS.items()))
SCRIPT = Path(__file__).with_name("official_staff.py")

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def staff(server: Server, **env: str):
    """The official worker as a process, registered."""
    settings = {"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, **env}
    before = server._core.dispatcher.machine.worker_count
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), "start", env={**os.environ, **settings}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: server._core.dispatcher.machine.worker_count > before, 60)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Office:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.api = api.LiveKitAPI(server.url.replace("ws", "http"), KEY, SECRET)

    async def dispatch(self, room: str, metadata: str = "") -> api.AgentDispatch:
        request = api.CreateAgentDispatchRequest(agent_name="staff", room=room, metadata=metadata)
        return await self.api.agent_dispatch.create_dispatch(request)

    async def status(self, room: str, wanted: str) -> None:
        async with asyncio.timeout(60):
            while True:
                jobs = [job for each in await self.api.agent_dispatch.list_dispatch(room) for job in each.state.jobs]
                if jobs and JobStatus.Name(jobs[-1].state.status) == wanted:
                    return
                await asyncio.sleep(0.05)


@pytest.fixture
async def office(server):
    office = Office(server)
    yield office
    await office.api.aclose()


async def test_jobs_in_processes_by_name_with_requests_metadata_and_the_api(office: Office):
    server = office.server
    async with staff(server), joined(server, "ada", room="first") as ada, joined(server, "bob", room="second") as bob:
        await asyncio.gather(office.dispatch("first", "for ada"), office.dispatch("second", "shutdown"))
        await office.dispatch("third", "reject")
        await office.dispatch("fourth", "crash")
        for client, room, metadata in ((ada, "first", "for ada"), (bob, "second", "shutdown")):
            (packet,) = await client.wait("data_received", lambda packet: packet.topic == "told")
            identity = client.room.local_participant.identity
            here = sorted([identity, f"official-{room}"])
            assert json.loads(packet.data) == {"prewarmed": True, "metadata": metadata, "here": here}
        [agent] = ada.room.remote_participants.values()
        assert (agent.name, agent.attributes["mood"]) == ("Official", "fine")
        await ada.until(lambda: agent.attributes.get("met") == "ada")
        await bob.wait("participant_disconnected")
        await office.status("second", "JS_SUCCESS")
        await office.status("third", "JS_SUCCESS")
        assert not server.rooms["third"].participants
        await office.status("first", "JS_RUNNING")
        await office.api.room.delete_room(api.DeleteRoomRequest(room="first"))
        await ada.wait("disconnected")


async def test_a_drained_worker_finishes_its_jobs_and_takes_no_more(office: Office):
    server = office.server
    async with staff(server) as process, joined(server, "ada") as ada:
        await office.dispatch("lab")
        await ada.wait("data_received")
        process.send_signal(signal.SIGTERM)
        workers = server._core.dispatcher.machine._workers
        await until(lambda: any(each.full for each in workers.values()), 30)
        await office.dispatch("late")
        assert not ada.events("participant_disconnected")
        await office.api.room.delete_room(api.DeleteRoomRequest(room="lab"))
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        assert not server.rooms["late"].participants


async def test_a_busy_worker_gets_nothing_until_another_comes(office: Office):
    server = office.server
    async with staff(server, TEST_LOAD="0.9"):
        workers = server._core.dispatcher.machine._workers
        await until(lambda: any(each.full for each in workers.values()), 30)
        async with joined(server, "ada") as ada:
            await office.dispatch("lab", "delete")
            async with staff(server):
                await ada.wait("disconnected")


async def test_a_worker_registers_again_with_a_server_that_was_restarted():
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as first:
        port = first.port
        working = staff(first)
        await working.__aenter__()
    try:
        async with Server(host="127.0.0.1", port=port, keys=KEYS) as second:
            office = Office(second)
            await until(lambda: second._core.dispatcher.machine.worker_count == 1, 60)
            async with joined(second, "ada") as ada:
                await office.dispatch("lab")
                await ada.wait("data_received")
            await office.api.aclose()
    finally:
        await working.__aexit__(None, None, None)

"""A server in this process, workers of ours on it, and callers with the official client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from livekit import api
from livekit.protocol.agent import Job, JobStatus

from greenroom.agents import AgentServer, loading
from greenroom.server import Server

KEY, SECRET = "devkey", "a secret that is long enough to be one"
EXAMPLES = Path(__file__).parents[2] / "examples"


def program(name: str) -> loading.Program:
    """A program of examples/, loaded but not run."""
    return loading.load(EXAMPLES / f"{name}.py")


class Desk:
    """A running server, its API by the official package, and the workers that registered with it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.api = api.LiveKitAPI(server.url, KEY, SECRET)
        self._stack = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        return self.server.url

    def token(self, identity: str, room: str) -> str:
        return self.server.token(identity, room)

    async def work(self, worker: AgentServer, **options: object) -> AgentServer:
        """Let a worker register; it is closed with the desk."""
        return await self._stack.enter_async_context(working(worker, self.url, **options))

    async def dispatch(self, agent_name: str, room: str = "lab", **fields: object) -> api.AgentDispatch:
        request = api.CreateAgentDispatchRequest(agent_name=agent_name, room=room, **fields)
        return await self.api.agent_dispatch.create_dispatch(request)

    async def jobs(self, room: str = "lab") -> list[Job]:
        """Every job of the room's dispatches as the server knows them."""
        dispatches = await self.api.agent_dispatch.list_dispatch(room)
        return [job for dispatch in dispatches for job in dispatch.state.jobs]

    async def job(self, status: str, room: str = "lab") -> Job:
        """The room's only job, once it has this status."""
        async with asyncio.timeout(25):
            while True:
                [job] = await self.jobs(room)
                if JobStatus.Name(job.state.status) == status:
                    return job
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self._stack.aclose()
        await self.api.aclose()


@contextlib.asynccontextmanager
async def working(worker: AgentServer, url: str, **options: object) -> AsyncIterator[AgentServer]:
    """A registered worker for as long as the block lasts."""
    worker.update_options(ws_url=url, api_key=KEY, api_secret=SECRET, **options)
    registered = asyncio.Event()
    worker.on("worker_registered", lambda *_: registered.set())
    running = asyncio.create_task(worker.run(devmode=True))
    waiting = asyncio.create_task(registered.wait())
    await asyncio.wait([running, waiting], timeout=20, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if running.done():
            await running
        assert registered.is_set()
        yield worker
    finally:
        await worker.aclose()
        await running


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    before = asyncio.all_tasks()
    async with Server(host="127.0.0.1", port=0, keys={KEY: SECRET}, reoffer_jobs=True) as server:
        desk = Desk(server)
        try:
            yield desk
        finally:
            await desk.close()
    left = [each for each in asyncio.all_tasks() - before if "greenroom" in repr(each.get_coro())]
    assert not left

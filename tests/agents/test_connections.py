"""A worker whose server is out of reach, restarted, changed or living in another time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from livekit.protocol.agent import JobStatus

from greenroom.agents import AgentServer, WorkerOptions
from greenroom.errors import ConnectError
from greenroom.protocol import worker as worker_machine
from greenroom.server import Server
from greenroom.server import dispatch as server_dispatch
from tests.interop.official import joined, until

from . import rough
from .conftest import KEY, SECRET, Desk, working
from .outage import proxy

pytestmark = pytest.mark.loopback


def patient(**options) -> AgentServer:
    options = {"agent_name": "patient", "entrypoint_timeout": 0.1, **options}
    return AgentServer(WorkerOptions(entrypoint_fnc=rough.answer, **options))


async def survive(seconds: float, *, noticed: bool) -> None:
    """A worker and its job's agent lose the server for so long, and find it again."""
    async with Server(host="127.0.0.1", port=0, keys={KEY: SECRET}) as server, proxy(server.port) as way:
        desk, worker = Desk(server), patient()
        async with working(worker, way.url), joined(server, "ada") as ada:
            made = await desk.dispatch("patient")
            await ada.wait("participant_attributes_changed")
            [before] = worker.active_jobs
            registered = asyncio.Event()
            worker.on("worker_registered", lambda *_: registered.set())
            (way.cut if noticed else way.stall)()
            await asyncio.sleep(seconds)
            way.restore()
            if noticed or seconds > 45:
                async with asyncio.timeout(30):
                    await registered.wait()
            if noticed and seconds > 45:  # longer than a client tries to come back
                await until(lambda: not worker.active_jobs)
                [job] = await desk.jobs()
                assert job.id == before.job.id and job.state.ended_at
            else:
                [job] = await desk.jobs()
                assert job.id == before.job.id and job.state.status == JobStatus.JS_RUNNING
                assert [each.job.id for each in worker.active_jobs] == [before.job.id]
                assert not ada.events("participant_disconnected")
            await desk.dispatch("patient", room="second")
            await until(lambda: "second" in [each.job.room.name for each in worker.active_jobs])
            await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
            await until(lambda: [each.job.room.name for each in worker.active_jobs] == ["second"])
            await until(lambda: list(server.rooms["lab"].participants) == ["ada"])
        await desk.close()


@pytest.mark.timeout(60)
async def test_a_second_without_the_server():
    await survive(1.0, noticed=True)


@contextlib.asynccontextmanager
async def restarted(secret: str, port: int) -> AsyncIterator[Server]:
    async with Server(host="127.0.0.1", port=port, keys={KEY: secret}) as server:
        yield server


async def test_a_server_that_no_longer_takes_the_key_is_tried_for_a_while_and_then_given_up(monkeypatch, caplog):
    monkeypatch.setattr(worker_machine, "RETRY_FIRST", 0.05)
    worker = patient(max_retry=3)
    async with restarted(SECRET, 0) as first:
        port, url = first.port, first.url
        worker.update_options(ws_url=url, api_key=KEY, api_secret=SECRET)
        registered = asyncio.Event()
        worker.on("worker_registered", lambda *_: registered.set())
        running = asyncio.ensure_future(worker.run(devmode=True))
        await registered.wait()
    async with restarted("another secret that is long enough", port):
        with pytest.raises(ConnectError, match=r"does not know the API key.*4 attempts"):
            async with asyncio.timeout(20):
                await running
    assert "does not know the API key" in caplog.text


async def test_a_server_that_takes_the_key_again_has_its_worker_back(monkeypatch):
    monkeypatch.setattr(worker_machine, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(worker_machine, "RETRY_LONGEST", 0.2)
    registrations: list[str] = []
    worker = patient()
    worker.on("worker_registered", lambda worker_id, info: registrations.append(worker_id))
    async with restarted(SECRET, 0) as first:
        port = first.port
        running = working(worker, first.url)
        await running.__aenter__()
    try:
        async with restarted("another secret that is long enough", port) as other:
            await until(lambda: other._core.front._runner is not None and len(registrations) == 1)
            await asyncio.sleep(0.3)
        async with restarted(SECRET, port):
            await until(lambda: len(registrations) == 2)
    finally:
        await running.__aexit__(None, None, None)


@pytest.mark.parametrize("ahead", [-50.0, 50.0])
async def test_clocks_that_differ_by_less_than_a_minute_do_not_matter(monkeypatch, ahead: float):
    from greenroom.server.server import Core

    real = Core.wall_clock
    monkeypatch.setattr(Core, "wall_clock", lambda self: real(self) + ahead)
    async with Server(host="127.0.0.1", port=0, keys={KEY: SECRET}) as server:
        desk = Desk(server)
        worker = await desk.work(patient())
        server._core.get_or_create("lab", _room_with("patient"))
        await until(lambda: worker.active_jobs and server.rooms["lab"].participants)
        await desk.close()


def _room_with(agent_name: str):
    from greenroom.wire import messages as m

    return m.RoomConfiguration(agents=[m.RoomAgentDispatch(agent_name=agent_name)])


async def test_an_agent_resumes_after_its_first_token_has_expired(monkeypatch):
    """It has got another one meanwhile."""
    from greenroom.wire import tokens

    monkeypatch.setattr(tokens, "LEEWAY", 0.0)
    monkeypatch.setattr(server_dispatch, "_TOKEN_LIFETIME", 2.0)
    async with Server(host="127.0.0.1", port=0, keys={KEY: SECRET}) as server, proxy(server.port) as way:
        desk, worker = Desk(server), patient()
        async with working(worker, way.url), joined(server, "ada") as ada:
            await desk.dispatch("patient")
            await ada.wait("participant_attributes_changed")
            [info] = worker.active_jobs
            way.cut()
            await asyncio.sleep(3.0)
            way.restore()
            member = server.rooms["lab"].machine.member(info.accept_arguments.identity)
            assert member is not None
            await until(lambda: member.link.connection is not None)
            assert not ada.events("participant_disconnected") and len(worker.active_jobs) == 1
        await desk.close()

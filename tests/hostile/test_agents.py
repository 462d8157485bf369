"""Workers that mean ill, at our server; and a server that means ill, at our worker."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from greenroom.agents import AgentServer, JobContext, JobRequest, WorkerOptions
from greenroom.server import Server
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants, encode_token
from tests.server.conftest import until

from .conftest import House

pytestmark = pytest.mark.loopback

SECRET = "a secret that is long enough to be one"


class RogueWorker:
    """A worker's socket, and whatever one likes to send on it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def say(self, **message: object) -> None:
        await self.ws.send_bytes(m.WorkerMessage(**message).SerializeToString())

    async def register(self, name: str = "rogue", **fields: object) -> str:
        await self.say(register=m.RegisterWorkerRequest(agent_name=name, **fields))
        return (await self.hear("register")).register.worker_id

    async def hear(self, kind: str) -> m.ServerMessage:
        """The next message of a kind."""
        async with asyncio.timeout(20):
            async for frame in self.ws:
                message = m.ServerMessage()
                message.ParseFromString(frame.data)
                if message.WhichOneof("message") == kind:
                    return message
        raise AssertionError(f"the server hung up before {kind} came")

    async def closed(self) -> int | None:
        async with asyncio.timeout(20):
            async for _ in self.ws:
                pass
        return self.ws.close_code


def signed(server: Server, *, age: float = 0.0, key: str = "", secret: str = "", **grants: object) -> str:
    first, its_secret = next(iter(server.keys.items()))
    claims = Claims(identity="w", video=VideoGrants(**grants))
    return encode_token(claims, key or first, secret or its_secret, now=time.time() - age, lifetime=600.0)


@contextlib.asynccontextmanager
async def rogue(server: Server, token: str | None = None) -> AsyncIterator[RogueWorker]:
    headers = {"Authorization": f"Bearer {token or signed(server, agent=True)}"}
    async with aiohttp.ClientSession(headers=headers) as client:
        async with client.ws_connect(server.url.replace("ws", "http") + "/agent", max_msg_size=0) as ws:
            yield RogueWorker(ws)


async def an_honest_worker_gets_a_job(house: House) -> None:
    """Beside all that goes on."""
    server = house.stage.server
    async with rogue(server) as worker:
        await worker.register("honest")
        server._core.dispatcher.step(_wish("honest"))
        offer = await worker.hear("availability")
        answer = m.AvailabilityResponse(job_id=offer.availability.job.id, available=True)
        await worker.say(availability=answer)
        assert (await worker.hear("assignment")).assignment.token


def _wish(name: str):
    from greenroom.protocol import dispatch_records as r

    return r.CreateDispatch(m.AgentDispatch(id=f"AD_{name}{time.monotonic_ns()}", agent_name=name, room="lobby"))


# -- at our server -----------------------------------------------------------------------------------------------------


async def test_who_may_not_be_a_worker_is_refused(house: House):
    server = house.stage.server
    tokens = {
        "none": "",
        "a participant's": server.token("mallory", "elsewhere"),
        "an admin's": signed(server, room_admin=True, room="elsewhere"),
        "expired": signed(server, agent=True, age=5000.0),
        "of another key": signed(server, agent=True, key="nobody"),
        "of another secret": signed(server, agent=True, secret=SECRET),
        "junk": "a.b.c",
    }
    url = server.url.replace("ws", "http") + "/agent"
    async with house.undisturbed(), aiohttp.ClientSession() as client:
        for name, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.ws_connect(url, headers=headers)
            assert caught.value.status == 401, name


@pytest.mark.parametrize("frame", [b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"", "{", "null"])
async def test_what_is_no_worker_message_or_comes_before_registering_ends_the_socket(house: House, frame):
    async with house.undisturbed(), rogue(house.stage.server) as worker:
        await (worker.ws.send_str(frame) if isinstance(frame, str) else worker.ws.send_bytes(frame))
        await worker.closed()


async def test_a_frame_over_the_limit_ends_the_socket(house: House):
    async with house.undisturbed(), rogue(house.stage.server) as worker:
        await worker.register()
        with contextlib.suppress(ConnectionError):
            await worker.ws.send_bytes(bytes(100_000_000))
        assert await worker.closed() in (1009, 1006)
        await an_honest_worker_gets_a_job(house)


async def test_a_worker_that_lies_and_floods_gets_nothing_and_harms_nobody(house: House):
    server = house.stage.server
    machine = server._core.dispatcher.machine
    async with house.undisturbed(), rogue(server) as worker, rogue(server) as victim:
        await victim.register("victim")
        server._core.dispatcher.step(_wish("victim"))
        job = (await victim.hear("availability")).availability.job
        worker_id = await worker.register()
        before = machine.worker_count
        await worker.say(register=m.RegisterWorkerRequest(agent_name="victim"))
        for _ in range(3):
            await worker.say(availability=m.AvailabilityResponse(job_id=job.id, available=True))
            await worker.say(availability=m.AvailabilityResponse(job_id=job.id, available=False, terminate=True))
            await worker.say(update_job=m.UpdateJobStatus(job_id=job.id, status=m.JobStatus.JS_FAILED, error="ha"))
            await worker.say(migrate_job=m.MigrateJobRequest(job_ids=[job.id, "AJ_no"] * 1000))
        for load in (math.nan, math.inf, -math.inf, -1e30, 1e30):
            await worker.say(update_worker=m.UpdateWorkerStatus(load=load, status=99, job_count=4_000_000_000))
        for number in range(30_000):
            answer = m.AvailabilityResponse(job_id=f"AJ_{number}", available=number % 2 == 0)
            await worker.say(availability=answer)
            if number % 20 == 0:
                await asyncio.sleep(0)  # the attacker, the callers and the server share one loop here
        await worker.say(update_job=m.UpdateJobStatus(job_id="AJ_no", status=2, error="x" * 1_900_000))
        await worker.say(ping=m.WorkerPing(timestamp=77))
        assert (await worker.hear("pong")).pong.last_timestamp == 77
        assert machine.worker_count == before and worker_id != ""
        await victim.say(availability=m.AvailabilityResponse(job_id=job.id, available=True))
        assert (await victim.hear("assignment")).assignment.job.id == job.id
        await an_honest_worker_gets_a_job(house)


async def test_a_worker_with_enormous_names_is_but_a_worker(house: House):
    async with house.undisturbed():
        for _ in range(20):
            async with rogue(house.stage.server) as worker:
                await worker.register("x" * 1_900_000)
        await an_honest_worker_gets_a_job(house)


async def test_a_worker_that_asks_without_end_and_never_listens_is_cut():
    async with Server(send_queue_size=200_000, half_open_timeout=2.0) as server, rogue(server) as worker:
        await worker.register()
        worker.ws._response.connection.transport.pause_reading()
        ping = m.WorkerMessage(ping=m.WorkerPing(timestamp=2**62)).SerializeToString()
        cut = asyncio.Event()

        async def flood() -> None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                while True:
                    await worker.ws.send_bytes(ping)
            cut.set()

        flooding = asyncio.ensure_future(flood())
        async with rogue(server) as other, asyncio.timeout(40):
            await other.register("other")
            await cut.wait()
            await flooding
            await other.say(ping=m.WorkerPing(timestamp=5))
            assert (await other.hear("pong")).pong.last_timestamp == 5
        assert server._core.dispatcher.machine.worker_count <= 1


# -- at our worker -----------------------------------------------------------------------------------------------------


class RogueServer:
    """Takes workers and tells them what it likes."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.heard: list[m.WorkerMessage] = []
        self.changed = asyncio.Event()
        self.url = ""

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        self.sockets.append(ws)
        self.changed.set()
        async for frame in ws:
            message = m.WorkerMessage()
            message.ParseFromString(frame.data)
            self.heard.append(message)
            self.changed.set()
            if message.WhichOneof("message") == "register":
                await self.say(register=m.RegisterWorkerResponse(worker_id=f"AW_{len(self.sockets)}"))
        return ws

    async def say(self, **message: object) -> None:
        await self.sockets[-1].send_bytes(m.ServerMessage(**message).SerializeToString())

    async def until(self, condition) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def all(self, kind: str) -> list:
        return [getattr(each, kind) for each in self.heard if each.WhichOneof("message") == kind]

    async def offer(self, job_id: str) -> None:
        await self.say(availability=m.AvailabilityRequest(job=m.Job(id=job_id, room=m.Room(name="lab"))))
        await self.until(lambda: any(each.job_id == job_id for each in self.all("availability")))

    async def assign(self, job_id: str, **fields: object) -> None:
        assignment = m.JobAssignment(job=m.Job(id=job_id, room=m.Room(name="lab")), **fields)
        await self.say(assignment=assignment)

    async def ended(self, job_id: str) -> m.UpdateJobStatus:
        final = (m.JobStatus.JS_SUCCESS, m.JobStatus.JS_FAILED)

        def reports() -> list[m.UpdateJobStatus]:
            return [each for each in self.all("update_job") if each.job_id == job_id and each.status in final]

        await self.until(reports)
        [report] = reports()
        return report


@contextlib.asynccontextmanager
async def rogue_server(entrypoint) -> AsyncIterator[tuple[RogueServer, AgentServer]]:
    server = RogueServer()
    app = web.Application()
    app.router.add_get("/agent", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"

    async def request(req: JobRequest) -> None:
        await req.accept()

    worker = AgentServer(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            request_fnc=request,
            ws_url=server.url,
            api_key="key",
            api_secret=SECRET,
            entrypoint_timeout=0.1,
            load_fnc=lambda: 0.0,
        )
    )
    running = asyncio.ensure_future(worker.run(devmode=True))
    try:
        await server.until(lambda: server.all("update_worker"))
        yield server, worker
    finally:
        await worker.aclose()
        await running
        await runner.cleanup()


async def test_jobs_that_were_never_offered_and_ids_that_come_twice(caplog):
    started: list[str] = []

    async def entrypoint(ctx: JobContext) -> None:
        started.append(ctx.job.id)

    async with rogue_server(entrypoint) as (server, worker):
        await server.assign("AJ_never", token="t")
        assert (await server.ended("AJ_never")).status == m.JobStatus.JS_FAILED
        for _ in range(3):
            await server.offer("AJ_twice")
        for _ in range(3):
            await server.assign("AJ_twice", token="t")
        await until(lambda: started == ["AJ_twice"])
        for job_id in ("AJ_unknown", "", "AJ_never"):
            await server.say(termination=m.JobTermination(job_id=job_id))
        await server.offer("AJ_twice")
        assert [each.job.id for each in worker.active_jobs] == ["AJ_twice"]
        await server.say(termination=m.JobTermination(job_id="AJ_twice"))
        assert (await server.ended("AJ_twice")).status == m.JobStatus.JS_SUCCESS
        assert started == ["AJ_twice"]


async def test_assignments_with_which_nobody_can_join_fail_with_a_reason():
    async def entrypoint(ctx: JobContext) -> None:
        await ctx.connect()

    async with rogue_server(entrypoint) as (server, worker), Server(keys={"key": SECRET}) as real:
        claims = Claims(identity="a", video=VideoGrants(room_join=True, room="lab"))
        expired = encode_token(claims, "key", SECRET, now=time.time() - 9000, lifetime=60.0)
        good = encode_token(claims, "key", SECRET, now=time.time())
        cases = {
            "empty token": {"token": "", "url": real.url},
            "expired token": {"token": expired, "url": real.url},
            "no token at all": {"token": "\x00 \n", "url": real.url},
            "no url": {"token": good, "url": "nonsense"},
            "url of nobody": {"token": good, "url": "ws://127.0.0.1:1"},
            "url of another protocol": {"token": good, "url": "file:///etc/passwd"},
        }
        for name, fields in cases.items():
            await server.offer(name)
            await server.assign(name, **fields)
            report = await server.ended(name)
            assert report.status == m.JobStatus.JS_FAILED and report.error, name
        assert not worker.active_jobs and not real.rooms


async def test_garbage_and_giants_do_not_end_the_worker(caplog):
    async def entrypoint(ctx: JobContext) -> None:
        return

    async with rogue_server(entrypoint) as (server, worker):
        for frame in (b"\xff" * 100, b"", b"\x0a\xff\xff\xff\xff\x0f"):
            for _ in range(300):
                await server.sockets[-1].send_bytes(frame)
            await server.sockets[-1].send_str("{")
        await server.offer("AJ_after garbage")
        assert len([each for each in caplog.records if each.name.startswith("greenroom")]) <= 10
        with contextlib.suppress(ConnectionError):
            await server.sockets[-1].send_bytes(bytes(100_000_000))
        await server.until(lambda: len(server.sockets) == 2 and len(server.all("register")) == 2)
        await server.offer("AJ_after the giant")
        await server.assign("AJ_after the giant", token="t")
        await until(lambda: worker.active_jobs)

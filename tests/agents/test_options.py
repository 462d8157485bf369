"""Every option and every variable of the environment does what it says, on a real worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from livekit import api
from livekit.protocol.egress import StopEgressRequest
from livekit.protocol.ingress import ListIngressRequest
from livekit.protocol.sip import CreateSIPInboundTrunkRequest, CreateSIPParticipantRequest, SIPParticipantInfo

from greenroom import agents, rtc
from greenroom.agents import AgentServer, JobContext, JobExecutorType, JobProcess, RunningJobInfo
from greenroom.agents.api import Api
from greenroom.agents.context import JobContext as Context
from greenroom.agents.job import Job, JobAcceptArguments
from greenroom.agents.load import CpuLoad
from greenroom.agents.runner import JobLaunch
from greenroom.errors import ConfigError, RequestError
from greenroom.wire.tokens import Claims, peek_claims
from tests.interop.official import joined, until

from . import staff
from .conftest import KEY, SECRET, Desk, working

pytestmark = pytest.mark.loopback


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "environment", "name"),
    [
        ("", {"LIVEKIT_AGENT_NAME": "usual"}, "usual"),
        ("chosen", {"LIVEKIT_AGENT_NAME": "usual"}, "chosen"),
        ("chosen", {"LIVEKIT_AGENT_NAME_OVERRIDE": "forced"}, "forced"),
    ],
)
async def test_a_worker_is_dispatched_by_the_name_that_counts(desk: Desk, monkeypatch, given, environment, name):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    server = AgentServer()
    server.rtc_session(staff.page_hanger, agent_name=given)
    worker = await desk.work(server, entrypoint_timeout=0.1)
    await desk.dispatch(name)
    await until(lambda: worker.active_jobs)
    assert worker.active_jobs[0].job.agent_name == name


async def test_a_hosted_workers_token_is_passed_on(monkeypatch):
    monkeypatch.setenv("LIVEKIT_WORKER_TOKEN", "a b")
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readline()).decode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        worker = AgentServer(ws_url=url, api_key=KEY, api_secret=SECRET, entrypoint_fnc=staff.hanger)
        running = asyncio.create_task(worker.run(devmode=True))
        await until(lambda: seen)
        assert worker.worker_info.cloud_agents
        await worker.aclose()
        await running
    assert seen[0].startswith("GET /agent?worker_token=a%20b ")


async def test_permissions_are_in_the_agents_token(desk: Desk):
    found: list[Claims] = []

    async def entrypoint(ctx: JobContext) -> None:
        found.append(ctx.token_claims())

    permissions = agents.WorkerPermissions(can_publish=False, can_update_metadata=False, hidden=True)
    await desk.work(AgentServer(entrypoint_fnc=entrypoint, agent_name="quiet", permissions=permissions))
    await desk.dispatch("quiet")
    await until(lambda: found)
    video = found[0].video
    assert video is not None and video.agent and video.hidden and video.room == "lab"
    assert (video.can_publish, video.can_subscribe, video.can_update_own_metadata) == (False, True, False)


# -- proxies ---------------------------------------------------------------------------------------------------------


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def http_proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """An HTTP proxy: its URL, and the first words of every request that it passed on."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        seen.append(f"{method} {target}")
        host, port, path = re.fullmatch(r"(?:http://)?([\d.]+):(\d+)(.*)", target).groups()
        upstream_reader, upstream = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            upstream.write(head.replace(target, path, 1).encode())
        await asyncio.gather(pump(reader, upstream), pump(upstream_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


@pytest.mark.parametrize("kind", [JobExecutorType.TASK, JobExecutorType.PROCESS])
async def test_a_proxy_is_between_the_worker_and_the_server(desk: Desk, kind: JobExecutorType):
    async with http_proxy() as (proxy, seen):
        server = AgentServer(http_proxy=proxy, agent_name="behind", job_executor_type=kind)
        async with working(server, desk.url, entrypoint_fnc=staff.counts_callers):
            assert any(line.startswith("CONNECT ") for line in seen) or any("/agent" in line for line in seen)
            async with joined(desk.server, "ada") as ada:
                await desk.dispatch("behind")
                (packet,) = await ada.wait("data_received")
        assert json.loads(packet.data) == {"there": ["ada"], "proxy": proxy}
        assert any("ListParticipants" in line for line in seen)


# -- certificates ----------------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine that it has signed itself, and its key."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", made, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return made, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
async def test_a_server_with_a_certificate_of_ones_own_is_believed(desk: Desk, tmp_path: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted, key = certificate(tmp_path)
    context.load_cert_chain(trusted, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = desk.url.removeprefix("ws://").split(":")
        upstream_reader, upstream = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, upstream), pump(upstream_reader, writer))

    (tmp_path / "agent.py").write_text(TOLD)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        url = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
        believed = {"SSL_CERT_FILE": str(trusted), "LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY}
        await tells_of_its_rooms(desk, tmp_path, {**os.environ, **believed, "LIVEKIT_API_SECRET": SECRET})


# -- the API of the server -------------------------------------------------------------------------------------------


async def test_the_given_token_is_what_the_servers_api_is_called_with(desk: Desk, monkeypatch):
    grants = api.VideoGrants(room_list=True)
    monkeypatch.setenv("LIVEKIT_TOKEN", api.AccessToken(KEY, SECRET).with_grants(grants).to_jwt())
    calls = Api(desk.url, "no key", "no secret")
    try:
        assert list((await calls.room.list_rooms()).rooms) == []
        with pytest.raises(RequestError, match="permission"):
            await calls.room.list_participants("lab")
    finally:
        await calls.aclose()


@contextlib.asynccontextmanager
async def twirp() -> AsyncIterator[tuple[Api, list[tuple[str, Claims, bytes]]]]:
    """A server's API, and every call of it: the method, the token's claims, the request. Answers are empty messages."""
    received: list[tuple[str, Claims, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        claims = peek_claims(request.headers["Authorization"].removeprefix("Bearer "))
        received.append((request.path.removeprefix("/twirp/livekit."), claims, await request.read()))
        return web.Response(content_type="application/protobuf")

    app = web.Application()
    app.add_routes([web.post("/{rest:.*}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    calls = Api(f"ws://127.0.0.1:{runner.addresses[0][1]}", KEY, SECRET)
    try:
        yield calls, received
    finally:
        await calls.aclose()
        await runner.cleanup()


async def test_other_services_are_called_by_their_names_with_what_they_need():
    async with twirp() as (calls, received):
        request = CreateSIPParticipantRequest(room_name="lab", sip_call_to="+123")
        assert isinstance(await calls.sip.create_sip_participant(request), SIPParticipantInfo)
        await calls.sip.create_inbound_trunk(CreateSIPInboundTrunkRequest())
        await calls.egress.stop_egress(StopEgressRequest())
        await calls.ingress.list_ingress(ListIngressRequest())
        await calls.room.move_participant(api.MoveParticipantRequest(room="lab", destination_room="hall"))
        await calls.room.forward_participant(api.ForwardParticipantRequest(room="lab", destination_room="hall"))
        with pytest.raises(AttributeError, match="StartRoomCompositeEgress"):
            _ = calls.egress.start_room_composit_egress
    assert [path for path, _, _ in received] == [
        "SIP/CreateSIPParticipant",
        "SIP/CreateSIPInboundTrunk",
        "Egress/StopEgress",
        "Ingress/ListIngress",
        "RoomService/MoveParticipant",
        "RoomService/ForwardParticipant",
    ]
    video = [claims.video for _, claims, _ in received]
    assert [each is not None and each.room_record for each in video] == [False, False, True, False, False, False]
    assert [each is not None and each.ingress_admin for each in video] == [False, False, False, True, False, False]
    assert [each.destination_room for each in video[4:] if each is not None] == ["hall", "hall"]
    _, claims, sent = received[0]
    assert CreateSIPParticipantRequest.FromString(sent) == request
    assert claims.video is not None and claims.video.room_admin and claims.video.room == "lab"
    assert claims.others["sip"] == {"admin": True, "call": True}


async def test_a_refusal_is_the_error_of_the_official_api_too(desk: Desk):
    calls = Api(desk.url, KEY, SECRET)
    try:
        with pytest.raises(api.TwirpError) as refused:
            await calls.room.get_participant(api.RoomParticipantIdentity(room="lab", identity="nobody"))
    finally:
        await calls.aclose()
    error = refused.value
    assert isinstance(error, RequestError) and error.reason == error.code == api.TwirpErrorCode.NOT_FOUND
    assert error.status == 404 and "GetParticipant" in error.message and "not_found" in str(error)


async def test_one_dispatch_is_found_by_its_id(desk: Desk):
    calls = Api(desk.url, KEY, SECRET)
    try:
        made = await desk.dispatch("nobody", metadata="later")
        found = await calls.agent_dispatch.get_dispatch(made.id, "lab")
        assert found is not None and found.metadata == "later"
        assert await calls.agent_dispatch.get_dispatch("AD_none", "lab") is None
    finally:
        await calls.aclose()


async def test_a_job_asks_for_a_service_that_this_server_has_not(desk: Desk):
    refused: list[str] = []

    async def entrypoint(ctx: JobContext) -> None:
        await ctx.connect()
        call = ctx.add_sip_participant(call_to="+123", trunk_id="trunk", participant_identity="phone")
        transfer = ctx.transfer_sip_participant("phone", "+456")
        for asked in await asyncio.gather(call, transfer, return_exceptions=True):
            refused.append(type(asked).__name__)
        participant = await ctx.wait_for_participant()
        try:
            ctx.transfer_sip_participant(participant, "+456")
        except ConfigError as error:
            refused.append(str(error))

    await desk.work(AgentServer(entrypoint_fnc=entrypoint, agent_name="caller"))
    async with joined(desk.server, "ada"):
        await desk.dispatch("caller")
        await until(lambda: len(refused) == 3)
    assert refused[:2] == ["RequestError"] * 2 and "did not come by telephone" in refused[2]


# -- metrics, modules, load ------------------------------------------------------------------------------------------


async def test_job_processes_share_their_metrics(desk: Desk, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    folder = tmp_path / "metrics"
    server = AgentServer(
        entrypoint_fnc=staff.counts_itself,
        agent_name="counted",
        job_executor_type=JobExecutorType.PROCESS,
        prometheus_multiproc_dir=str(folder),
        entrypoint_timeout=0.1,
    )
    try:
        worker = await desk.work(server)
        for room in ("one", "two"):
            await desk.dispatch("counted", room=room)
        address = f"http://127.0.0.1:{worker.worker_info.http_port}"
        async with aiohttp.ClientSession() as client, asyncio.timeout(20):
            text = ""
            while "calls_taken_total 2.0" not in text:
                async with client.get(f"{address}/metrics") as response:
                    text = await response.text()
            async with client.get(f"{address}/worker") as response:
                told = await response.json()
        assert "greenroom_jobs_active 2" in text
        assert (told["worker_type"], told["protocol_version"]) == ("JT_ROOM", 1)
    finally:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


@pytest.mark.parametrize("kind", list(JobExecutorType))
async def test_modules_are_imported_before_jobs(desk: Desk, kind: JobExecutorType, monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    server = AgentServer(
        entrypoint_fnc=staff.looks_for_this, agent_name="early", job_executor_type=kind, preload_modules=["this"]
    )
    await desk.work(server)
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("early")
        (packet,) = await ada.wait("data_received")
    assert packet.data == b"True"


def test_load_is_measured_within_the_limit_of_a_container(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("NUM_CPUS", raising=False)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 1\n")
    load = CpuLoad(tmp_path)
    assert load() == 0.0
    (tmp_path / "cpu.stat").write_text("usage_usec 900000000\nuser_usec 1\n")
    assert load() == 0.4
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert 0 <= CpuLoad(tmp_path)() <= 0.4


@pytest.mark.parametrize(("text", "warns"), [("1e12", False), ("many", True), ("-2", True)])
def test_the_environment_says_how_many_processors_there_are(tmp_path: Path, monkeypatch, caplog, text, warns):
    monkeypatch.setenv("NUM_CPUS", text)
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 0\n")
    load = CpuLoad(tmp_path)
    (tmp_path / "cpu.stat").write_text("usage_usec 1000000\n")
    assert (load() > 0.3) is warns
    assert ("NUM_CPUS" in caplog.text) is warns


async def test_a_function_that_measures_the_load_runs_beside_the_jobs(desk: Desk):
    asked: list[tuple[int, AgentServer]] = []

    def busy(worker: AgentServer) -> float:
        asked.append((threading.get_ident(), worker))
        return 0.25

    server = AgentServer(entrypoint_fnc=staff.page_hanger, agent_name="measured", load_fnc=busy)
    worker = await desk.work(server)
    address = f"http://127.0.0.1:{worker.worker_info.http_port}/worker"
    async with aiohttp.ClientSession() as client, asyncio.timeout(20):
        load = 0.0
        while load != 0.25:
            async with client.get(address) as response:
                load = (await response.json())["worker_load"]
    assert {each is server for _, each in asked} == {True}
    assert threading.get_ident() not in {thread for thread, _ in asked}


# -- jobs that no server has made ------------------------------------------------------------------------------------


async def test_a_simulated_job_is_for_whom_it_is_said(desk: Desk):
    found: list[RunningJobInfo] = []

    async def entrypoint(ctx: JobContext) -> None:
        found.append(ctx.info)
        await ctx.connect()
        await ctx.wait_for_participant()
        assert ctx.publisher is not None and ctx.publisher.identity == "ada" and ctx.is_fake_job()
        ctx.shutdown()

    worker = await desk.work(AgentServer(entrypoint_fnc=entrypoint, agent_name="by hand"))
    info = api.Room(name="lab", sid="RM_x", metadata="quiet", max_participants=7)
    async with joined(desk.server, "ada"):
        token = desk.token("the agent", "lab")
        await worker.simulate_job("lab", "ada", fake_job=True, room_info=info, token=token)
        await until(lambda: found and not worker.active_jobs)
    job = found[0].job
    assert (job.room.metadata, job.room.max_participants, job.type.name) == ("quiet", 7, "JT_PUBLISHER")
    assert found[0].accept_arguments.identity == "the agent"


def test_a_job_of_the_simulator_knows_its_scenario():
    dispatch = {"simulationRunId": "run", "jobId": "one", "mode": "SIMULATION_MODE_AUDIO", "newer": 1}
    dispatch["scenario"] = {"label": "angry", "userdata": '{"table": 7}'}

    def context(attributes: dict[str, str]) -> Context:
        job = Job.simulated("lab")
        job = Job(job.id, "", job.type, job.room, None, "", "", attributes)
        info = RunningJobInfo(JobAcceptArguments("", "me", ""), job, "", "", "")
        return Context(JobLaunch(info=info, entrypoint=lambda ctx: None), JobProcess(), lambda: None, rtc.Room())

    assert context({}).simulation_context() is None
    assert context({"lk.simulator.dispatch": "no JSON"}).simulation_context() is None
    ctx = context({"lk.simulator.dispatch": json.dumps(dispatch)})
    simulation = ctx.simulation_context()
    assert isinstance(simulation, agents.SimulationContext) and simulation is ctx.simulation_context()
    assert (simulation.simulation_run_id, simulation.simulation_job_id, simulation.simulation_mode) == ("run", "one", 2)
    assert simulation.userdata() == {"table": 7} and simulation.scenario.label == "angry"
    simulation.fail("too slow")
    assert simulation.user_verdict == agents.SimulationVerdict(False, "too slow")
    with pytest.raises(RuntimeError):
        _ = simulation.simulator_verdict


# -- waiting, with ourselves counted ---------------------------------------------------------------------------------


async def test_waiting_may_count_ourselves(desk: Desk):
    room = rtc.Room()
    await room.connect(desk.url, desk.token("me", "lab"))
    try:
        own = await agents.wait_for_participant(room, identity="me", include_local=True)
        assert own is room.local_participant
        track = rtc.LocalAudioTrack.create_audio_track("voice", rtc.AudioSource(48000, 1))
        waiting = asyncio.create_task(agents.wait_for_track_publication(room, include_local=True))
        publication = await room.local_participant.publish_track(track)
        async with asyncio.timeout(10):
            assert await waiting is publication
    finally:
        await room.disconnect()


# -- the command line ------------------------------------------------------------------------------------------------

TOLD = """
import json, logging, os
from livekit import api
from greenroom.agents import JobContext, WorkerOptions, cli, utils


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.wait_for_participant()
    async with api.LiveKitAPI() as server:
        rooms = (await server.room.list_rooms(api.ListRoomsRequest())).rooms
    level = logging.getLogger().level
    told = {"dev": utils.is_dev_mode(), "rooms": [each.name for each in rooms], "level": level}
    await ctx.agent.publish_data(json.dumps(told))


given = json.loads(os.environ.get("OPTIONS", "{}"))
cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, port=0, **given))
"""


@pytest.mark.parametrize(
    ("arguments", "dev", "level"),
    [
        (["dev", "--no-watch", "--asyncio-debug", "--log-level", "trace"], True, 5),
        (["start", "--log-format", "colored", "--drain-timeout", "1", "--simulation"], False, 20),
        (["connect", "--room", "lab", "--participant-identity", "me"], False, 10),
    ],
)
async def test_jobs_find_what_the_command_line_says(desk: Desk, tmp_path: Path, arguments, dev: bool, level: int):
    (tmp_path / "agent.py").write_text(TOLD)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
    command = [sys.executable, "agent.py", *arguments, "--url", desk.url, "--api-key", KEY, "--api-secret", SECRET]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=clean)
    try:
        async with joined(desk.server, "ada") as ada:
            (packet,) = await ada.wait("data_received")
        assert json.loads(packet.data) == {"dev": dev, "rooms": ["lab"], "level": level}
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


async def test_jobs_find_what_the_options_say(desk: Desk, tmp_path: Path):
    (tmp_path / "agent.py").write_text(TOLD)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
    options = json.dumps({"ws_url": desk.url, "api_key": KEY, "api_secret": SECRET})
    await tells_of_its_rooms(desk, tmp_path, {**clean, "OPTIONS": options})


async def tells_of_its_rooms(desk: Desk, folder: Path, environment: dict[str, str]) -> None:
    """The folder's agent, started in this environment, gets a job in a room and can ask the server's API."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "agent.py", "dev", "--no-reload"), cwd=folder, env=environment
    )
    try:
        async with joined(desk.server, "ada") as ada:
            (packet,) = await ada.wait("data_received")
        assert json.loads(packet.data)["rooms"] == ["lab"]
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "agent.py").write_text(TOLD)
    command = [sys.executable, *arguments]
    environment = {**os.environ, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["start", "--log-level", "loud"], {}), (["dev", "--no-reload"], {"LIVEKIT_LOG_LEVEL": "loud"})],
)
def test_a_wrong_log_level_gets_one_line(tmp_path: Path, arguments: list[str], environment: dict[str, str]):
    done = run(tmp_path, "agent.py", *arguments, **environment)
    assert done.returncode == 1 and "there is no log level 'loud': there are CRITICAL" in done.stderr


def test_a_file_that_is_not_named_is_found(tmp_path: Path):
    assert "greenroom itself needs no model files" in run(tmp_path, "-m", "greenroom.agents", "download-files").stdout
    done = run(tmp_path, "-m", "greenroom.agents", "start", "other.py")
    assert done.returncode == 1 and "there is no file other.py" in done.stderr
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty", "-m", "greenroom.agents", "--help")
    assert "download-files" in done.stdout

"""The figures for Prometheus, read with its own parser."""

import time

import aiohttp
import pytest
from livekit.api import DeleteRoomRequest
from prometheus_client.parser import text_string_to_metric_families

from greenroom.agents import AgentServer, WorkerOptions
from greenroom.errors import ConfigError, PortInUseError
from greenroom.server import Server, ServerOptions
from greenroom.server.config import options_from
from greenroom.server.options import Webhooks
from tests.agents.conftest import KEY, SECRET, Desk
from tests.agents.staff import hanger
from tests.interop.official import joined, tone, until

pytestmark = pytest.mark.loopback


async def figures(server: Server) -> dict[tuple[str, ...], float]:
    """Every sample: its name and the values of its labels."""
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.metrics_port}/metrics") as response:
        assert response.status == 200 and response.content_type == "text/plain"
        families = text_string_to_metric_families(await response.text())
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def running(**settings) -> Server:
    return Server(host="127.0.0.1", port=0, metrics_port=0, keys={KEY: SECRET}, **settings)


async def test_a_call_with_an_agent_is_counted():
    async with running() as server:
        empty = await figures(server)
        assert empty["greenroom_rooms",] == empty["greenroom_participants", "standard"] == 0
        assert empty["greenroom_packets_total", "in"] == empty["greenroom_agent_jobs", "running"] == 0
        desk = Desk(server)
        try:
            await desk.work(AgentServer(WorkerOptions(entrypoint_fnc=hanger, agent_name="a", load_fnc=lambda: 0.0)))
            async with joined(server, "ada") as ada, joined(server, "bob") as bob, tone(ada, 440):
                await desk.dispatch("a")
                await desk.dispatch("nobody")
                await bob.remote_track("tone")
                await until(lambda: len(ada.room.remote_participants) == 2)
                seen = await figures(server)
                assert seen["greenroom_rooms",] == 1
                assert seen["greenroom_participants", "standard"] == 2 and seen["greenroom_participants", "agent"] == 1
                assert seen["greenroom_tracks", "audio"] == 1 and seen["greenroom_tracks", "video"] == 0
                assert seen["greenroom_agent_workers",] == 1
                assert seen["greenroom_agent_jobs", "running"] == 1 and seen["greenroom_agent_jobs", "waiting"] == 1
                assert seen["greenroom_bytes_total", "in"] > seen["greenroom_packets_total", "in"] > 0
                assert seen["greenroom_bytes_total", "out"] > 0
                assert seen["greenroom_room_events_total", "participant_joined"] == 3
                assert seen["greenroom_event_loop_lag_seconds_count",] > 0
            await desk.api.room.delete_room(DeleteRoomRequest(room="lab"))
            seen = await figures(server)
            assert seen["greenroom_rooms",] == 0 and seen["greenroom_agent_jobs_ended_total", "success"] == 1
        finally:
            await desk.close()


async def test_webhooks_that_do_not_arrive_are_counted(unused_tcp_port):
    from aiohttp import web

    async def refuse(_request):
        return web.Response(status=400)

    runner = web.ServerRunner(web.Server(refuse))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    try:
        async with running(webhooks=Webhooks(urls=[f"http://127.0.0.1:{unused_tcp_port}/"])) as server:
            async with joined(server, "ada"):
                await until(lambda: server._core.webhooks.results["failed"] >= 2)
                seen = await figures(server)
            assert seen["greenroom_webhooks_total", "failed"] >= 2
            assert seen["greenroom_webhooks_total", "delivered"] == 0
    finally:
        await runner.cleanup()


async def test_code_that_blocks_the_loop_shows_in_its_lag():
    async with running() as server:
        time.sleep(0.6)  # noqa: ASYNC251 - blocking is what this is about
        await until(lambda: server._core.metrics._lag._sum.get() > 0.25)
        seen = await figures(server)
        slow = seen["greenroom_event_loop_lag_seconds_count",] - seen["greenroom_event_loop_lag_seconds_bucket", "0.25"]
        assert slow == 1


async def test_metrics_are_off_unless_asked_for_and_have_a_port_of_their_own():
    async with Server(host="127.0.0.1", port=0, keys={KEY: SECRET}) as server:
        assert server.metrics_port is None
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.port}/metrics") as response:
            assert response.status == 404
    async with running() as server:
        assert server.metrics_port not in (None, 0, server.port)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.metrics_port}/") as response:
            assert response.status == 404
        with pytest.raises(PortInUseError, match=f"metrics_port {server.metrics_port}"):
            await Server(host="127.0.0.1", port=0, keys={KEY: SECRET}, metrics_port=server.metrics_port).start()


def test_the_port_is_read_from_either_kind_of_configuration():
    assert options_from({"metrics_port": 6789}).metrics_port == 6789
    assert options_from({"prometheus_port": 6789}).metrics_port == 6789
    assert options_from({"prometheus": {"port": 6789}}).metrics_port == 6789
    for value in ("6789", 70000, True):
        with pytest.raises(ConfigError, match="metrics_port must be"):
            options_from({"metrics_port": value})
    with pytest.raises(ConfigError, match="metrics_host must be an IP address"):
        ServerOptions(metrics_host="localhost")

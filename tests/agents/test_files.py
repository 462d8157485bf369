"""An agent's file: every way to write its end, what it prints when something is wrong, and its pages."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from greenroom.agents import AgentServer, WorkerOptions, loading
from greenroom.errors import ConfigError, PortInUseError
from tests.interop.official import joined

from . import staff
from .conftest import KEY, SECRET, Desk

HEAD = """
import asyncio, json, os
from greenroom.agents import *

async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.wait_for_participant()
    await ctx.agent.publish_data(json.dumps({"pid": os.getpid(), "parent": os.getppid()}))

options = dict(entrypoint_fnc=entrypoint, agent_name="filed", port=0, load_fnc=lambda: 0.0)
"""
UNGUARDED = "cli.run_app(WorkerOptions(**options, job_executor_type=JobExecutorType.PROCESS, num_idle_processes=1))\n"
GUARDED = f'if __name__ == "__main__":\n    {UNGUARDED}'
BY_HAND = """
worker = AgentServer(**options, job_executor_type=JobExecutorType.PROCESS)
asyncio.run(worker.run())
"""


def write(folder: Path, end: str) -> Path:
    path = folder / "agent.py"
    path.write_text(HEAD + end)
    return path


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}


@pytest.mark.parametrize(
    "end", [GUARDED, UNGUARDED, "server = AgentServer(**options)\n", "made = WorkerOptions(**options)\n"]
)
def test_a_file_is_loaded_whichever_way_it_ends(tmp_path: Path, end: str):
    assert loading.load(write(tmp_path, end)).server.options.agent_name == "filed"


@pytest.mark.parametrize(("end", "what"), [("", "no worker"), (UNGUARDED * 2, "2 workers")])
def test_a_file_without_its_one_worker_is_told_what_to_write(tmp_path: Path, end: str, what: str):
    with pytest.raises(ConfigError, match=f"has {what}: end it with `cli.run_app"):
        _ = loading.load(write(tmp_path, end)).server


@pytest.mark.loopback
@pytest.mark.parametrize("end", [GUARDED, UNGUARDED])
async def test_job_processes_of_a_file_with_or_without_a_guard(desk: Desk, tmp_path: Path, end: str):
    count = desk.server._core.dispatcher.machine.worker_count
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(write(tmp_path, end)), "start", env=environment(desk.url)
    )
    try:
        async with joined(desk.server, "ada") as ada:
            await desk.dispatch("filed")
            (packet,) = await ada.wait("data_received")
            told = json.loads(packet.data)
        assert told["pid"] != process.pid and told["parent"] != process.pid
        assert desk.server._core.dispatcher.machine.worker_count == count + 1
        process.terminate()
        async with asyncio.timeout(40):
            assert await process.wait() == 0
        for pid in told.values():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.loopback
def test_a_file_that_starts_its_worker_while_it_is_loaded_gets_one_clear_error(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(write(tmp_path, BY_HAND))],
        env=environment("ws://127.0.0.1:1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert 'put what starts the worker under `if __name__ == "__main__":`' in done.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"LIVEKIT_API_KEY": ""}, "LIVEKIT_API_KEY (--api-key) is not set"),
        ({"LIVEKIT_URL": "127.0.0.1:7880"}, "must begin with ws:// or wss://"),
    ],
)
def test_a_wrong_setting_gets_one_line(tmp_path: Path, settings: dict[str, str], says: str):
    done = subprocess.run(
        [sys.executable, str(write(tmp_path, GUARDED)), "start"],
        env={**environment("ws://127.0.0.1:1"), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and says in line


async def scraped(client: aiohttp.ClientSession, address: str) -> dict[tuple[str, ...], float]:
    """Every sample of a worker's metrics: its name and the values of its labels."""
    async with client.get(f"{address}/metrics") as response:
        families = list(text_string_to_metric_families(await response.text()))
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


@pytest.mark.loopback
async def test_the_health_page_tells_how_a_worker_fares(desk: Desk):
    worker = await desk.work(AgentServer(WorkerOptions(request_fnc=staff.accept_page, agent_name="shown")))
    address = f"http://127.0.0.1:{worker.http_port}"
    await desk.dispatch("shown")
    await desk.job("JS_RUNNING")
    async with aiohttp.ClientSession() as client:
        async with client.get(address) as response:
            assert response.status == 200
        async with client.get(f"{address}/worker") as response:
            told = await response.json()
        assert (told["agent_name"], told["active_jobs"], told["worker_id"]) == ("shown", 1, worker.id)
        figures = await scraped(client, address)
        assert figures["greenroom_jobs_active",] == figures["greenroom_worker_registered",] == 1
        assert figures["greenroom_jobs_ended_total", "failed"] == figures["greenroom_worker_draining",] == 0
        assert figures["process_resident_memory_bytes",] > 0
        Counter("words", "What the program counts itself", ["language"]).labels("fr").inc(3)
        assert (await scraped(client, address))["words_total", "fr"] == 3
    second = AgentServer(
        WorkerOptions(
            request_fnc=staff.accept_page, ws_url=desk.url, api_key=KEY, api_secret=SECRET, port=worker.http_port
        )
    )
    with pytest.raises(PortInUseError, match=r"with port=\.\.\."):
        await second.run()
    second.update_options(port=0, prometheus_port=worker.http_port)
    with pytest.raises(PortInUseError, match=r"with prometheus_port=\.\.\."):
        await second.run()
    second.update_options(prometheus_port=None, host="203.0.113.7")
    with pytest.raises(ConfigError, match=r"host='203\.0\.113\.7': use an address of this machine"):
        await second.run()

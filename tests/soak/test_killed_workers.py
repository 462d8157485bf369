"""Workers that come, go and are killed while dispatches arrive: each room has its agent in the end, and only one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import psutil
import pytest
from livekit import api
from livekit.protocol.agent import JobStatus

from greenroom.server import Server
from tests.interop.official import until

pytestmark = pytest.mark.soak

KEY, SECRET = "devkey", "a secret that is long enough to be one"
SCRIPT = Path(__file__).with_name("counting_agent.py")
ROOMS, SLOTS = 30, 10


@pytest.mark.timeout(150)
@pytest.mark.parametrize("executor", ["task", "process"])
async def test_no_job_is_lost_or_doubled_when_workers_are_killed(executor: str):
    chance = random.Random(executor)
    async with Server(host="127.0.0.1", port=0, keys={KEY: SECRET}, reoffer_jobs=True) as server:
        settings = {"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        env = {**os.environ, **settings, "TEST_EXECUTOR": executor}
        machine = server._core.dispatcher.machine
        processes: list[asyncio.subprocess.Process] = []

        async def start() -> None:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(SCRIPT), "start", env=env, stderr=asyncio.subprocess.DEVNULL
            )
            processes.append(process)

        def exceeded() -> list[int]:
            return [len(worker.jobs) for worker in machine._workers.values() if len(worker.jobs) > SLOTS]

        def agents(room: str) -> list[str]:
            live = server.rooms.get(room)
            return list(live.participants) if live is not None else []

        await asyncio.gather(*(start() for _ in range(4)))
        await until(lambda: machine.worker_count == 4, 60)
        names = [f"room-{number}" for number in range(ROOMS)]
        try:
            async with api.LiveKitAPI(server.url, KEY, SECRET) as lk:
                for number, name in enumerate(names):
                    request = api.CreateAgentDispatchRequest(agent_name="many", room=name)
                    await lk.agent_dispatch.create_dispatch(request)
                    if number in (8, 18):
                        await until(lambda: sum(bool(agents(each)) for each in names) >= 4, 60)
                        victim = processes.pop(chance.randrange(len(processes)))
                        victim.send_signal(signal.SIGKILL if number == 8 else signal.SIGTERM)
                        await start()
                        if number == 8:
                            await victim.wait()
                        else:
                            processes.append(victim)
                    await asyncio.sleep(0.02)
                await until(lambda: all(len(agents(name)) == 1 for name in names), 100)
                assert not exceeded()
                for name in names:
                    [dispatch] = await lk.agent_dispatch.list_dispatch(name)
                    running = [job for job in dispatch.state.jobs if job.state.status == JobStatus.JS_RUNNING]
                    assert [job.state.participant_identity for job in running] == agents(name)
        finally:
            children = [child for each in processes for child in _tree(each.pid)]
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        await until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), 40)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []

"""Jobs as tasks, threads and processes: the same behaviour, and each kind's own promises."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading

import pytest

from greenroom.agents import AgentServer, JobExecutorType, WorkerOptions
from tests.interop.official import Client, joined, until

from . import staff
from .conftest import Desk

pytestmark = pytest.mark.loopback

EVERY = pytest.mark.parametrize("kind", list(JobExecutorType))


def worker(entrypoint, kind: JobExecutorType, **options) -> AgentServer:
    options = {"prewarm_fnc": staff.prewarm, "agent_name": "staff", "entrypoint_timeout": 0.5, **options}
    return AgentServer(WorkerOptions(entrypoint_fnc=entrypoint, job_executor_type=kind, **options))


async def told(client: Client, which: int = 0) -> dict:
    (packet,) = await client.wait("data_received", after=which)
    return json.loads(packet.data)


@EVERY
async def test_a_job_runs_is_told_apart_and_ends_well(desk: Desk, kind: JobExecutorType):
    await desk.work(worker(staff.talker, kind))
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("staff", metadata="for ada")
        seen = await told(ada)
        assert seen["metadata"] == "for ada" and seen["executor"] == kind.value
        assert (seen["pid"] == os.getpid()) == (kind is not JobExecutorType.PROCESS)
        assert (seen["thread"] == threading.get_ident()) == (kind is JobExecutorType.TASK)
        assert seen["prewarmed"] == seen["pid"]
        job = await desk.job("JS_RUNNING")
        assert job.state.participant_identity == seen["identity"]
        await ada.room.local_participant.publish_data(b"end")
        await ada.wait("participant_disconnected")
        assert (await desk.job("JS_SUCCESS")).state.error == ""


@EVERY
async def test_a_crash_ends_its_job_with_its_traceback_and_nothing_else(desk: Desk, kind: JobExecutorType):
    await desk.work(worker(staff.talker, kind))
    crashing = await desk.work(worker(staff.crasher, kind, agent_name="crasher"))
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("staff")
        await told(ada)
        await desk.dispatch("crasher", room="elsewhere")
        error = (await desk.job("JS_FAILED", "elsewhere")).state.error
        assert "LookupError: the agent's own mistake" in error and "staff.py" in error and "greenroom" not in error
        await until(lambda: not crashing.active_jobs)
        await desk.dispatch("crasher", room="again")
        await until(lambda: ada.room.remote_participants)
        assert ada.events("participant_disconnected") == []


@EVERY
async def test_a_hung_entrypoint_is_cancelled_after_its_grace(desk: Desk, kind: JobExecutorType):
    hanging = await desk.work(worker(staff.hanger, kind))
    async with joined(desk.server, "ada") as ada:
        made = await desk.dispatch("staff")
        await ada.wait("participant_connected")
        await until(lambda: hanging.active_jobs)
        await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
        await ada.wait("participant_disconnected")
        await until(lambda: not hanging.active_jobs)


@EVERY
async def test_an_entrypoint_that_ignores_its_cancellation_cannot_keep_the_worker(desk: Desk, kind, caplog):
    stubborn = await desk.work(worker(staff.stubborn, kind))
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("staff")
        await ada.wait("participant_connected")
        await until(lambda: stubborn.active_jobs)
        await stubborn.aclose()
        await ada.wait("participant_disconnected")
    if kind is JobExecutorType.TASK:
        assert "hang here" in caplog.text and "staff.py" in caplog.text


async def test_a_thread_that_hangs_is_named_frees_its_slot_and_its_agent_leaves(desk: Desk, caplog):
    limits = {"max_jobs": 1, "shutdown_process_timeout": 0.5}
    sleeper = await desk.work(worker(staff.sleeper, JobExecutorType.THREAD, **limits))
    async with joined(desk.server, "ada") as ada:
        made = await desk.dispatch("staff")
        await ada.wait("participant_connected")
        await until(lambda: sleeper.active_jobs)
        await desk.api.agent_dispatch.delete_dispatch(made.id, "lab")
        await until(lambda: not sleeper.active_jobs)
        assert "its thread hangs here" in caplog.text and "in sleeper" in caplog.text
        assert caplog.text.count("its thread hangs here") == 1
        await ada.wait("participant_disconnected")
        await desk.dispatch("staff", metadata="next")
        await until(lambda: [info.job.metadata for info in sleeper.active_jobs] == ["next"])
        await ada.wait("participant_connected", after=1)
        async with asyncio.timeout(15):
            await sleeper.drain(timeout=0.1)
        await ada.wait("participant_disconnected", after=1)


async def test_a_process_that_dies_fails_its_job_only(desk: Desk):
    dying = await desk.work(worker(staff.dier, JobExecutorType.PROCESS))
    await desk.dispatch("staff")
    await until(lambda: dying._running._figures.failed == 1)
    await desk.dispatch("staff", room="again")
    await until(lambda: dying._running._figures.failed == 2)


async def test_a_process_over_its_memory_limit_is_ended(desk: Desk, caplog):
    caplog.set_level(logging.WARNING)
    limits = {"job_memory_warn_mb": 150, "job_memory_limit_mb": 300}
    await desk.work(worker(staff.hoarder, JobExecutorType.PROCESS, **limits))
    await desk.dispatch("staff")
    await until(lambda: "more than job_memory_limit_mb=300" in caplog.text)


@pytest.mark.parametrize("kind", [JobExecutorType.PROCESS, JobExecutorType.TASK])
async def test_code_that_blocks_is_named_and_nothing_is_ended(desk: Desk, kind, caplog, capfd):
    blocked = await desk.work(worker(staff.talker, kind))
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("staff")
        await told(ada)
        await ada.room.local_participant.publish_data(b"block")
        said: list[str] = []

        def named() -> bool:
            said.append(capfd.readouterr().err + caplog.text)
            return "has stood still" in (text := "".join(said)) and "in on_data" in text

        await until(named)
        assert len(blocked.active_jobs) == 1 and not ada.events("participant_disconnected")
        await ada.room.local_participant.publish_data(b"end")
        await ada.wait("participant_disconnected")


async def test_prewarmed_processes_wait_for_jobs(desk: Desk):
    waiting = await desk.work(worker(staff.talker, JobExecutorType.PROCESS, num_idle_processes=2))
    executor = waiting._running._executor
    idle = {process.pid for process in executor._idle}
    assert len(idle) == 2
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("staff")
        assert (await told(ada))["pid"] in idle
        await until(lambda: len(executor._idle) == 2)


async def test_an_entrypoint_that_no_process_can_find_is_refused_with_a_reason(desk: Desk):
    async def nested(ctx) -> None: ...

    await desk.work(worker(nested, JobExecutorType.PROCESS))
    await desk.dispatch("staff")
    job = await desk.job("JS_FAILED")
    assert "top level of its module" in job.state.error

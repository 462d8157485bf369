"""Programs written for `livekit.agents` run on greenroom's, in processes of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents.conftest import KEY, SECRET, Desk, desk  # noqa: F401 - a fixture
from tests.interop.official import joined

IMPORTS = """
import livekit
from livekit import agents, rtc
import livekit.agents.cli
from livekit.agents import AgentServer, JobContext, JobRequest, Plugin, Worker, WorkerOptions, cli, utils
from livekit.agents._exceptions import AssignmentTimeoutError
from livekit.agents.cli import run_app
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS, AutoSubscribe, JobProcess, get_job_context
from livekit.agents.log import logger
from livekit.agents.plugin import Plugin as SamePlugin
from livekit.agents.testing import fake_job_context
from livekit.agents.types import ATTRIBUTE_AGENT_STATE, NOT_GIVEN
from livekit.agents.utils.participant import wait_for_participant
from livekit.agents.version import __version__
from livekit.agents.worker import ASSIGNMENT_TIMEOUT, ServerEnvOption, WorkerPermissions, WorkerType

assert livekit.agents is agents and Plugin is SamePlugin and cli.run_app is run_app
assert AgentServer.__module__ == "greenroom.agents.worker"
assert utils.wait_for_participant is wait_for_participant
with fake_job_context() as ctx:
    assert get_job_context() is ctx and isinstance(ctx, JobContext)
print(__version__)
"""

ECHO = """
import beside
from livekit import rtc
from livekit.agents import JobContext, JobExecutorType, WorkerOptions, cli


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    await ctx.room.local_participant.publish_data(f"{beside.word} {caller.identity} {rtc.Room.__module__}")


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, job_executor_type=JobExecutorType.PROCESS, port=0))
"""


REFUSED = """
from livekit import agents
for line in (
    "from livekit.agents import AgentSession",
    "from livekit.agents.voice import Agent",
    "import livekit.agents.llm",
    "agents.stt",
    "from livekit.agents._exceptions import APIError",
    "from livekit.agents import nonsense",
):
    try:
        exec(line)
    except Exception as error:
        print(type(error).__name__, "livekit-agents" in str(error))
print(hasattr(agents, "AgentSession"))
"""


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "greenroom.compat", str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_every_module_that_programs_import_from_is_there(tmp_path: Path):
    (tmp_path / "program.py").write_text(IMPORTS)
    done = run(tmp_path / "program.py")
    assert done.stdout.count(".") == 2, done.stderr


def test_what_belongs_to_the_official_framework_says_so(tmp_path: Path):
    (tmp_path / "program.py").write_text(REFUSED)
    done = run(tmp_path / "program.py")
    assert done.stdout.splitlines() == [
        "ImportError True",
        "ModuleNotFoundError True",
        "ModuleNotFoundError True",
        "AttributeError True",
        "ImportError True",
        "ImportError False",
        "False",
    ], done.stderr


@pytest.mark.loopback
async def test_job_processes_load_the_program_with_the_same_names(desk: Desk, tmp_path: Path):  # noqa: F811
    (tmp_path / "beside.py").write_text("word = 'hello'")
    (tmp_path / "agent.py").write_text(ECHO)
    environment = {**os.environ, "LIVEKIT_URL": desk.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenroom.compat", str(tmp_path / "agent.py"), "dev", "--no-reload"), env=environment
    )
    try:
        async with joined(desk.server, "ada") as ada:
            (packet,) = await ada.wait("data_received")
        assert packet.data == b"hello ada greenroom.rtc.room"
    finally:
        process.terminate()
        async with asyncio.timeout(40):
            await process.wait()

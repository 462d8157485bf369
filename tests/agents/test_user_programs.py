"""Programs as users write them, run as jobs on our server and judged by type checkers as a user's own files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.agents import loading
from tests.interop.official import joined, tone, until

from .conftest import Desk

pytestmark = pytest.mark.loopback

PROGRAMS = Path(__file__).parent / "programs"


def program(name: str) -> loading.Program:
    return loading.load(PROGRAMS / f"{name}.py")


async def test_a_server_with_a_decorated_entrypoint(desk: Desk, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    worker = await desk.work(program("sessions").server)
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("sessions", metadata="from the dispatch")
        (greeting,) = await ada.wait("data_received", lambda packet: packet.topic == "greeting")
        assert greeting.data == b"hello ada"
        (packet,) = await ada.wait("data_received", lambda packet: packet.topic == "told")
        named = {"lk.agent.name": "sessions", "lk.agent_name": "sessions"}
        assert json.loads(packet.data) == {
            "waited for": "ada",
            "there": ["ada", "host"],
            "me": ["host", "Host", "from the request", {"floor": "3", **named}],
            "token": "host",
            "metadata": "from the dispatch",
            "same": True,
            "given": True,
        }
        assert [each.job.room.name for each in worker.active_jobs] == ["lab"]
        await ada.room.local_participant.publish_data(b"", topic="end")
        await ada.wait("disconnected")
    await until(lambda: not worker.active_jobs)
    messages = [record.getMessage() for record in caplog.records if record.name == "sessions"]
    assert messages == ["the session in lab ends", "ended: room disconnected: room deleted"]


async def test_a_request_function_rejects_jobs(desk: Desk):
    await desk.work(program("sessions").server)
    async with joined(desk.server, "ada", room="unwanted"):
        await desk.dispatch("sessions", room="unwanted")
        assert (await desk.job("JS_SUCCESS", room="unwanted")).state.participant_identity == ""


async def test_everything_in_worker_options(desk: Desk):
    worker = await desk.work(program("options").server)
    async with joined(desk.server, "ada") as ada:
        await desk.dispatch("options")
        track = await ada.remote_track("voice")
        changed, _ = await ada.wait("participant_attributes_changed", lambda changed, _: "for" in changed)
        assert changed == {"for": "ada", "sid": track.sid}
        assert (await desk.job("JS_RUNNING")).state.participant_identity.startswith("agent-")
    await until(lambda: not worker.active_jobs)
    await desk.job("JS_SUCCESS")


async def test_the_pages_accept_with_an_entrypoint(desk: Desk):
    worker = await desk.work(program("page").server)
    async with joined(desk.server, "ada") as ada, tone(ada, 440, name="other"):
        await desk.dispatch("page")
        agent, *_ = await ada.wait("participant_connected")
        assert re.fullmatch(r"listener-\w+", agent.identity)
        async with tone(ada, 660, name="wanted"):
            (packet,) = await ada.wait("data_received")
            assert packet.data == b"subscribed wanted of ada"
    await until(lambda: not worker.active_jobs)


def test_a_programs_own_tests_run_with_a_fake_job(tmp_path: Path):
    shutil.copy(PROGRAMS / "checks.py", tmp_path / "test_checks.py")
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "2 passed" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """What a strict type checker finds in copies of the programs outside of this project: lines and kinds of error."""
    folder = tmp_path_factory.mktemp("programs")
    files = [Path(shutil.copy(path, folder)).name for path in sorted(PROGRAMS.glob("*.py"))]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", *files]
    printed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False).stdout
    assert f"checked {len(files)} source files" in printed, printed
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in files}
    for name, line, kind in re.findall(r"(\w+\.py):(\d+): error: .*\[([\w-]+)\]", printed):
        found[name].add((line, kind))
    return found


@pytest.mark.parametrize("name", ["sessions.py", "options.py", "page.py", "checks.py"])
def test_programs_pass_a_strict_type_checker(complaints: dict[str, set[tuple[str, str]]], name: str):
    assert complaints[name] == set()


def test_a_type_checker_finds_each_mistake(complaints: dict[str, set[tuple[str, str]]]):
    found = complaints["mistakes.py"]
    lines = (PROGRAMS / "mistakes.py").read_text().splitlines()
    expected = {(str(number), line.partition("  # ")[2]) for number, line in enumerate(lines, 1) if "  # " in line}
    assert len(expected) == 12 and expected - found == set()

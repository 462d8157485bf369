"""What a user can get wrong about an agent's file: one line that says what to change, and a status that is not 0."""

from __future__ import annotations

import socket
import wave
from pathlib import Path

import pytest

from greenroom.server import Server
from tests.cli.test_commands import KEYS, greenroom, mistake
from tests.cli.test_serving import in_thread

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]

HEAD = "from greenroom.agents import *\nasync def entrypoint(ctx: JobContext):\n    await ctx.connect()\n"
GOOD = HEAD + "cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, port=0))\n"


def write(folder: Path, text: str) -> str:
    (folder / "agent.py").write_text(text)
    return "agent.py"


def last_line(folder: Path, *arguments: str, status: int = 1, **environment: str) -> str:
    """The only line on stderr of a command that must fail."""
    done = greenroom(*arguments, cwd=folder, **environment)
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error"), line
    return line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "agent.py has no worker: end it with `cli.run_app"),
        (HEAD + "a = AgentServer()\nb = AgentServer()\n", "agent.py has 2 workers"),
        ("x = 1\ndef broken(:\n", "agent.py, line 2: "),
        ("\nimport nowhere_to_be_found\n", "agent.py, line 2: No module named 'nowhere_to_be_found'; install it"),
        ("from greenroom.agents import nothing_like_it\n", "agent.py, line 1: cannot import name"),
        (HEAD + "cli.run_app(WorkerOptions())\n", "a worker needs entrypoint_fnc=..."),
        (GOOD.replace("port=0", "port='http'"), "port of the worker's options must be 0 to 65535, not 'http'"),
    ],
)
def test_a_file_that_cannot_be_run(tmp_path: Path, text: str, says: str):
    assert says in last_line(tmp_path, "start", write(tmp_path, text))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["start", "--url", "localhost:7880"], "must begin with ws:// or wss://, not 'localhost:7880'"),
        (["start", "--url", "ws://"], "names no host"),
        (["start", "--log-level", "loud"], "no log level 'loud'"),
        (["connect", "--room", ""], "--room must name the room to join"),
    ],
)
def test_an_option_that_cannot_be_meant(tmp_path: Path, arguments: list[str], says: str):
    command, *options = arguments
    assert says in last_line(tmp_path, command, write(tmp_path, GOOD), *options)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["start", "--nosuch"], "--nosuch; `agent.py --help` shows what there is"),
        (["start", "--drain-timeout", "soon"], "argument --drain-timeout: invalid float value: 'soon'"),
        (["connect"], "--room; `agent.py connect --help` shows what there is"),
    ],
)
def test_an_option_that_is_none(tmp_path: Path, arguments: list[str], says: str):
    command, *options = arguments
    assert says in last_line(tmp_path, command, write(tmp_path, GOOD), *options, status=2)


def test_a_port_that_is_taken(tmp_path: Path):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        line = last_line(tmp_path, "start", write(tmp_path, GOOD.replace("port=0", f"port={port}")))
        assert f"port {port} of the health page is taken; choose another one with port=..." in line


@pytest.mark.parametrize("command", [["start"], ["connect", "--room", "lab"], ["run", "dev"]])
async def test_a_key_or_url_that_is_wrong(tmp_path: Path, command: list[str]):
    name, *rest = command
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as server:

        async def line(*options: str, **environment: str) -> str:
            arguments = [name, write(tmp_path, GOOD), *rest, *options]
            environment = {"LIVEKIT_URL": server.url, **environment}
            done = await in_thread(greenroom, *arguments, cwd=tmp_path, **environment)
            assert done.returncode == 1
            return done.stderr.splitlines()[-1]

        assert f"{server.url} does not know the API key" in await line("--api-secret", "wrong")
        assert f"{server.url} does not know the API key" in await line("--api-key", "other")
        if name == "connect":
            assert "is it ws:// instead of wss://?" in await line("--url", server.url.replace("ws:", "wss:"))
            assert "no server at ws://127.0.0.1:1 (LIVEKIT_URL, --url)" in await line("--url", "ws://127.0.0.1:1")


def test_the_programs_own_mistakes_are_shown_from_where_it_begins(tmp_path: Path):
    done = greenroom("start", write(tmp_path, HEAD + "raise LookupError('mine')\n"), cwd=tmp_path)
    assert done.returncode == 1 and "LookupError: mine" in done.stderr
    assert "greenroom/" not in done.stderr and done.stderr.splitlines()[-1].endswith("see above")
    failing = "def prewarm(proc):\n    raise LookupError('mine')\n" + GOOD.replace(
        "port=0", "prewarm_fnc=prewarm, port=0"
    )
    done = greenroom("start", write(tmp_path, failing), cwd=tmp_path)
    assert done.returncode == 1 and "LookupError: mine" in done.stderr
    assert "greenroom/" not in done.stderr and done.stderr.splitlines()[-1].endswith("see above")


async def test_a_job_that_fails_ends_connect_with_a_status(tmp_path: Path):
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as server:
        file = write(tmp_path, GOOD.replace("await ctx.connect()", "raise LookupError('mine')"))
        arguments = ["connect", file, "--room", "lab"]
        done = await in_thread(greenroom, *arguments, cwd=tmp_path, LIVEKIT_URL=server.url)
        assert done.returncode == 1 and "LookupError: mine" in done.stderr
        assert done.stderr.splitlines()[-1] == "error: the job failed, see above"


def test_a_machine_without_sound(tmp_path: Path):
    file = write(tmp_path, GOOD)
    with wave.open(str(tmp_path / "said.wav"), "wb") as said:
        said.setparams((1, 2, 16000, 0, "NONE", ""))
        said.writeframes(bytes(3200))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("arecord", "aplay"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:/bin:/usr/bin"
    done = greenroom("console", file, "--output", "out.wav", cwd=tmp_path, PATH=path)
    assert done.returncode == 1
    assert "no microphone (arecord ended): choose one with --input-device" in done.stderr.splitlines()[-1]
    done = greenroom("console", file, "--input", "said.wav", cwd=tmp_path, PATH=path)
    assert done.returncode == 1
    assert "no loudspeaker (aplay ended): choose one with --output-device" in done.stderr.splitlines()[-1]


def test_a_console_with_files_that_are_none(tmp_path: Path):
    file = write(tmp_path, GOOD)
    assert "missing.wav: No such file" in mistake("console", file, "--input", "missing.wav", cwd=tmp_path)
    assert "not a WAV file" in mistake("console", file, "--input", file, "--output", "o.wav", cwd=tmp_path)

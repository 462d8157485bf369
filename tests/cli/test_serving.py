"""A server started by the command, used by other commands, and stopped as a supervisor stops it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenroom import rtc
from greenroom.server import Server
from tests.cli.test_commands import greenroom, mistake

pytestmark = pytest.mark.loopback

KEYS = {"key": "a-secret-of-more-than-thirty-two-bytes"}


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "greenroom", *arguments],
        env={**os.environ, "COLUMNS": "500"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def line_with(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        if words in line:
            return line
        seen.append(line)
    raise AssertionError(f"never said {words!r}: {''.join(seen)}")


async def test_dev_prints_a_token_that_joins():
    with running("dev", "--port", "0") as process:
        url = line_with(process, "at ws://").split(" at ", 1)[1].split()[0]
        line_with(process, "join 'lobby' as 'guest'")
        assert process.stderr is not None
        token = process.stderr.readline().strip()
        async with rtc.Room() as room:
            await room.connect(url, token)
            assert (room.name, room.local_participant.identity) == ("lobby", "guest")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_serve_runs_as_its_file_says_and_ends_when_terminated(tmp_path, unused_tcp_port):
    config = tmp_path / "greenroom.toml"
    config.write_text(f'port = {unused_tcp_port}\n[keys]\nkey = "{KEYS["key"]}"\n')
    with running("serve", "--config", str(config)) as process:
        entry = json.loads(line_with(process, "listening"))
        assert entry["message"] == f"listening at ws://127.0.0.1:{unused_tcp_port}"
        done = greenroom("room", "--url", f"ws://127.0.0.1:{unused_tcp_port}", "--json", "list")
        assert json.loads(done.stdout) in ({}, {"rooms": []})
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_configuration_that_cannot_work_gets_one_line(tmp_path):
    config = tmp_path / "greenroom.toml"
    assert str(config) in mistake("serve", "--config", str(config))
    config.write_text("port = 0\n")
    assert "[keys]" in mistake("serve", "--config", str(config))
    config.write_text("prot = 0\n")
    assert "prot" in mistake("serve", "--config", str(config))
    config.write_text("port = = 0\n")
    assert "TOML" in mistake("serve", "--config", str(config))


async def test_a_port_that_is_taken_gets_one_line():
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as server:
        line = await in_thread(mistake, "dev", "--port", str(server.port))
        assert str(server.port) in line


async def in_thread(function, *arguments: object, **options: object):
    return await asyncio.to_thread(function, *arguments, **options)


async def test_rooms_are_administered(tmp_path):
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as server:

        async def room(*arguments: str) -> str:
            done = await in_thread(greenroom, "room", "--url", server.url, *arguments)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "salon" in await room("create", "salon", "--metadata", "red walls")
        assert "red walls" in await room("list")
        async with rtc.Room() as guest:
            await guest.connect(server.url, server.token("ada", "salon"))
            assert "ada" in await room("participants", "salon")
            changed = asyncio.create_task(guest.wait_for("room_metadata_changed", timeout=10))
            await room("metadata", "salon", "blue walls")
            await changed
            assert guest.metadata == "blue walls"
            received = asyncio.create_task(guest.wait_for("data_received", timeout=10))
            await room("send-data", "salon", "hello", "--topic", "news")
            packet = await received
            assert (packet.data, packet.topic) == (b"hello", "news")
            await room("update", "salon", "ada", "--attribute", "mood=calm")
            left = asyncio.create_task(guest.wait_disconnected())
            await room("remove", "salon", "ada")
            await left
        assert "closed" in await room("delete", "salon")
        assert "salon" not in await room("list")


async def test_a_key_the_server_does_not_know_gets_one_line():
    async with Server(host="127.0.0.1", port=0, keys={"other": "x" * 40}) as server:
        line = await in_thread(mistake, "room", "--url", server.url, "list")
        assert "key" in line and server.url in line


async def test_the_doctor_finds_this_machine_and_a_server_well():
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as server:
        done = await in_thread(greenroom, "doctor", "--url", server.url)
        assert done.returncode == 0, done.stdout + done.stderr
        for words in ("joined an own server", f"{server.url} answers", "key is accepted", "agrees"):
            assert words in done.stdout


def test_the_doctor_says_that_a_server_is_not_there(unused_tcp_port):
    done = greenroom("doctor", "--url", f"ws://127.0.0.1:{unused_tcp_port}")
    assert done.returncode == 1
    assert "is it running?" in done.stdout


@pytest.mark.timeout(180)
def test_the_demo_makes_a_call_and_finds_it_right(tmp_path: Path):
    import wave

    done = greenroom("demo", "--seconds", "4", "--folder", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("mirror hears speaker", "recorder sees mirror", "VP8", "H264", "640x360"):
        assert words in done.stdout
    with wave.open(str(tmp_path / "out/out.wav")) as file:
        assert file.getnframes() / file.getframerate() > 3
    assert list((tmp_path / "out").glob("out*.mp4")) or list((tmp_path / "out").glob("out*.png"))


@pytest.mark.timeout(180)
async def test_a_kept_demo_can_be_joined_and_ends_well_when_interrupted(tmp_path: Path):
    with running("demo", "--seconds", "3", "--keep", "--folder", str(tmp_path)) as process:
        url = line_with(process, "  url ").split()[-1]
        token = line_with(process, "  token ").split()[-1]
        async with rtc.Room() as room:
            await room.connect(url, token)
            assert {"speaker", "mirror", "recorder"} <= room.remote_participants.keys()
            track = await room.wait_for("track_subscribed", timeout=20)
            assert track
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0

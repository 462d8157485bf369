"""An agent's file under `greenroom dev`: run, and run anew when it is saved, in rooms that stay."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from greenroom import rtc
from tests.cli.test_commands import greenroom, mistake
from tests.cli.test_serving import in_thread, line_with, running

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]

AGENT = """
from greenroom.agents import AgentServer, JobContext, cli

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.room.local_participant.set_attributes({"version": "1"})


if __name__ == "__main__":
    cli.run_app(server)
"""


async def attribute(room: rtc.Room, value: str) -> None:
    """Return when an agent is there whose version is that one."""

    def there(*_: object) -> bool:
        return any(each.attributes.get("version") == value for each in room.remote_participants.values())

    if not there():
        await room.wait_for("participant_attributes_changed", there, timeout=40)


async def test_an_agent_is_run_anew_when_its_file_is_saved_and_its_room_stays(tmp_path: Path):
    file = tmp_path / "agent.py"
    file.write_text(AGENT)
    with running("dev", str(file), "--port", "0") as process:
        url = line_with(process, "at ws://").split(" at ", 1)[1].split()[0]
        line_with(process, "join 'lobby' as 'guest'")
        assert process.stderr is not None
        token = process.stderr.readline().strip()
        async with rtc.Room() as room:
            await room.connect(url, token)
            await attribute(room, "1")
            sid = await room.sid
            gone: list[rtc.RemoteParticipant] = []
            room.on("participant_disconnected", gone.append)
            (agent,) = room.remote_participants.values()
            file.write_text(AGENT.replace('"1"', '"2"'))
            await attribute(room, "2")
            assert await room.sid == sid
            assert gone == [] and list(room.remote_participants.values()) == [agent]


async def test_a_file_that_cannot_be_run_yet_is_waited_for(tmp_path: Path):
    file = tmp_path / "agent.py"
    file.write_text("def broken(:\n")
    with running("dev", str(file), "--port", "0") as process:
        url = line_with(process, "at ws://").split(" at ", 1)[1].split()[0]
        line_with(process, "join 'lobby' as 'guest'")
        assert process.stderr is not None
        token = process.stderr.readline().strip()
        assert "agent.py, line 1: " in line_with(process, "error")
        assert "it is tried again when it is saved" in line_with(process, "the program did not start")
        file.write_text(AGENT)
        async with rtc.Room() as room:
            await room.connect(url, token)
            await attribute(room, "1")


def test_a_file_that_is_not_there_gets_one_line():
    assert "nowhere.py" in mistake("start", "nowhere.py")
    assert "nowhere.py" in mistake("run", "nowhere.py", "dev")


ECHO = """
from greenroom import rtc
from greenroom.agents import AgentServer, JobContext, cli

server = AgentServer(agent_name="echo")


@server.rtc_session(agent_name="echo")
async def entrypoint(ctx: JobContext) -> None:
    source = rtc.AudioSource(48000, 1)

    @ctx.room.on("track_subscribed")
    async def repeat(track, *_):
        async for event in rtc.AudioStream(track):
            await source.capture_frame(event.frame)

    await ctx.connect()
    await ctx.room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("echo", source))
    await ctx.room.local_participant.send_text("I repeat what you say", topic="lk.transcription")


if __name__ == "__main__":
    cli.run_app(server)
"""


async def test_the_console_says_a_file_and_keeps_the_answer(tmp_path: Path):
    import numpy as np

    from greenroom.media import read_wav, write_wav

    (tmp_path / "agent.py").write_text(ECHO)
    moment = np.arange(16000) / 16000
    tone = (np.sin(2 * np.pi * 600 * moment) * 9000).astype(np.int16)
    write_wav(tmp_path / "said.wav", rtc.AudioFrame(tone.tobytes(), 16000, 1, len(tone)))
    done = await in_thread(
        greenroom, "console", "agent.py", "--input", "said.wav", "--output", "answer.wav", "--linger", "1", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "I repeat what you say" in done.stdout
    answer = read_wav(tmp_path / "answer.wav")
    samples = np.frombuffer(answer.data, np.int16).astype(float)
    spectrum = np.abs(np.fft.rfft(samples))
    assert abs(int(spectrum.argmax()) * answer.sample_rate / len(samples) - 600) < 3
    loud = np.abs(samples.reshape(-1, 480)).max(axis=1) > 3000
    assert 0.8 < loud.sum() / 100 < 1.2


def test_a_console_without_sound_says_what_to_install_or_name(tmp_path: Path):
    (tmp_path / "agent.py").write_text(ECHO)
    line = mistake("console", "agent.py", cwd=tmp_path, PATH="/nonexistent")
    assert "alsa-utils" in line and "--output" in line
    assert "missing.py" in mistake("console", "missing.py")
    assert "none.wav" in mistake("console", "agent.py", "--input", "none.wav", "--output", "o.wav", cwd=tmp_path)


PARROT = """
from greenroom.agents import AgentServer, JobContext, cli

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    async def answer(reader, identity):
        text = await reader.read_all()
        await ctx.agent.send_text(f"{identity} wrote {text}", topic="lk.transcription")

    ctx.room.register_text_stream_handler("lk.chat", answer)
    await ctx.connect()


cli.run_app(server)
"""


async def test_the_console_types_instead_of_speaking(tmp_path: Path):
    (tmp_path / "agent.py").write_text(PARROT)
    (tmp_path / "typed").write_text("good day\nis it Monday?\n")
    with (tmp_path / "typed").open() as typed:
        done = await in_thread(
            greenroom, "console", "agent.py", "--text", "--linger", "1", cwd=tmp_path, stdin=typed, PATH="/nonexistent"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "you wrote good day" in done.stdout and "you wrote is it Monday?" in done.stdout


async def test_the_console_of_an_agents_own_file_takes_the_official_options(tmp_path: Path):
    (tmp_path / "agent.py").write_text(PARROT)
    command = [sys.executable, "agent.py", "console", "--log-level", "error", "--text", "--linger", "1"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=tmp_path)
    async with asyncio.timeout(60):
        said, _ = await process.communicate(b"hello\n")
    assert process.returncode == 0 and b"you wrote hello" in said
    assert "livekit-agents" in mistake("console", "agent.py", "--record", cwd=tmp_path)
    assert "alsa-utils" in mistake("console", "agent.py", "--list-devices", cwd=tmp_path, PATH="/nonexistent")

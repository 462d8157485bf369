"""The programs of examples/, each as a process, as agents of livekit-server."""

# ruff: noqa: F401, F811 - fixtures are imported

import asyncio
import contextlib
import os
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.interop.livekit_server import KEY, SECRET, Lab, colour, hear, lab, livekit, running, see, tone
from tests.interop.official import PATIENCE, close

EXAMPLES = Path(__file__).parents[2] / "examples"


class Agent:
    """A running example and what it has logged."""

    def __init__(self, process):
        self.process = process
        self._lines = []

    async def says(self, words):
        """Wait for a line of its log with these words."""
        async with asyncio.timeout(2 * PATIENCE):
            while not any(words in line for line in self._lines):
                line = await self.process.stderr.readline()
                assert line, f"{words!r} was not said; the last words were {''.join(self._lines[-20:])}"
                self._lines.append(line.decode())


@contextlib.asynccontextmanager
async def working(name, server, **environment):
    """An example, registered."""
    settings = {"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / f"{name}.py"), "start", "--log-level", "debug"),
        env={**os.environ, **settings, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    agent = Agent(process)
    try:
        await agent.says("registered")
        yield agent
    finally:
        if process.returncode is None:
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.communicate()
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
async def alone(livekit, tmp_path):
    """A server for one test: livekit-server gives the jobs of a room to any agent that is registered."""
    with running(tmp_path) as server:
        made = Lab(server)
        yield made
        await made.api.aclose()


async def test_sine_is_heard(alone):
    async with working("sine", alone.server), alone.joined("ada", "official") as ada:
        stream = ada.rtc.AudioStream(await ada.remote_track("example-track"), sample_rate=48_000, num_channels=1)
        heard = []
        async with asyncio.timeout(PATIENCE):
            async for event in stream:
                heard.append(np.frombuffer(event.frame.data, np.int16))
                if len(heard) == 150:
                    break
        await stream.aclose()
        samples = np.concatenate(heard)[-48_000:].astype(float)
        peak = np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))
        assert abs(peak - 440) < 15
        [agent] = ada.room.remote_participants.values()
        assert agent.kind == ada.rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


async def test_still_colour_is_seen(alone):
    async with working("still_colour", alone.server), alone.joined("ada", "official") as ada:
        seen, _ = await see(ada, await ada.remote_track("example-track"), size=(640, 480))
    assert close(seen, (255, 0, 0), 20), seen


async def test_finite_audio_is_heard_and_ends(alone, tmp_path):
    path = tmp_path / "speech.wav"
    samples = 8000 * np.sin(2 * np.pi * 600 * np.arange(3 * 16_000) / 16_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype(np.int16).tobytes())
    async with working("finite_audio", alone.server, SPEECH=str(path)), alone.joined("ada", "official") as ada:
        [(frequency, _)] = await hear(ada, await ada.remote_track("speech"))
        assert abs(frequency - 600) < 15
        await ada.wait("participant_disconnected")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("receive", "ada: "),
        ("receive_in_handler", "Frame("),
        ("manual_subscription", "receiving tone of ada"),
        ("convert", "picture arrives as"),
    ],
)
async def test_those_that_receive(alone, name, words):
    async with working(name, alone.server) as agent, alone.joined("ada", "official") as ada:
        async with tone(ada, 440) as publication, colour(ada, (200, 40, 40)) as picture:
            await agent.says(words)
            wanted = picture if name == "convert" else publication
            await asyncio.wait_for(wanted.wait_for_subscription(), PATIENCE)

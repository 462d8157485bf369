"""An agent's program that is saved while it works: its jobs go on in the next run, and the far end notices little."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from livekit import rtc

from greenroom.agents.reload import Reloader
from greenroom.server import Server
from tests.interop.official import Client, joined, until

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(150)]

KEY, SECRET = "devkey", "a secret that is long enough to be one"
AGENT = """
import asyncio, os, pathlib
import numpy as np
from greenroom import rtc
from greenroom.agents import *

FREQUENCY = 400
LOG = pathlib.Path(__file__).with_suffix(".log")

def note(line):
    with LOG.open("a") as file:
        file.write(f"{line}\\n")

async def entrypoint(ctx: JobContext) -> None:
    note(f"begin {FREQUENCY} {ctx.job.id} {ctx.job.metadata}")
    async def farewell(reason):
        note(f"end {FREQUENCY} {ctx.job.id}")
    ctx.add_shutdown_callback(farewell)
    await ctx.connect()
    source = rtc.AudioSource(48000, 1)
    await ctx.agent.publish_track(rtc.LocalAudioTrack.create_audio_track("tone", source))
    position = 0
    while True:
        moment = (np.arange(480) + position) / 48000
        samples = (9000 * np.sin(2 * np.pi * FREQUENCY * moment)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), 48000, 1, 480))
        position += 480

options = WorkerOptions(entrypoint_fnc=entrypoint, agent_name="tone", load_fnc=lambda: 0.0, entrypoint_timeout=0.3)

if __name__ == "__main__":
    cli.run_app(options)
"""


class Program:
    """A program's file, the process that runs it for development, and what both said."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "agent.py"
        self.said: list[str] = []
        self.process: asyncio.subprocess.Process
        self.save()

    def save(self, frequency: int = 400, text: str = AGENT) -> None:
        """Write the file as editors do: beside it first."""
        beside = self.file.with_suffix(".tmp")
        beside.write_text(text.replace("FREQUENCY = 400", f"FREQUENCY = {frequency}"))
        beside.replace(self.file)

    @property
    def noted(self) -> list[list[str]]:
        """What its jobs noted, as words."""
        log = self.file.with_suffix(".log")
        return [line.split(" ", 3) for line in log.read_text().splitlines()] if log.exists() else []

    def noted_of(self, what: str, frequency: int) -> list[list[str]]:
        return [words for words in self.noted if words[:2] == [what, str(frequency)]]

    async def listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode())

    def says(self, words: str) -> bool:
        return any(words in line for line in self.said)


@contextlib.asynccontextmanager
async def started(folder: Path, url: str, *options: str) -> AsyncIterator[Program]:
    """`python agent.py dev`, for the server at an address."""
    program = Program(folder)
    environment = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    program.process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program.file),
        "dev",
        *options,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    listening = asyncio.create_task(program.listen())
    try:
        await until(lambda: program.says("registered as"))
        yield program
    except (AssertionError, TimeoutError) as error:
        error.add_note("".join(program.said) + "\n".join(map(" ".join, program.noted)))
        raise
    finally:
        if program.process.returncode is None:
            program.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(40):
            await program.process.wait()
        await listening


@contextlib.asynccontextmanager
async def developing(folder: Path, server: Server, *options: str) -> AsyncIterator[Program]:
    """`python agent.py dev`, for a server of the test, which knows no worker afterwards."""
    async with started(folder, server.url, *options) as program:
        yield program
    assert not machine(server).worker_count


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(host="127.0.0.1", port=0, keys={KEY: SECRET}) as server:
        yield server


def machine(server: Server):
    return server._core.dispatcher.machine


def jobs(server: Server, room: str = "lab"):
    return [job for dispatch in machine(server).dispatches(room) for job in dispatch.state.jobs]


async def dispatch(server: Server, metadata: str = "") -> None:
    from livekit import api

    async with api.LiveKitAPI(server.url, KEY, SECRET) as lk:
        wanted = api.CreateAgentDispatchRequest(agent_name="tone", room="lab", metadata=metadata)
        await lk.agent_dispatch.create_dispatch(wanted)


async def hears(client: Client, frequency: int) -> rtc.RemoteParticipant:
    """Who sends a tone of that frequency; waits for it."""
    async with asyncio.timeout(30):
        while True:
            for participant in list(client.room.remote_participants.values()):
                for publication in list(participant.track_publications.values()):
                    if publication.track is not None and await sounds(publication.track) == frequency:
                        return participant
            await asyncio.sleep(0.02)


async def sounds(track: rtc.Track) -> int | None:
    """The frequency of a track's next 200 ms, to the nearest 50 Hz; None when there is no sound."""
    stream = rtc.AudioStream(track, sample_rate=48000, num_channels=1)
    samples: list[np.ndarray] = []
    try:
        async with asyncio.timeout(1):
            async for event in stream:
                samples.append(np.frombuffer(event.frame.data, np.int16))
                if sum(map(len, samples)) >= 9600:
                    break
    except TimeoutError:
        return None
    finally:
        await stream.aclose()
    joined_samples = np.concatenate(samples)[:9600].astype(float)
    if np.abs(joined_samples).max() < 1000:
        return None
    peak = int(np.abs(np.fft.rfft(joined_samples)).argmax()) * 5
    return round(peak / 50) * 50


@pytest.mark.parametrize("single", [True, False])
async def test_a_saved_program_takes_over_its_jobs_and_callers_keep_their_agent(
    server: Server, tmp_path: Path, single: bool
):
    async with joined(server, "ada", single=single) as ada, developing(tmp_path, server) as program:
        await dispatch(server, "for ada")
        agent = await hears(ada, 400)
        [job] = jobs(server)
        program.save(600)
        again = await hears(ada, 600)
        assert again.identity == agent.identity == job.state.participant_identity
        assert ada.events("participant_disconnected") == []
        assert len(ada.events("participant_connected")) == 1
        assert program.noted_of("begin", 600) == [["begin", "600", job.id, "for ada"]]
        await until(lambda: program.noted_of("end", 400))
        [after] = jobs(server)
        assert (after.id, after.state.status, after.state.error) == (job.id, job.state.status, "")
        assert after.state.worker_id != job.state.worker_id
        assert machine(server).worker_count == 1
    assert len(program.noted_of("end", 600)) == 1


async def test_five_quick_saves_end_with_one_worker_and_every_job_once(server: Server, tmp_path: Path):
    async with joined(server, "ada") as ada, developing(tmp_path, server) as program:
        await dispatch(server)
        await dispatch(server)
        await until(lambda: len(ada.room.remote_participants) == 2)
        agents = set(ada.room.remote_participants)
        for frequency in (450, 500, 550, 600, 650):
            program.save(frequency)
            await asyncio.sleep(0.25)
        await until(lambda: len(program.noted_of("begin", 650)) == 2)
        await until(lambda: [job.state.status for job in jobs(server)] == [1, 1] and machine(server).worker_count == 1)
        await hears(ada, 650)
        assert set(ada.room.remote_participants) == agents
        assert ada.events("participant_disconnected") == []
        begun = [tuple(words[1:3]) for words in program.noted if words[0] == "begin"]
        assert len(begun) == len(set(begun))


@pytest.mark.parametrize("mistake", ["def broken(:\n", "options = None\n"])
async def test_a_mistake_costs_nothing_but_a_line(server: Server, tmp_path: Path, mistake: str):
    async with joined(server, "ada") as ada, developing(tmp_path, server) as program:
        await dispatch(server)
        await hears(ada, 400)
        program.save(text=AGENT.replace("\nif __name__", f"\n{mistake}\nif __name__"))
        await until(lambda: program.says("the run before it goes on"))
        await hears(ada, 400)
        assert machine(server).worker_count == 1 and ada.events("track_unpublished") == []
        program.save(600)
        await hears(ada, 600)
        assert ada.events("participant_disconnected") == []


async def test_a_job_that_failed_is_run_again_by_the_next_save(server: Server, tmp_path: Path):
    async with joined(server, "ada") as ada, developing(tmp_path, server) as program:
        await dispatch(server, "once more")
        await hears(ada, 400)
        program.save(text=AGENT.replace("    await ctx.connect()", "    raise LookupError('not yet')"))
        await until(lambda: program.says("LookupError: not yet"))
        await ada.wait("participant_disconnected")
        program.save(600)
        await hears(ada, 600)
        assert program.noted_of("begin", 600)[0][3] == "once more"
        assert [job.state.status for job in jobs(server)] == [1]


@pytest.mark.parametrize("executor", ["THREAD", "PROCESS"])
async def test_jobs_in_threads_and_processes_are_taken_over_too(server: Server, tmp_path: Path, executor: str):
    text = AGENT.replace("entrypoint_timeout", f"job_executor_type=JobExecutorType.{executor}, entrypoint_timeout")
    async with joined(server, "ada") as ada, developing(tmp_path, server) as program:
        program.save(text=text)
        await until(lambda: sum("registered as" in line for line in program.said) == 2)
        await dispatch(server)
        await hears(ada, 400)
        program.save(600, text)
        await hears(ada, 600)
        assert ada.events("participant_disconnected") == []
        await until(lambda: program.noted_of("end", 400))


async def test_without_reload_a_save_changes_nothing(server: Server, tmp_path: Path):
    async with joined(server, "ada") as ada, developing(tmp_path, server, "--no-reload") as program:
        await dispatch(server)
        await hears(ada, 400)
        program.save(600)
        await asyncio.sleep(1)
        await hears(ada, 400)
        assert not program.noted_of("begin", 600)


async def test_a_run_that_hangs_is_killed_and_its_job_is_offered_again(tmp_path: Path):
    async with (
        Server(host="127.0.0.1", port=0, keys={KEY: SECRET}, reoffer_jobs=True) as server,
        joined(server, "ada") as ada,
        developing(tmp_path, server) as program,
    ):
        program.save(text=AGENT.replace("    position = 0\n", "    position = 0\n    import time; time.sleep(1000)\n"))
        await until(lambda: sum("registered as" in line for line in program.said) == 2)
        await dispatch(server)
        await ada.wait("track_published")
        program.save(600)
        await until(lambda: program.says("does not let go of its jobs"))
        await hears(ada, 600)
        assert machine(server).worker_count == 1
        assert [job.state.status for job in jobs(server)][-1] == 1


async def test_the_worker_ends_with_who_runs_it_anew(server: Server, tmp_path: Path):
    async with joined(server, "ada") as ada, developing(tmp_path, server) as program:
        await dispatch(server)
        await hears(ada, 400)
        program.process.kill()
        await ada.wait("participant_disconnected")
        await until(lambda: not machine(server).worker_count)
        assert program.noted_of("end", 400)


async def test_a_folder_that_cannot_be_watched_is_told_of_and_the_program_runs(tmp_path: Path):
    told: list[str] = []
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    running = asyncio.create_task(Reloader(command, tmp_path / "gone/agent.py", {}, told.append).keep_running())
    await until(lambda: len(told) == 2)
    running.cancel()
    assert {line.split(":")[0] for line in told} == {
        f"saves in {tmp_path / 'gone'} are not noticed",
        "the program did not start (status 3), see above; it is tried again when it is saved",
    }


IDLE = AGENT.split("    source = rtc")[0] + "\noptions" + AGENT.split("\noptions")[1]


async def test_jobs_that_come_while_programs_are_saved_are_neither_lost_nor_doubled(server: Server, tmp_path: Path):
    async with joined(server, "ada") as ada, developing(tmp_path, server) as program:
        program.save(text=IDLE)
        for number in range(12):
            await dispatch(server)
            if number % 4 == 2:
                program.save(500 + number, IDLE)
            await asyncio.sleep(0.1)
        program.save(600, IDLE)
        await until(lambda: len(program.noted_of("begin", 600)) == 12, 60)
        await until(lambda: machine(server).worker_count == 1, 60)
        await until(lambda: [job.state.status for job in jobs(server)] == [1] * 12, 60)
        await until(lambda: len(ada.room.remote_participants) == 12, 60)
        assert len({words[2] for words in program.noted_of("begin", 600)}) == 12
        begun = [tuple(words[:3]) for words in program.noted]
        assert len(begun) == len(set(begun))

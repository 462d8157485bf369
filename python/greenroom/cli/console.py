"""`greenroom console`: talk to an agent from the terminal, with a microphone or with WAV files, and no other server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from greenroom import rtc
from greenroom.agents.reload import end_process
from greenroom.cli.output import console, notes
from greenroom.cli.serving import interrupted
from greenroom.errors import ConfigError
from greenroom.media import WavWriter, is_silent, read_wav
from greenroom.runtime.tasks import TaskSet
from greenroom.server import Server

__all__ = ["Means", "list_devices", "talk"]

log = logging.getLogger("greenroom.cli")

RATE = 48000
ROOM = "console"
#: Topics on which agents send what is said, and other text.
_TOPICS = ("lk.transcription", "lk.chat")


@dataclass(frozen=True, slots=True)
class Means:
    """What a conversation is held with.

    Attributes:
        heard_from: a WAV file to speak; None = the microphone.
        said_to: a WAV file for what the agent says; None = the loudspeaker.
        linger: seconds of silence after the end of `heard_from`, or of what is typed, that end the conversation.
        input_device: the microphone, by its ALSA name or the number of its card; "" = the usual one.
        output_device: the loudspeaker, likewise.
        text: type instead of speaking; what the agent says aloud is not played.
    """

    heard_from: Path | None = None
    said_to: Path | None = None
    linger: float = 3.0
    input_device: str = ""
    output_device: str = ""
    text: bool = False


def list_devices() -> None:
    """Print this machine's microphones and loudspeakers.

    Raises:
        ConfigError: the program that knows them is not installed.
    """
    for name, what in (("arecord", "microphones"), ("aplay", "loudspeakers")):
        found = subprocess.run([_program(name), "-L"], capture_output=True, text=True, timeout=10, check=False)
        console.print(f"{what}:\n{found.stdout or 'none'}", markup=False)


def talk(file: Path, means: Means) -> None:
    """Run one job of the file in a room of this process's own and talk with it.

    Args:
        file: the agent's program.
        means: how.

    Raises:
        ConfigError: a file is missing, or sound needs a program that is not installed.
        OSError: a WAV file cannot be read or written.
    """
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    speech = read_wav(means.heard_from).remix_and_resample(RATE, 1) if means.heard_from else None
    asyncio.run(_talk(file, speech, means))


async def _talk(file: Path, speech: rtc.AudioFrame | None, means: Means) -> None:
    tasks, programs = TaskSet(log), Programs()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(programs.close)
        listener = Listener(await stack.enter_async_context(_speaker(means, programs)), tasks)
        source = rtc.AudioSource(RATE, 1)
        typed = means.text and speech is None
        speak = None if typed else await _voice(speech, source, means.input_device, programs)
        key = {"console": secrets.token_urlsafe(32)}
        server = await stack.enter_async_context(Server(host="127.0.0.1", port=0, keys=key))
        room = await stack.enter_async_context(rtc.Room())
        stack.push_async_callback(tasks.close)
        listener.follow(room)
        await room.connect(server.url, server.token("you", ROOM))
        if speak is None:
            speak = partial(_type, room)
        else:
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("voice", source), options)
        process = await _run_agent(file, server, key)
        stack.push_async_callback(end_process, process)
        notes.print("talking; Ctrl-C ends it")
        stop = tasks.spawn(interrupted(), name="interrupted")
        over = tasks.spawn(_conversation(listener, speak, means.linger), name="conversation")
        gone = tasks.spawn(process.wait(), name="agent")
        mute = tasks.spawn(programs.first_to_end(), name="sound")
        await asyncio.wait([stop, over, gone, mute], return_when=asyncio.FIRST_COMPLETED)
        if mute.done():
            raise ConfigError(f"{mute.result()}; its own words are above")
        if gone.done() and gone.result():
            raise ConfigError(f"the agent ended by itself with status {gone.result()}; its own words are above")


class Listener:
    """What the agent says, passed on. `heard` is set by every sound of it."""

    def __init__(self, play: Callable[[rtc.AudioFrame], Awaitable[None]], tasks: TaskSet) -> None:
        self._play = play
        self._tasks = tasks
        self.there = asyncio.Event()
        self.heard = asyncio.Event()

    def follow(self, room: rtc.Room) -> None:
        """Hear and show everything that comes into the room."""

        @room.on("participant_active")
        def greet(participant: rtc.RemoteParticipant) -> None:
            notes.print(f"[dim]{participant.identity} is here[/]")
            self.there.set()

        @room.on("track_subscribed")
        async def hear(track: rtc.Track, *_: object) -> None:
            if track.kind != rtc.TrackKind.KIND_AUDIO:
                return
            async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
                if not is_silent(event.frame):
                    self.heard.set()
                await self._play(event.frame)

        @room.on("data_received")
        def show(packet: rtc.DataPacket) -> None:
            console.print(packet.data.decode(errors="replace"), markup=False)

        def read(reader: rtc.TextStreamReader, identity: str) -> None:
            self.heard.set()
            self._tasks.spawn(_print(reader, identity), name="text")

        for topic in _TOPICS:
            room.register_text_stream_handler(topic, read)


async def _print(reader: rtc.TextStreamReader, identity: str) -> None:
    console.print(f"{identity}: {await reader.read_all()}", markup=False)


async def _conversation(listener: Listener, speak: Callable[[], Awaitable[None]], linger: float) -> None:
    """Return when everything is said and the agent has been silent for a while."""
    await listener.there.wait()
    await speak()
    with contextlib.suppress(TimeoutError):
        while True:
            listener.heard.clear()
            await asyncio.wait_for(listener.heard.wait(), linger)


async def _run_agent(file: Path, server: Server, keys: dict[str, str]) -> Process:
    ((key, secret),) = keys.items()
    api = {"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret}
    command = [sys.executable, "-m", "greenroom", "run", str(file), "connect", "--room", ROOM]
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, **api})


async def _type(room: rtc.Room) -> None:
    """Send what is typed, line by line, until it ends."""
    reader = asyncio.StreamReader()
    try:
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except ValueError:  # a file, which never lets wait
        reader.feed_data(sys.stdin.buffer.read())
        reader.feed_eof()
    while line := await reader.readline():
        await room.local_participant.send_text(line.decode(errors="replace").rstrip("\n"), topic="lk.chat")


async def _voice(
    speech: rtc.AudioFrame | None, source: rtc.AudioSource, device: str, programs: Programs
) -> Callable[[], Awaitable[None]]:
    """A coroutine function that says everything there is to say."""
    if speech is not None:
        return partial(_say, speech, source)
    return partial(_say_microphone, await programs.start("arecord", device, stdin=None, stdout=PIPE), source)


async def _say(speech: rtc.AudioFrame, source: rtc.AudioSource) -> None:
    await source.capture_frame(speech)
    await source.wait_for_playout()


async def _say_microphone(process: Process, source: rtc.AudioSource) -> None:
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    size = RATE // 100
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            data = await process.stdout.readexactly(2 * size)
            await source.capture_frame(rtc.AudioFrame(data, RATE, 1, size))
    await asyncio.Event().wait()  # the program has ended, which ends the conversation


@asynccontextmanager
async def _speaker(means: Means, programs: Programs) -> AsyncIterator[Callable[[rtc.AudioFrame], Awaitable[None]]]:
    """A coroutine function that plays, keeps or drops a frame."""
    if means.said_to is not None:
        with WavWriter(str(means.said_to), RATE, 1) as writer:

            async def keep(frame: rtc.AudioFrame) -> None:
                writer.write(frame)

            yield keep
        return
    if means.text:

        async def drop(frame: rtc.AudioFrame) -> None:
            del frame

        yield drop
        return
    process = await programs.start("aplay", means.output_device, stdin=PIPE, stdout=None)

    async def play(frame: rtc.AudioFrame) -> None:
        assert process.stdin is not None  # noqa: S101 - it was started with a pipe
        with contextlib.suppress(ConnectionError):
            process.stdin.write(bytes(frame.data.cast("B")))
            await process.stdin.drain()

    yield play


class Programs:
    """The programs that reach this machine's sound, while they run."""

    def __init__(self) -> None:
        self._running: dict[str, Process] = {}

    async def start(self, name: str, device: str, *, stdin: int | None, stdout: int | None) -> Process:
        """Run arecord or aplay.

        Raises:
            ConfigError: it is not installed.
        """
        command = [_program(name), "-q", "-t", "raw", "-f", "S16_LE", "-r", str(RATE), "-c", "1"]
        if device:
            command += ["-D", f"plughw:{device}" if device.isdigit() else device]
        process = self._running[name] = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=stdout)
        return process

    async def first_to_end(self) -> str:
        """Wait until one ends by itself, which means that there is no such device; returns what to do about it."""
        tasks = TaskSet(log)
        waiting = {tasks.spawn(process.wait(), name=name): name for name, process in self._running.items()}
        try:
            done, _ = await asyncio.wait(
                [*waiting, tasks.spawn(asyncio.Event().wait(), name="for ever")], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            await tasks.close()
        name = waiting[done.pop()]
        what, option = ("microphone", "--input") if name == "arecord" else ("loudspeaker", "--output")
        return f"no {what} ({name} ended): choose one with {option}-device, or name a WAV file with {option}, or --text"

    async def close(self) -> None:
        """End them."""
        for process in self._running.values():
            await end_process(process)


def _program(name: str) -> str:
    if (program := shutil.which(name)) is None:
        option = "--input" if name == "arecord" else "--output"
        raise ConfigError(
            f"for sound of this machine install alsa-utils ({name}), or name a WAV file with {option}, or --text"
        )
    return program

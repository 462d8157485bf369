"""`greenroom console`: talk to an agent from the terminal, with a microphone or with WAV files, and no other server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
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

__all__ = ["talk"]

log = logging.getLogger("greenroom.cli")

RATE = 48000
ROOM = "console"
#: Topics on which agents send what is said, and other text.
_TOPICS = ("lk.transcription", "lk.chat")


def talk(file: Path, heard_from: Path | None, said_to: Path | None, linger: float) -> None:
    """Run one job of the file in a room of this process's own and talk with it.

    Args:
        file: the agent's program.
        heard_from: a WAV file to speak; None = the microphone.
        said_to: a WAV file for what the agent says; None = the loudspeaker.
        linger: seconds of silence after the end of `heard_from` that end the conversation.

    Raises:
        ConfigError: a file is missing, or sound needs a program that is not installed.
        OSError: a WAV file cannot be read or written.
    """
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    speech = read_wav(heard_from).remix_and_resample(RATE, 1) if heard_from else None
    asyncio.run(_talk(file, speech, said_to, linger))


async def _talk(file: Path, speech: rtc.AudioFrame | None, said_to: Path | None, linger: float) -> None:
    tasks = TaskSet(log)
    async with AsyncExitStack() as stack:
        listener = Listener(await stack.enter_async_context(_speaker(said_to)), tasks)
        source = rtc.AudioSource(RATE, 1)
        speak = await stack.enter_async_context(_voice(speech, source))
        key = {"console": secrets.token_urlsafe(32)}
        server = await stack.enter_async_context(Server(host="127.0.0.1", port=0, keys=key))
        room = await stack.enter_async_context(rtc.Room())
        stack.push_async_callback(tasks.close)
        listener.follow(room)
        await room.connect(server.url, server.token("you", ROOM))
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("voice", source), options)
        process = await _run_agent(file, server, key)
        stack.push_async_callback(end_process, process)
        notes.print("talking; Ctrl-C ends it")
        stop = tasks.spawn(interrupted(), name="interrupted")
        over = tasks.spawn(_conversation(listener, speak, linger), name="conversation")
        gone = tasks.spawn(process.wait(), name="agent")
        await asyncio.wait([stop, over, gone], return_when=asyncio.FIRST_COMPLETED)
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


@asynccontextmanager
async def _voice(
    speech: rtc.AudioFrame | None, source: rtc.AudioSource
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A coroutine function that says everything there is to say."""
    if speech is not None:
        yield partial(_say, speech, source)
        return
    process = await _sound_program("arecord", stdin=None, stdout=PIPE)
    try:
        yield partial(_say_microphone, process, source)
    finally:
        await end_process(process)


async def _say(speech: rtc.AudioFrame, source: rtc.AudioSource) -> None:
    await source.capture_frame(speech)
    await source.wait_for_playout()


async def _say_microphone(process: Process, source: rtc.AudioSource) -> None:
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    size = RATE // 100
    while True:
        data = await process.stdout.readexactly(2 * size)
        await source.capture_frame(rtc.AudioFrame(data, RATE, 1, size))


@asynccontextmanager
async def _speaker(path: Path | None) -> AsyncIterator[Callable[[rtc.AudioFrame], Awaitable[None]]]:
    """A coroutine function that plays or keeps a frame."""
    if path is not None:
        with WavWriter(str(path), RATE, 1) as writer:

            async def keep(frame: rtc.AudioFrame) -> None:
                writer.write(frame)

            yield keep
        return
    process = await _sound_program("aplay", stdin=PIPE, stdout=None)

    async def play(frame: rtc.AudioFrame) -> None:
        assert process.stdin is not None  # noqa: S101 - it was started with a pipe
        process.stdin.write(bytes(frame.data.cast("B")))
        await process.stdin.drain()

    try:
        yield play
    finally:
        await end_process(process)


async def _sound_program(name: str, *, stdin: int | None, stdout: int | None) -> Process:
    if (program := shutil.which(name)) is None:
        option = "--input" if name == "arecord" else "--output"
        raise ConfigError(f"for sound of this machine install alsa-utils ({name}), or name a WAV file with {option}")
    command = [program, "-q", "-t", "raw", "-f", "S16_LE", "-r", str(RATE), "-c", "1"]
    return await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=stdout)

"""The call itself: a server, three participants, ten seconds, a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.live import Live

from greenroom import rtc
from greenroom.cli.demo import report, scene
from greenroom.cli.demo.files import write_wav
from greenroom.cli.demo.players import RATE, Mirror, Recorder, Speaker
from greenroom.cli.demo.speech import Echo, speech
from greenroom.cli.output import console, notes
from greenroom.cli.playground import playground
from greenroom.cli.serving import interrupted
from greenroom.errors import ConnectTimeoutError
from greenroom.runtime.tasks import TaskSet
from greenroom.server import Server

__all__ = ["Settings", "run"]

log = logging.getLogger("greenroom.cli")

ROOM = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run the demo.

    Attributes:
        seconds: how long the call is recorded and judged.
        keep: go on after the verdict, until interrupted, for others to join.
        folder: where the recording goes.
        host: the address the server listens on.
        port: its HTTP port, 0 = a free one.
    """

    seconds: float = 10.0
    keep: bool = False
    folder: Path = Path("demo")
    host: str = "127.0.0.1"
    port: int = 0


async def run(settings: Settings) -> bool:
    """Run it. True when the media that arrived is the media that was sent."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    tasks = TaskSet(log)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            Server(host=settings.host, port=settings.port, keys={"demo": secrets.token_urlsafe(32)})
        )
        notes.print(f"server   {server.url}")
        call = Call(server, tasks, settings.folder)
        stack.push_async_callback(tasks.close)
        await call.begin(stack)
        lines = await call.record(settings.seconds)
        written = await asyncio.to_thread(call.write)
        console.print(report.table(lines))
        notes.print(f"written  {settings.folder}/out.wav, {settings.folder}/{written}")
        faults = [f"{line.way}: {fault}" for line in lines for fault in line.faults]
        for fault in faults:
            notes.print(f"[red]wrong[/]    {fault}")
        if not faults:
            notes.print("[green]right[/]    what arrived is what was sent")
        if settings.keep:
            await _keep_open(server, settings.host)
    return not faults


async def _keep_open(server: Server, host: str) -> None:
    token = server.token("guest", ROOM)
    notes.print("\nThe call goes on until you press Ctrl-C. Join it with any LiveKit client:")
    notes.print(f"  url    {server.url}\n  token  {token}", soft_wrap=True)
    async with playground(host) as page:
        if page:
            notes.print(f"or in a browser:\n  {page.link(server.url, token)}", soft_wrap=True)
        await interrupted()


class Call:
    """The three participants and what happens between them."""

    def __init__(self, server: Server, tasks: TaskSet, folder: Path) -> None:
        self._server = server
        self._tasks = tasks
        self._folder = folder
        voice, sample_rate = speech()
        self.speaker = Speaker(voice, sample_rate)
        self.mirror = Mirror()
        self.recorder = Recorder(folder)

    async def begin(self, stack: AsyncExitStack) -> None:
        """Let all three join, publish and receive, and the speaker start."""
        mirror = await self._join(stack, "mirror", "speaker", self.mirror.take)
        await self.mirror.publish(mirror)
        await self._join(stack, "recorder", "mirror", self.recorder.take)
        speaker = await self._join(stack, "speaker", "", self.mirror.take)
        await self.speaker.publish(speaker)
        self._tasks.spawn(self.speaker.show(), name="show")
        await self._media_flows()
        await self.mirror.ear.restart()
        await self.mirror.eye.restart()
        await self.recorder.restart()
        self._tasks.spawn(self.speaker.speak(), name="speak")

    async def record(self, seconds: float) -> list[report.Line]:
        """Let it go on for that long, showing what arrives, and judge it."""
        lines: list[report.Line] = []
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        with Live(console=notes, auto_refresh=False, transient=True) as live:
            while (left := end - loop.time()) > 0:
                live.update(f"calling  {left:.0f} s left, {self.recorder.eye.frames} pictures received", refresh=True)
                await asyncio.sleep(min(0.5, left))
        lines = await self._judge(seconds)
        for player in (self.mirror, self.recorder):
            player.ear.keep = player.eye.keep = False
        return lines

    async def _judge(self, seconds: float) -> list[report.Line]:
        words = self.speaker.words()
        echoed = Echo(self.speaker.sample_rate)(words)
        return [
            await report.audio_line("mirror hears speaker", self.mirror.ear, self.speaker, words, seconds),
            await report.audio_line("recorder hears mirror", self.recorder.ear, self.speaker, echoed, seconds),
            await report.video_line("mirror sees speaker", self.mirror.eye, self.speaker, seconds),
            await report.video_line("recorder sees mirror", self.recorder.eye, self.speaker, seconds),
        ]

    def write(self) -> str:
        """Write the recording; returns the name of the film."""
        sound = self._folder / "out.wav"
        write_wav(sound, self.recorder.ear.heard(), RATE)
        with contextlib.closing(self.recorder.film) as film:
            return film.write(self._folder, sound, scene.FPS)

    async def _join(
        self, stack: AsyncExitStack, identity: str, wanted: str, take: Callable[[rtc.Track, str], Awaitable[None]]
    ) -> rtc.Room:
        """Join as `identity` and receive what `wanted` publishes, nothing of others."""
        room = rtc.Room()

        @room.on("track_published")
        def choose(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
            if participant.identity == wanted:
                publication.set_subscribed(True)

        @room.on("track_subscribed")
        async def receive(track: rtc.Track, publication: rtc.RemoteTrackPublication, _: rtc.RemoteParticipant) -> None:
            await take(track, publication.mime_type)

        token = self._server.token(identity, ROOM)
        await room.connect(self._server.url, token, rtc.RoomOptions(auto_subscribe=False))
        stack.push_async_callback(room.disconnect)
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                choose(publication, participant)
        return room

    async def _media_flows(self) -> None:
        arrivals = [self.mirror.ear.arrived, self.recorder.ear.arrived, self.recorder.eye.arrived]
        try:
            async with asyncio.timeout(20):
                for arrival in arrivals:
                    await arrival.wait()
        except TimeoutError:
            raise ConnectTimeoutError(
                "no sound and picture came through the server within 20 s: `greenroom doctor` looks for the reason"
            ) from None

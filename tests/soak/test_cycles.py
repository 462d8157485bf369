"""Rooms that are joined, used and ended again and again, in every way a call can end, leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from greenroom import rtc
from greenroom.server import Server

from .conftest import Footprint

pytestmark = pytest.mark.soak

CYCLES = 200
WARM_UP = 30
AT_ONCE = 10
#: Bytes by which memory may differ between two moments at which nothing is held: the allocator's slack. A young process
#: grows towards what calls at once need (cancelled tasks: 109, 113, 119, 121, 121, 121, 120 MB at 170 cycles each).
SLACK = 8 * 1024 * 1024

TONE = (8000 * np.sin(2 * np.pi * 440 * np.arange(480) / 48_000)).astype(np.int16).tobytes()
PICTURE = bytes((200, 40, 40, 255)) * (64 * 48)


class Cycle:
    """A room with a publisher of sound and picture and a subscriber who has got some of both."""

    def __init__(self, server: Server, name: str, url: str) -> None:
        self.server, self.name, self.url = server, name, url
        self.ada, self.bob = rtc.Room(), rtc.Room()

    async def join(self) -> None:
        await asyncio.gather(
            self.ada.connect(self.url, self.server.token("ada", self.name)),
            self.bob.connect(self.url, self.server.token("bob", self.name)),
        )

    async def call(self) -> None:
        """Publish both, and return when the other has a frame of each."""
        sound, picture = rtc.AudioSource(48_000, 1), rtc.VideoSource(64, 48)
        got = asyncio.create_task(self._receive())
        playing = asyncio.create_task(self._play(sound, picture))
        try:
            publish = self.ada.local_participant.publish_track
            await publish(rtc.LocalAudioTrack.create_audio_track("a", sound))
            await publish(rtc.LocalVideoTrack.create_video_track("v", picture))
            async with asyncio.timeout(20):
                await got
        finally:
            got.cancel()
            playing.cancel()
            await asyncio.wait([got, playing])
            await sound.aclose()
            await picture.aclose()

    async def _play(self, sound: rtc.AudioSource, picture: rtc.VideoSource) -> None:
        while True:
            await sound.capture_frame(rtc.AudioFrame(TONE, 48_000, 1, 480))
            picture.capture_frame(rtc.VideoFrame(64, 48, rtc.VideoBufferType.RGBA, PICTURE))

    async def _receive(self) -> None:
        tracks: asyncio.Queue[rtc.Track] = asyncio.Queue()
        self.bob.on("track_subscribed", lambda track, *_: tracks.put_nowait(track))
        for _ in range(2):
            track = await tracks.get()
            stream = rtc.AudioStream(track) if track.kind == rtc.TrackKind.KIND_AUDIO else rtc.VideoStream(track)
            await anext(stream)
            await stream.aclose()

    async def ended(self) -> None:
        """Both know that it is over."""
        async with asyncio.timeout(40):
            await asyncio.gather(self.ada.wait_disconnected(), self.bob.wait_disconnected())


async def client_closes(cycle: Cycle) -> None:
    await cycle.join()
    await cycle.call()
    await asyncio.gather(cycle.ada.disconnect(), cycle.bob.disconnect())


async def server_deletes_the_room(cycle: Cycle) -> None:
    await cycle.join()
    await cycle.call()
    cycle.server.rooms[cycle.name].close()
    await cycle.ended()


async def everybody_is_kicked(cycle: Cycle) -> None:
    await cycle.join()
    await cycle.call()
    room = cycle.server.rooms[cycle.name]
    room.remove("ada")
    room.remove("bob")
    await cycle.ended()


async def the_task_is_cancelled(cycle: Cycle) -> None:
    in_call = asyncio.Event()

    async def program() -> None:
        async with cycle.ada, cycle.bob:
            await cycle.join()
            await cycle.call()
            in_call.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(program())
    waiting = asyncio.create_task(in_call.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cycle.ended()


async def the_socket_is_cut(cycle: Cycle) -> None:
    """The way to the server goes dead under the call, and the program gives up while the client still tries."""
    async with Cut(cycle.url) as cut:
        cycle.url = cut.url
        await cycle.join()
        await cycle.call()
        lost = [asyncio.ensure_future(room.wait_for("reconnecting")) for room in (cycle.ada, cycle.bob)]
        await asyncio.sleep(0)
        await cut.now()
        async with asyncio.timeout(20):
            await asyncio.gather(*lost)
        await asyncio.gather(cycle.ada.disconnect(), cycle.bob.disconnect())


class Cut:
    """A TCP relay to the server that can be cut for good."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._relay.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Cut:
        self._relay = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.now()

    async def now(self) -> None:
        self._relay.close()
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()


ENDINGS: list[Callable[[Cycle], Awaitable[None]]] = [
    client_closes,
    server_deletes_the_room,
    everybody_is_kicked,
    the_socket_is_cut,
    the_task_is_cancelled,
]


async def _run(server: Server, ending: Callable[[Cycle], Awaitable[None]], count: int, first: int) -> None:
    names = iter(range(first, first + count))

    async def one_after_the_other() -> None:
        for number in names:
            await ending(Cycle(server, f"room {number}", server.url))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(one_after_the_other())


@pytest.fixture(scope="module")
def warm() -> None:
    """This process has grown to what calls at once need: arenas, tables, codecs."""

    async def calls() -> None:
        async with Server(host="127.0.0.1", port=0, departure_timeout=0.1) as server:
            await _run(server, client_closes, 200, 0)

    asyncio.run(calls())


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_nothing_is_left_of_calls_that_end(ending: Callable[[Cycle], Awaitable[None]]):
    async with Server(host="127.0.0.1", port=0, departure_timeout=0.1) as server:
        await _run(server, ending, WARM_UP, 0)
        before = await Footprint.settled(server)
        await _run(server, ending, CYCLES - WARM_UP, WARM_UP)
        after = await Footprint.settled(server)
    assert after.server == {name: 0 for name in after.server}
    assert after.client == {name: 0 for name in after.client}
    assert after.tasks == before.tasks
    assert (after.threads, after.descriptors) == (before.threads, before.descriptors)
    assert after.memory - before.memory <= SLACK

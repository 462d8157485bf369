"""A livekit-server of one's own, rooms in it for both clients, and judges of what they hear and see.

The binary's path comes from the environment variable LIVEKIT_SERVER, which `make test-livekit` sets to one
that tools/livekit_server.sh has built; without it every test here is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from livekit import api
from livekit import rtc as official_rtc

from greenroom import rtc as our_rtc
from tests.interop import official
from tests.interop.conftest import running_tasks

BINARY = os.environ.get("LIVEKIT_SERVER", "")
KEY, SECRET = "devkey", "a secret that is long enough to be one"
RATE = official.RATE
START_PATIENCE = 20.0
#: Publisher and subscriber: our client in both modes on either side, the official one on the other.
PAIRS = pytest.mark.parametrize(
    ("here", "there"),
    [("single", "official"), ("dual", "official"), ("official", "single"), ("official", "dual"), ("single", "dual")],
)
OURS = pytest.mark.parametrize("mode", ["single", "dual"])
_numbers = itertools.count()


class LivekitServer:
    """The process, its configuration and its address. It can be stopped and started again on the same ports."""

    def __init__(self, folder: Path, **rtc: object) -> None:
        self.port = _free_port()
        self.log = folder / "livekit-server.log"
        self._config = folder / "livekit.yaml"
        media = {"tcp_port": _free_port(), "udp_port": _free_port(), "use_external_ip": False} | rtc
        media |= {"node_ip": "127.0.0.1", "enable_loopback_candidate": True, "interfaces": {"includes": ["lo"]}}
        content = {"port": self.port, "bind_addresses": ["127.0.0.1"], "rtc": media, "keys": {KEY: SECRET}}
        content["logging"] = {"level": "debug"}
        self._config.write_text(yaml.safe_dump(content))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([BINARY, "--config", str(self._config)], stdout=log, stderr=log)
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"livekit-server did not start; its last words:\n{self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End the process without a word to its clients."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(10)

    def shut_down(self) -> None:
        """Make it end as an operator does: it tells its clients to leave."""
        # The first signal asks it to wait for its clients, the second not to.
        while self._process.poll() is None and '"force": true' not in self.log.read_text():
            self._process.terminate()
            time.sleep(0.1)
        self._process.wait(10)

    def lines(self) -> list[str]:
        """What it has logged."""
        return self.log.read_text().splitlines()

    def token(self, identity: str, room: str, **grants: object) -> str:
        grant = api.VideoGrants(**{"room_join": True, "room": room, "can_update_own_metadata": True} | grants)
        return api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(grant).to_jwt()


@contextlib.contextmanager
def running(folder: Path, **rtc: object) -> Iterator[LivekitServer]:
    """A server for as long as the block lasts."""
    server = LivekitServer(folder, **rtc)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def livekit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivekitServer]:
    """One server for the tests of a module; each test has a room of its own."""
    if not BINARY:
        pytest.skip("set LIVEKIT_SERVER to the path of a livekit-server binary to run these tests")
    with running(tmp_path_factory.mktemp("livekit")) as server:
        yield server


@pytest.fixture
async def lab(livekit: LivekitServer) -> AsyncIterator[Lab]:
    before = asyncio.all_tasks()
    made = Lab(livekit)
    yield made
    await made.api.aclose()
    # A task that has ended may still be in its last step.
    await official.until(lambda: not running_tasks(before), 5)


@dataclass
class Guest(official.Client):
    """One room of either client and everything that happened in it; `rtc` is the client's module."""

    rtc: ModuleType = official_rtc

    @property
    def me(self) -> official_rtc.LocalParticipant:
        return self.room.local_participant

    def publication(self, identity: str, name: str) -> official_rtc.RemoteTrackPublication:
        """What somebody else published under this name."""
        publications = self.room.remote_participants[identity].track_publications.values()
        return next(each for each in publications if each.name == name)


class Lab:
    """A room on the server that nobody else uses."""

    def __init__(self, server: LivekitServer) -> None:
        self.server = server
        self.name = f"lab-{next(_numbers)}"
        self.api = api.LiveKitAPI(f"http://127.0.0.1:{server.port}", KEY, SECRET)

    @contextlib.asynccontextmanager
    async def joined(
        self, identity: str, mode: str, *, url: str = "", grants: dict[str, object] | None = None, **options: object
    ) -> AsyncIterator[Guest]:
        """A client in the room: the "official" one, or ours with a "single" connection or "dual" ones."""
        module = official_rtc if mode == "official" else our_rtc
        guest = Guest(room=module.Room(), rtc=module)
        chosen = module.RoomOptions(single_peer_connection=mode != "dual", **options)
        token = self.server.token(identity, self.name, **grants or {})
        async with asyncio.timeout(official.PATIENCE):
            await guest.room.connect(url or self.server.url, token, chosen)
        try:
            yield guest
        finally:
            async with asyncio.timeout(official.PATIENCE):
                await guest.room.disconnect()


class Wire:
    """A TCP relay in front of the server whose connections can be cut."""

    def __init__(self, server: LivekitServer) -> None:
        self._target = server.port
        self._streams: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Wire:
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        await self._listener.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for stream in self._streams:
            stream.transport.abort()
        self._streams.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._target)
        self._streams |= {writer, there[1]}
        await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def tone(
    guest: Guest, *frequencies: float, name: str = "tone", level: int = 10_000, **options: object
) -> AsyncIterator[official_rtc.LocalTrackPublication]:
    """Publish sines, one per channel, for as long as the block lasts."""
    source = guest.rtc.AudioSource(RATE, len(frequencies))
    track = guest.rtc.LocalAudioTrack.create_audio_track(name, source)
    publication = await guest.me.publish_track(track, _options(guest, "SOURCE_MICROPHONE", options))
    feeder = asyncio.create_task(_feed_tones(guest.rtc, source, frequencies, level))
    try:
        yield publication
    finally:
        await _stopped(feeder)


async def _feed_tones(rtc: ModuleType, source: official_rtc.AudioSource, frequencies: tuple[float, ...], level: int):
    for position in itertools.count(0, 480):
        moments = (np.arange(480) + position) / RATE
        samples = level * np.sin(2 * np.pi * np.outer(moments, frequencies))
        frame = rtc.AudioFrame(samples.astype(np.int16).tobytes(), RATE, len(frequencies), 480)
        await source.capture_frame(frame)


@contextlib.asynccontextmanager
async def colour(
    guest: Guest,
    rgb: tuple[int, int, int],
    *,
    name: str = "picture",
    size: tuple[int, int] = (640, 480),
    still: bool = False,
    **options: object,
) -> AsyncIterator[official_rtc.LocalTrackPublication]:
    """Publish a picture of one colour for as long as the block lasts; still = its program captures it only once."""
    source = guest.rtc.VideoSource(*size)
    track = guest.rtc.LocalVideoTrack.create_video_track(name, source)
    codec = options.pop("video_codec", "VP8")
    options["video_codec"] = getattr(guest.rtc.VideoCodec, codec)
    publication = await guest.me.publish_track(track, _options(guest, "SOURCE_CAMERA", options))
    frame = guest.rtc.VideoFrame(*size, guest.rtc.VideoBufferType.RGBA, bytes((*rgb, 255)) * (size[0] * size[1]))
    source.capture_frame(frame)
    feeder = asyncio.create_task(asyncio.Event().wait() if still else _feed_picture(source, frame))
    try:
        yield publication
    finally:
        await _stopped(feeder)


async def _feed_picture(source: official_rtc.VideoSource, frame: official_rtc.VideoFrame) -> None:
    while True:
        source.capture_frame(frame)
        await asyncio.sleep(0.05)


def _options(guest: Guest, source: str, values: dict[str, object]) -> official_rtc.TrackPublishOptions:
    options = guest.rtc.TrackPublishOptions()
    options.source = getattr(guest.rtc.TrackSource, source)
    for name, value in values.items():
        setattr(options, name, value)
    return options


async def _stopped(task: asyncio.Task[object]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def hear(
    guest: Guest, track: official_rtc.Track, *, channels: int = 1, seconds: float = 1.0
) -> list[tuple[float, float]]:
    """The loudest frequency and the level of each channel of a track, once it is no longer silent."""
    stream = guest.rtc.AudioStream(track, sample_rate=RATE, num_channels=channels)
    collected = []
    try:
        async with asyncio.timeout(official.PATIENCE):
            async for event in stream:
                samples = np.frombuffer(event.frame.data, np.int16).reshape(-1, channels)
                if collected or np.abs(samples).max() > 500:
                    collected.append(samples)
                if sum(map(len, collected)) >= seconds * RATE:
                    break
    finally:
        await stream.aclose()
    samples = np.concatenate(collected)[-int(seconds * RATE / 2) :].astype(float)
    spectra = np.abs(np.fft.rfft(samples * np.hanning(len(samples))[:, None], axis=0))
    frequencies = np.argmax(spectra, axis=0) * RATE / len(samples)
    return list(zip(frequencies.tolist(), np.percentile(np.abs(samples), 99, axis=0).tolist(), strict=True))


async def see(
    guest: Guest, track: official_rtc.Track, *, size: tuple[int, int] | None = None, frames: int = 5
) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """The colour in the middle of a track's picture and its size, once some frames in a row have the size wanted."""
    stream = guest.rtc.VideoStream(track, format=guest.rtc.VideoBufferType.RGBA)
    count = 0
    sizes = []
    try:
        async with asyncio.timeout(official.PATIENCE):
            async for event in stream:
                frame = event.frame
                sizes.append((frame.width, frame.height))
                count = count + 1 if size in (None, sizes[-1]) else 0
                if count == frames:
                    break
    except TimeoutError:
        raise AssertionError(f"no {frames} frames of {size} in a row; {len(sizes)} came: {set(sizes)}") from None
    finally:
        await stream.aclose()
    middle = (frame.height // 2 * frame.width + frame.width // 2) * 4
    return tuple(bytes(frame.data[middle : middle + 3])), (frame.width, frame.height)


def _free_port() -> int:
    """One that no connection takes by chance while the server is down: below those that the system gives out."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first // 2, first)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port

"""A server under attack while other people's call goes on, judged by its content from beginning to end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp
import psutil
import pytest

from greenroom import testing
from greenroom.server import ServerOptions
from greenroom.wire import messages as m
from greenroom.wire.join import encode_v1
from greenroom.wire.signal import decode_response, encode

TONE = testing.tone(440)
#: Bytes by which memory may grow under an attack.
GROWTH = 16 * 1024 * 1024
#: Lines that an attack may leave in the log.
LINES = 10


class Tap(testing.Link):
    """A link that remembers the datagrams of the callers, as an attacker on the way would."""

    def __init__(self) -> None:
        super().__init__()
        self.overheard: list[bytes] = []

    def carry(self, deliver: Callable[[bytes], None], datagram: bytes) -> None:
        if len(self.overheard) < 1000:
            self.overheard.append(datagram)
        super().carry(deliver, datagram)


@dataclass
class House:
    """A server, and a call in a room that no attacker is in."""

    stage: testing.Stage
    tap: Tap
    ada: testing.Person
    bob: testing.Person
    lines: list[str] = field(default_factory=list)

    @property
    def udp(self) -> tuple[str, int]:
        return ("127.0.0.1", self.stage.server.media_ports[0])

    @property
    def tcp(self) -> tuple[str, int]:
        return ("127.0.0.1", self.stage.server.media_ports[1])

    def arrived(self) -> int:
        return self.stage.server.statistics()["packets_in"]

    @contextlib.asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """What the block does is not heard in the other room, holds no memory, and fills no log."""
        gc.collect()
        memory = psutil.Process().memory_info().rss
        self.lines.clear()
        async with self.bob.keeps_hearing(TONE, of="ada", gap=1.0):
            yield
        gc.collect()
        assert psutil.Process().memory_info().rss - memory < GROWTH
        assert len(self.lines) <= LINES, self.lines[: 2 * LINES]
        assert not [line for line in self.lines if "panic" in line or "fault" in line]

    def blast(self, datagrams: list[bytes], *, sockets: int = 1) -> int:
        """Send datagrams as fast as the server takes them, from a thread. Returns the bytes that came back."""
        ways = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sockets)]
        for way in ways:
            way.connect(self.udp)
            way.setblocking(False)
        came = 0
        for start in range(0, len(datagrams), 64):
            goal = self.arrived()
            batch = datagrams[start : start + 64]
            for number, datagram in enumerate(batch):
                with contextlib.suppress(OSError):
                    ways[(start + number) % sockets].send(datagram)
            # Empty datagrams are not counted.
            goal += sum(bool(datagram) for datagram in batch)
            for _ in range(1000):
                if self.arrived() >= goal:
                    break
                select_nothing(0.0005)
            for way in ways:
                with contextlib.suppress(OSError):
                    while True:
                        came += len(way.recv(65_536))
        for way in ways:
            way.close()
        return came

    @contextlib.asynccontextmanager
    async def intruder(
        self, identity: str = "mallory", room: str = "elsewhere", request: m.JoinRequest | None = None
    ) -> AsyncIterator[Intruder]:
        """A raw signalling socket of somebody with a valid token."""
        token = self.stage.server.token(identity, room)
        wrapped = encode_v1(request or m.JoinRequest())
        url = f"{self.stage.url.replace('ws', 'http', 1)}/rtc/v1"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
            async with client.ws_connect(url, params={"join_request": wrapped}, max_msg_size=0) as ws:
                yield Intruder(ws)


class Intruder:
    """Sends what no client would, and reads what comes back."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, **fields: object) -> None:
        await self.ws.send_bytes(encode(m.SignalRequest(**fields)))

    async def next(self, kind: str) -> m.SignalResponse:
        """The next message of a kind."""
        async with asyncio.timeout(20):
            async for frame in self.ws:
                message = decode_response(frame.data)
                if message.WhichOneof("message") == kind:
                    return message
        raise AssertionError(f"the server hung up before {kind} came")

    async def closed(self) -> int | None:
        """Read until the server hangs up; its close code."""
        async with asyncio.timeout(20):
            async for _ in self.ws:
                pass
        return self.ws.close_code


def select_nothing(seconds: float) -> None:
    """Wait in a thread without the interpreter's lock."""
    import time

    time.sleep(seconds)


def stun(kind: int, attributes: bytes, transaction: bytes = b"greenroomtst") -> bytes:
    """A STUN message with these attributes and a right fingerprint."""
    length = len(attributes) + 8
    head = struct.pack(">HHI", kind, length & 0xFFFF, 0x2112A442) + transaction + attributes
    return head + struct.pack(">HHI", 0x8028, 4, (zlib.crc32(head) ^ 0x5354554E) & 0xFFFFFFFF)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute with its padding."""
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


@pytest.fixture
async def house(caplog: pytest.LogCaptureFixture) -> AsyncIterator[House]:
    options = ServerOptions(half_open_timeout=2.0, join_timeout=3.0, departure_timeout=0.1)
    tap = Tap()
    async with testing.server(link=tap, options=options) as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.speak(TONE)
        await bob.hears(TONE, of="ada")
        house = House(stage, tap, ada, bob)
        listening = logging.Handler()
        listening.emit = lambda record: house.lines.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("greenroom").addHandler(listening)
        try:
            yield house
        finally:
            logging.getLogger("greenroom").removeHandler(listening)

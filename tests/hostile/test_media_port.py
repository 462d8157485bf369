"""Everything that can be sent to the media ports without being let in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import struct

import pytest

from .conftest import House, attribute, stun

pytestmark = pytest.mark.loopback

BINDING_REQUEST, BINDING_INDICATION = 0x0001, 0x0011
USERNAME, INTEGRITY, USE_CANDIDATE, PRIORITY, CONTROLLING = 0x0006, 0x0008, 0x0025, 0x0024, 0x802A

NAMING = 7


async def test_datagrams_of_every_length_and_first_byte(house: House):
    noise = os.urandom(3000)

    def attack() -> int:
        came = 0
        for length in range(0, 1501, 3):
            came += house.blast(
                [bytes((first,))[:length] + noise[length : 2 * length - 1] for first in range(0, 256, 4)]
            )
        return came

    async with house.undisturbed():
        assert await asyncio.to_thread(attack) == 0


async def test_the_same_from_an_address_that_is_let_in(house: House):
    """Behind the relay, on the very path that the callers' media takes: only the keys tell friend from foe."""
    noise = os.urandom(3000)
    async with house.undisturbed():
        for length in range(0, 1501, 7):
            for first in (0, 1, 3, 15, 20, 21, 22, 23, 63, 64, 127, 128, 129, 144, 176, 191, 192, 200, 255):
                for way in house.stage.link.ways:
                    way.send(bytes((first,))[:length] + noise[length : 2 * length - 1])
            await asyncio.sleep(0)


async def test_overheard_datagrams_again_cut_and_changed(house: House):
    dice = random.Random(5)
    overheard = list(house.tap.overheard)
    assert len(overheard) > 50
    forged = []
    for datagram in overheard:
        place = dice.randrange(len(datagram))
        changed = bytearray(datagram)
        changed[place] ^= 1 << dice.randrange(8)
        forged += [datagram[:place], bytes(changed), datagram]
    async with house.undisturbed():
        await asyncio.to_thread(house.blast, forged)
        for datagram in forged:
            for way in house.stage.link.ways:
                way.send(datagram)
            await asyncio.sleep(0)


async def test_a_hundred_thousand_bad_packets_leave_a_few_lines(house: House):
    noise = [bytes((dice,)) + os.urandom(60) for dice in (0, 20, 22, 128, 200)] * 4000
    async with house.undisturbed():
        for _ in range(5):
            assert await asyncio.to_thread(house.blast, noise, sockets=16) == 0


# -- STUN --------------------------------------------------------------------------------------------------------------


def _username(house: House) -> bytes:
    """A user name that the server knows, from an overheard request."""
    for datagram in house.tap.overheard:
        if len(datagram) > 24 and datagram[:2] == b"\0\1" and datagram[4:8] == b"\x21\x12\xa4\x42":
            rest = datagram[20:]
            while len(rest) >= 4:
                kind, length = struct.unpack(">HH", rest[:4])
                if kind == USERNAME:
                    return rest[4 : 4 + length]
                rest = rest[4 + (length + 3 & ~3) :]
    raise AssertionError("no binding request was overheard")


def _requests(username: bytes) -> list[bytes]:
    name = attribute(USERNAME, username)
    usual = attribute(PRIORITY, b"\x6e\x7f\xff\xff") + attribute(CONTROLLING, bytes(8)) + attribute(USE_CANDIDATE, b"")
    wrong = attribute(INTEGRITY, bytes(20))
    return [
        # NAMING of them say for whom they are.
        stun(BINDING_REQUEST, name + usual + wrong),
        stun(BINDING_REQUEST, name + usual),
        stun(BINDING_REQUEST, name),
        stun(BINDING_REQUEST, name + wrong + usual),
        stun(BINDING_REQUEST, name + attribute(0x8022, b"x" * 1200) + wrong),
        stun(BINDING_REQUEST, name + attribute(0x0001, b"\0\1") + attribute(0x0020, b"\0") + wrong),
        stun(BINDING_REQUEST, name + b"".join(attribute(0x0FFF, b"") for _ in range(250)) + wrong),
        stun(BINDING_REQUEST, attribute(USERNAME, username)[:-1]),
        stun(BINDING_INDICATION, name + usual + wrong),
        stun(0x0101, usual + wrong),
        stun(0x0111, attribute(0x0009, b"\0\0\4\1") + wrong),
        stun(0x0003, name + wrong),
        stun(0x3FFF, name + wrong),
        struct.pack(">HHI", BINDING_REQUEST, 0xFFFC, 0x2112A442) + bytes(12) + name,
    ]


async def test_checks_with_unknown_names(house: House):
    def attack() -> int:
        return house.blast(
            [one for _ in range(500) for one in _requests(os.urandom(6).hex().encode() + b":abcd")], sockets=64
        )

    async with house.undisturbed():
        assert await asyncio.to_thread(attack) == 0


async def test_checks_with_a_known_name_and_no_key(house: House):
    """From more addresses than the server keeps of one peer: the caller's own must not be forgotten for them."""
    requests = _requests(_username(house))
    naming, others = requests[:NAMING], requests[NAMING:]

    def attack(kinds: list[bytes]) -> bool:
        sent = [one for one in kinds for _ in range(100)]
        return house.blast(sent, sockets=100) <= sum(map(len, sent))

    async with house.undisturbed():
        dropped = house.stage.server.statistics()["datagrams_dropped"]
        for _ in range(20):
            assert await asyncio.to_thread(attack, naming)
        # What names a peer is that peer's to refuse; only the callers' own packets could be without one.
        assert house.stage.server.statistics()["datagrams_dropped"] == dropped
        assert await asyncio.to_thread(attack, others)


# -- ICE over TCP ------------------------------------------------------------------------------------------------------


async def _closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65_536):
            pass


async def test_frames_that_are_none(house: House):
    floods = [
        b"\0\0" * 50_000,
        b"\xff\xff" + os.urandom(65_535) + b"\xff\xff",
        b"".join(struct.pack(">H", length) + os.urandom(length) for length in range(0, 1500, 11)),
        os.urandom(500_000),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + os.urandom(512),
    ]
    async with house.undisturbed():
        for flood in floods * 5:
            _, writer = await asyncio.open_connection(*house.tcp)
            with contextlib.suppress(ConnectionError):
                writer.write(flood)
                await writer.drain()
            writer.close()


async def test_connections_that_say_nothing_are_closed(house: House):
    """More than are kept, one byte at a time: the oldest go first, and those that are kept go after their time."""
    async with house.undisturbed():
        idle = [await asyncio.open_connection(*house.tcp) for _ in range(300)]
        for _, writer in idle:
            with contextlib.suppress(ConnectionError):
                writer.write(b"\x05")
        async with asyncio.timeout(5):
            await asyncio.gather(*(_closed(reader) for reader, _ in idle[:40]))
        async with asyncio.timeout(20):
            await asyncio.gather(*(_closed(reader) for reader, _ in idle))
        for _, writer in idle:
            writer.close()

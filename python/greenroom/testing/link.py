"""A bad network between the people of a test and its server: a UDP relay with losses, delay and jitter."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import random
from collections.abc import AsyncIterator, Callable

from greenroom.errors import ConfigError
from greenroom.runtime.tasks import TaskSet
from greenroom.server import Server, ServerOptions

__all__ = ["Link", "Way"]

log = logging.getLogger("greenroom.testing")

#: The loopback address that clients are told. The relay has the server's port number there.
_RELAY = "127.0.0.2"


class Link:
    """How datagrams travel, in both directions, for everybody. Can be changed while it is in use.

    Attributes:
        loss: share of datagrams that are lost, 0..1.
        delay: seconds that each takes.
        jitter: seconds that it may take longer, evenly spread; datagrams may overtake each other.
        up: False = nothing gets through.
        lost: datagrams lost so far.
        passed: datagrams let through so far.
    """

    def __init__(self, *, loss: float = 0.0, delay: float = 0.0, jitter: float = 0.0, seed: int = 1) -> None:
        """Describe the network.

        Args:
            loss: share of datagrams that are lost, 0..1.
            delay: seconds one way.
            jitter: seconds more at most.
            seed: of the dice, so that a failure can be repeated.

        Raises:
            ConfigError: a value out of range.
        """
        if not 0 <= loss <= 1 or delay < 0 or jitter < 0:
            raise ConfigError("loss must be 0 to 1, delay and jitter must not be negative")
        self.loss, self.delay, self.jitter = loss, delay, jitter
        self.up = True
        self.lost = self.passed = 0
        self._random = random.Random(seed)
        self._relay: _Relay | None = None

    @property
    def ways(self) -> list[Way]:
        """The relay's way to the server for each address that sends through it."""
        return self._relay.ways() if self._relay is not None else []

    def advertised(self, options: ServerOptions) -> ServerOptions:
        """The options of a server whose media goes through this link."""
        return dataclasses.replace(options, host="127.0.0.1", advertise=[_RELAY])

    @contextlib.asynccontextmanager
    async def towards(self, server: Server) -> AsyncIterator[None]:
        """Relay between everybody and the running server."""
        port = server.media_ports[0]
        loop = asyncio.get_running_loop()
        try:
            transport, relay = await loop.create_datagram_endpoint(
                lambda: _Relay(self, ("127.0.0.1", port)), local_addr=(_RELAY, port)
            )
        except OSError as error:
            raise ConfigError(
                f"a link needs the loopback address {_RELAY}, which this machine lacks: {error}"
            ) from error
        self._relay = relay
        try:
            yield
        finally:
            self._relay = None
            relay.close()
            transport.close()

    def carry(self, deliver: Callable[[bytes], None], datagram: bytes) -> None:
        """Call `deliver(datagram)` when it arrives, if it does."""
        if not self.up or self._random.random() < self.loss:
            self.lost += 1
            return
        self.passed += 1
        wait = self.delay + self._random.random() * self.jitter
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, deliver, datagram)
        else:
            deliver(datagram)


class _Relay(asyncio.DatagramProtocol):
    """The clients' side: a way of its own to the server for each address that something comes from."""

    def __init__(self, link: Link, server: tuple[str, int]) -> None:
        self._link = link
        self._server = server
        self._transport: asyncio.DatagramTransport
        self._ways: dict[tuple[str, int], asyncio.Task[Way]] = {}
        self._tasks = TaskSet(log)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        way = self._ways.get(source)
        if way is None:
            way = self._ways[source] = self._tasks.spawn(self._open(source), name="opening a way through a link")
        if way.done():
            self._link.carry(way.result().send, data)
        else:
            way.add_done_callback(functools.partial(self._opened, data))

    def ways(self) -> list[Way]:
        return [way.result() for way in self._ways.values() if way.done() and not way.cancelled()]

    def close(self) -> None:
        for way in self._ways.values():
            if way.done():
                way.result().transport.close()
            else:
                way.cancel()

    def _opened(self, data: bytes, way: asyncio.Task[Way]) -> None:
        if not way.cancelled() and way.exception() is None:
            self._link.carry(way.result().send, data)

    async def _open(self, source: tuple[str, int]) -> Way:
        loop = asyncio.get_running_loop()
        back = functools.partial(self._back, source)
        _, way = await loop.create_datagram_endpoint(lambda: Way(self._link, back), remote_addr=self._server)
        return way

    def _back(self, source: tuple[str, int], datagram: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(datagram, source)


class Way(asyncio.DatagramProtocol):
    """The server's side of one client's media."""

    def __init__(self, link: Link, back: Callable[[bytes], None]) -> None:
        self._link = link
        self._back = back
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """The way is open."""
        self.transport = transport

    def send(self, datagram: bytes) -> None:
        """Send to the server, at once and without loss, from this client's address there."""
        if not self.transport.is_closing():
            self.transport.sendto(datagram)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        """The server sent something to this client."""
        self._link.carry(self._back, data)

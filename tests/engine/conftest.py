"""Two engines in one process and the smallest signalling between them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from greenroom import _engine as native
from greenroom.runtime.bridge import Bridge

E = TypeVar("E", bound=native.Event)


class Link:
    """Events of one engine by handle, and awaiting the next of a kind."""

    def __init__(self, name: str) -> None:
        self.bridge = Bridge(name)
        self.engine = self.bridge.engine
        self._events: dict[int, list[native.Event]] = defaultdict(list)
        self._changed = asyncio.Event()

    def handle(self) -> int:
        handle = native.new_handle()
        self.bridge.attach(handle, lambda event: self._take(handle, event))
        return handle

    def _take(self, handle: int, event: native.Event) -> None:
        self._events[handle].append(event)
        self._changed.set()

    async def next(self, handle: int, kind: type[E], within: float = 10.0) -> E:
        """The oldest event of a kind, removed."""
        async with asyncio.timeout(within):
            while True:
                for event in self._events[handle]:
                    if isinstance(event, kind):
                        self._events[handle].remove(event)
                        return event
                self._changed.clear()
                await self._changed.wait()


class Call:
    """A server engine with one room, and clients that are connected to it."""

    def __init__(self) -> None:
        self.server = Link("server")
        self.server.engine.listen("127.0.0.1", 0, 0, [])
        self.room = self.server.handle()
        self.server.engine.open_room(self.room)
        self.clients: list[Client] = []

    async def join(self, *, udp: bool = True, link: Link | None = None) -> "Client":
        """A connected client, in an engine that is there or its own; without `udp` it sees only the TCP candidate."""
        client = Client(self, udp=udp, link=link)
        self.clients.append(client)
        await client.negotiate(audio=3, video=3)
        await client.link.next(client.peer, native.PeerState)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.link.bridge.close()
        self.server.bridge.close()


class Client:
    """One client peer and its server peer."""

    def __init__(self, call: Call, *, udp: bool, link: Link | None) -> None:
        self.call = call
        self.udp = udp
        self.link = link or Link("client")
        self.peer = self.link.handle()
        self.far = call.server.handle()
        self.link.engine.open_client_peer(self.peer, local_addresses=["127.0.0.1"], data_channels=True)
        call.server.engine.open_server_peer(call.room, self.far, offers=False)

    async def negotiate(self, *, audio: int = 0, video: int = 0) -> tuple[native.Answer, native.Negotiated]:
        self.link.engine.create_offer(self.peer, audio=audio, video=video)
        offer = await self.link.next(self.peer, native.Offer)
        self.call.server.engine.accept_offer(self.far, offer.offer_id, offer.sdp)
        answer = await self.call.server.next(self.far, native.Answer)
        lines = answer.sdp.splitlines(keepends=True)
        shown = [
            line for line in lines if self.udp or not (line.startswith("a=candidate:") and " udp " in line.lower())
        ]
        self.link.engine.accept_answer(self.peer, answer.offer_id, "".join(shown))
        return answer, await self.link.next(self.peer, native.Negotiated)


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    call = Call()
    yield call
    call.close()

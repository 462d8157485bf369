"""A server in this process, and the people that a test has join its rooms."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from greenroom import rtc
from greenroom.server import Server, ServerOptions
from greenroom.testing.link import Link
from greenroom.testing.person import Person
from greenroom.wire.tokens import VideoGrants

__all__ = ["Stage", "server"]


class Stage:
    """A running server and everybody who joined through it. Made by `server()`.

    Attributes:
        server: the running server, for its rooms, tokens and statistics.
        link: the network that everybody's media goes through, or None for the machine's own.
    """

    def __init__(self, running: Server, link: Link | None) -> None:
        self.server = running
        self.link = link
        self.people: list[Person] = []

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return self.server.url

    async def join(
        self,
        identity: str,
        *,
        room: str = "lobby",
        options: rtc.RoomOptions | None = None,
        grants: VideoGrants | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Person:
        """Have somebody join.

        Args:
            identity: unique in the room.
            room: the room's name.
            options: how to join.
            grants: what the person may do; everything by default.
            attributes: shown to others.

        Raises:
            ConnectError: joining did not work.
        """
        person = Person(identity, rtc.Room())
        token = self.server.token(identity, room, grants=grants, attributes=attributes)
        await self.bring(person, token, options)
        return person

    async def bring(self, person: Person, token: str, options: rtc.RoomOptions | None = None) -> None:
        """Have a person join with this token, and leave when the stage is closed.

        Raises:
            ConnectError: joining did not work.
        """
        self.people.append(person)
        await person.room.connect(self.url, token, options)

    async def close(self) -> None:
        """Have everybody leave. Idempotent."""
        people, self.people = self.people, []
        await asyncio.gather(*(person.leave() for person in people))


@contextlib.asynccontextmanager
async def server(*, link: Link | None = None, options: ServerOptions | None = None) -> AsyncIterator[Stage]:
    """A server on free loopback ports for as long as the block lasts.

    Args:
        link: a network with losses and delays for the media of everybody who joins.
        options: how the server behaves.
    """
    chosen = link.advertised(options or ServerOptions()) if link is not None else options
    async with Server(chosen) as running:
        async with contextlib.AsyncExitStack() as stack:
            if link is not None:
                await stack.enter_async_context(link.towards(running))
            stage = Stage(running, link)
            try:
                yield stage
            finally:
                await stage.close()

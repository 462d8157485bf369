"""The pytest plugin: fixtures `greenroom_server` and `greenroom_call`, wherever greenroom is installed.

The rest of greenroom is imported only when a test asks for a fixture. They need a plugin for async tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from greenroom.testing.call import Agent, Call
    from greenroom.testing.stage import Stage

__all__ = ["Caller", "greenroom_call", "greenroom_server"]

#: What `greenroom_call` gives: `await greenroom_call(entrypoint, **arguments of testing.room)`.
Caller: TypeAlias = Callable[..., Any]


async def _server() -> AsyncIterator[Stage]:
    """A server that people can be made to join: `testing.server()`."""
    from greenroom.testing.stage import server

    async with server() as stage:
        yield stage


async def _call() -> AsyncIterator[Caller]:
    """Begin calls with an agent, which end with the test: `call = await greenroom_call(entrypoint)`."""
    from greenroom.testing.call import room

    async with contextlib.AsyncExitStack() as stack:

        async def begin(agent: Agent, **settings: Any) -> Call:
            return await stack.enter_async_context(room(agent, **settings))

        yield begin


def _fixture(function: Callable[[], AsyncIterator[Any]], name: str) -> Any:
    try:
        import pytest_asyncio
    except ImportError:
        return pytest.fixture(name=name)(function)
    return pytest_asyncio.fixture(name=name)(function)


greenroom_server = _fixture(_server, "greenroom_server")
greenroom_call = _fixture(_call, "greenroom_call")

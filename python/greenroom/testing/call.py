"""A call with an agent: the user's program as a job of a worker, on a server in this process, and a caller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from greenroom import rtc
from greenroom.errors import ConfigError
from greenroom.runtime.tasks import TaskSet
from greenroom.server import ServerOptions
from greenroom.testing.link import Link
from greenroom.testing.person import Person
from greenroom.testing.stage import Stage, server

if TYPE_CHECKING:
    from greenroom.agents import AgentServer, JobContext, WorkerOptions

__all__ = ["Agent", "Call", "room"]

log = logging.getLogger("greenroom.testing")

#: What runs in the call: an entrypoint, or a whole worker.
Agent: TypeAlias = "Callable[[JobContext], Awaitable[None] | None] | AgentServer | WorkerOptions"


class Call(Person):
    """The caller, who is alone in a room with the agent until others `join`.

    Attributes:
        stage: the server.
        agent: the agent's identity in the room.
    """

    def __init__(self, identity: str, stage: Stage, room_name: str) -> None:
        super().__init__(identity, rtc.Room())
        self.stage = stage
        self.agent = ""
        self._room_name = room_name

    async def join(self, identity: str, options: rtc.RoomOptions | None = None) -> Person:
        """Have one more person join the call.

        Raises:
            ConnectError: joining did not work.
        """
        return await self.stage.join(identity, room=self._room_name, options=options)


@contextlib.asynccontextmanager
async def room(
    agent: Agent,
    *,
    identity: str = "caller",
    name: str = "lobby",
    link: Link | None = None,
    options: ServerOptions | None = None,
    within: float = 15.0,
) -> AsyncIterator[Call]:
    """A call with an agent for as long as the block lasts. It begins when the agent is in the room with the caller.

    The agent runs as it would in production: it is offered a job, accepts it, joins and publishes, in a task of this
    process, whatever executor the worker names.

    Args:
        agent: an entrypoint, or a worker (`AgentServer` or `WorkerOptions`) with its request function and all.
        identity: the caller's.
        name: the room's.
        link: a network with losses and delays for everybody's media.
        options: how the server behaves.
        within: seconds that the agent may take to join.

    Raises:
        AssertionError: the agent did not join, or its entrypoint raised.
        ConfigError: what was given cannot be run.
    """
    async with server(link=link, options=options) as stage, _Worker(agent, stage).running() as worker:
        call = Call(identity, stage, name)
        await stage.bring(call, stage.server.token(identity, name))
        call.agent = await worker.joined(call, within)
        yield call
        await stage.close()
        await worker.close()
        worker.raise_failures()


class _Worker:
    """The user's program as a worker, and how its jobs ended."""

    def __init__(self, agent: Agent, stage: Stage) -> None:
        self._worker = _as_worker(agent)
        self._stage = stage
        self._failures: list[str] = []
        self._ended = asyncio.Event()
        self._tasks = TaskSet(log)
        self._worker.on("job_ended", self._on_job_ended)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[_Worker]:
        """Registered and ready, then closed."""
        from greenroom.agents import JobExecutorType

        key, secret = next(iter(self._stage.server.keys.items()))
        self._worker.update_options(
            ws_url=self._stage.url,
            api_key=key,
            api_secret=secret,
            agent_name="",
            job_executor_type=JobExecutorType.TASK,
            host="127.0.0.1",
            port=0,
        )
        registered = asyncio.Event()
        self._worker.on("worker_registered", lambda *_: registered.set())
        run = self._tasks.spawn(self._worker.run(devmode=True), name="worker under test")
        ready = self._tasks.spawn(registered.wait(), name="waiting for the worker")
        try:
            await asyncio.wait([run, ready], return_when=asyncio.FIRST_COMPLETED)
            if run.done():
                run.result()
            yield self
        finally:
            await self.close()
            await self._tasks.close()

    async def joined(self, call: Call, within: float) -> str:
        """The identity of the agent, once it is in the room."""
        waiting = TaskSet(log)
        found = waiting.spawn(_agent_in(call.room), name="waiting for the agent")
        ended = waiting.spawn(self._ended.wait(), name="waiting for the job's end")
        try:
            await asyncio.wait([found, ended], timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if found.done():
                return str(found.result())
        finally:
            await waiting.close()
        self.raise_failures()
        why = "its job ended without joining" if self._ended.is_set() else "did its request function reject the job?"
        raise AssertionError(f"the agent did not join within {within:g} s: {why}")

    async def close(self) -> None:
        """End its jobs. Idempotent."""
        await self._worker.aclose()

    def raise_failures(self) -> None:
        """Raise if a job failed.

        Raises:
            AssertionError: with what its entrypoint raised.
        """
        if self._failures:
            raise AssertionError("the agent failed:\n" + "\n".join(self._failures))

    def _on_job_ended(self, job_id: str, error: str) -> None:
        if error:
            self._failures.append(error)
        self._ended.set()


def _as_worker(agent: Agent) -> AgentServer:
    from greenroom.agents import AgentServer, WorkerOptions

    if isinstance(agent, AgentServer):
        return agent
    if isinstance(agent, WorkerOptions):
        return AgentServer(agent)
    if not callable(agent):
        raise ConfigError(f"an agent is an entrypoint, an AgentServer or WorkerOptions, not {type(agent).__name__}")
    return AgentServer(entrypoint_fnc=agent)


async def _agent_in(room: rtc.Room) -> str:
    def is_agent(participant: rtc.RemoteParticipant) -> bool:
        return participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT

    for participant in room.remote_participants.values():
        if is_agent(participant):
            return participant.identity
    came = await room.wait_for("participant_connected", is_agent)
    return str(came.identity)

"""`JobRequest`: an offered job, to accept or reject."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenroom.agents.job import AutoDisconnect, AutoSubscribe, Job, JobAcceptArguments, JobParticipant, JobRoom
from greenroom.errors import ConfigError, StateError

if TYPE_CHECKING:
    from greenroom.agents.context import JobContext

__all__ = ["Answer", "JobRequest"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was accepted with.

    Attributes:
        entrypoint: None = the worker's.
        auto_subscribe: the room is joined so before the entrypoint runs; None = the entrypoint joins it.
    """

    arguments: JobAcceptArguments
    entrypoint: Callable[[JobContext], Awaitable[None] | None] | None
    auto_subscribe: AutoSubscribe | None
    auto_disconnect: AutoDisconnect


class JobRequest:
    """An offered job. Answer it within a few seconds with `accept` or `reject`."""

    def __init__(
        self,
        job: Job,
        on_accept: Callable[[Answer], asyncio.Future[None]],
        on_reject: Callable[[bool], None],
    ) -> None:
        self._job = job
        self._on_accept = on_accept
        self._on_reject = on_reject
        self._answered = False

    @property
    def id(self) -> str:
        """The job's id."""
        return self._job.id

    @property
    def job(self) -> Job:
        """What is known of the job."""
        return self._job

    @property
    def room(self) -> JobRoom:
        """The room it is for."""
        return self._job.room

    @property
    def publisher(self) -> JobParticipant | None:
        """The participant it is for, where it is for one."""
        return self._job.participant

    @property
    def agent_name(self) -> str:
        """The name that was dispatched."""
        return self._job.agent_name

    @property
    def answered(self) -> bool:
        """Whether it was accepted or rejected."""
        return self._answered

    async def accept(
        self,
        entrypoint: Callable[[JobContext], Awaitable[None] | None] | None = None,
        *,
        auto_subscribe: AutoSubscribe | None = None,
        auto_disconnect: AutoDisconnect = AutoDisconnect.NONE,
        name: str = "",
        identity: str = "",
        metadata: str = "",
        attributes: dict[str, str] | None = None,
    ) -> None:
        """Take the job; returns when the server has assigned it.

        Two forms: with an entrypoint (or `auto_subscribe`) the room is joined first, and what happens in it is held
        back until the entrypoint waits for the first time, so that no event is missed. Without, the worker's
        `entrypoint_fnc` runs and calls `await ctx.connect()` itself.

        Args:
            entrypoint: what runs; None = the worker's `entrypoint_fnc`.
            auto_subscribe: which tracks are received; SUBSCRIBE_ALL when only an entrypoint is given.
            auto_disconnect: which departure of others ends the job.
            name: the agent's name for display.
            identity: the agent's identity; "" = agent-<job id>.
            metadata: of the agent, for the others.
            attributes: of the agent, for the others.

        Raises:
            StateError: it was answered already.
            ConfigError: `entrypoint` cannot be called.
            AssignmentTimeoutError: the server accepted the answer but did not assign the job.
            DisconnectedError: the connection to the server was lost meanwhile.
        """
        if entrypoint is not None and not callable(entrypoint):
            raise ConfigError(f"accept() takes the entrypoint function first, not {type(entrypoint).__name__}")
        self._answer()
        if entrypoint is not None and auto_subscribe is None:
            auto_subscribe = AutoSubscribe.SUBSCRIBE_ALL
        arguments = JobAcceptArguments(name, identity or f"agent-{self.id}", metadata, attributes)
        mode = None if auto_subscribe is None else AutoSubscribe(auto_subscribe)
        await self._on_accept(Answer(arguments, entrypoint, mode, auto_disconnect))

    async def reject(self, *, terminate: bool = True) -> None:
        """Do not take the job.

        Args:
            terminate: nobody shall take it; False = another worker may.

        Raises:
            StateError: it was answered already.
        """
        self._answer()
        self._on_reject(terminate)

    def _answer(self) -> None:
        if self._answered:
            raise StateError(f"the request for job {self.id} was answered already")
        self._answered = True

    def __repr__(self) -> str:
        return f"JobRequest(id={self.id}, room={self.room.name!r}, agent_name={self.agent_name!r})"

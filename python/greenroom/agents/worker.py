"""`AgentServer`: a worker. It registers with a server, is offered jobs, and runs those that are accepted."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar

from greenroom.agents import loading
from greenroom.agents.job import RunningJobInfo
from greenroom.agents.options import WorkerOptions, WorkerType
from greenroom.agents.worker_run import WorkerRun, WorkerSetup
from greenroom.errors import ConfigError, StateError
from greenroom.rtc.events import EventEmitter

if TYPE_CHECKING:
    from greenroom.agents.context import JobContext, JobProcess
    from greenroom.agents.request import JobRequest

__all__ = ["AgentServer", "EventTypes"]

EventTypes: TypeAlias = Literal["worker_started", "worker_registered", "job_started", "job_ended"]

_Function = TypeVar("_Function", bound="Callable[[JobContext], Awaitable[None] | None]")


class AgentServer(EventEmitter[EventTypes]):
    """A worker.

        server = AgentServer()

        @server.rtc_session(agent_name="greeter")
        async def entrypoint(ctx: JobContext) -> None: ...

        cli.run_app(server)

    Events: `worker_started()`, `worker_registered(worker_id, server_info)`, `job_started(job_id)`,
    `job_ended(job_id, error)` with error "" when it went well.

    Args:
        options: everything at once.
        setup_fnc: like `prewarm_fnc` of the options.
        **settings: single fields of `WorkerOptions`, which win over `options`.

    Raises:
        ConfigError: a setting does not exist.
    """

    def __init__(
        self,
        options: WorkerOptions | None = None,
        *,
        setup_fnc: Callable[[JobProcess], Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        try:
            self._options = dataclasses.replace(options or WorkerOptions(), **settings)
        except TypeError as error:
            raise ConfigError(str(error)) from error
        if setup_fnc is not None:
            self._options.prewarm_fnc = setup_fnc
        self._session_end: Callable[[JobContext], Awaitable[None] | None] | None = None
        self._running: WorkerRun | None = None

    @classmethod
    def from_server_options(cls, options: WorkerOptions) -> Self:
        """A worker with these options."""
        return cls(options)

    # -- setting up --------------------------------------------------------------------------------------------------

    @property
    def options(self) -> WorkerOptions:
        """How the worker is set up."""
        return self._options

    @property
    def setup_fnc(self) -> Callable[[JobProcess], Any] | None:
        """What runs once in every process before its jobs."""
        return self._options.prewarm_fnc

    @setup_fnc.setter
    def setup_fnc(self, function: Callable[[JobProcess], Any] | None) -> None:
        self._options.prewarm_fnc = function

    @property
    def load_fnc(self) -> Callable[..., float] | None:
        """How busy this machine is, 0 to 1."""
        return self._options.load_fnc

    @load_fnc.setter
    def load_fnc(self, function: Callable[..., float] | None) -> None:
        self._options.load_fnc = function

    def rtc_session(
        self,
        func: _Function | None = None,
        *,
        agent_name: str = "",
        type: WorkerType = WorkerType.ROOM,
        on_request: Callable[[JobRequest], Any] | None = None,
        on_session_end: Callable[[JobContext], Any] | None = None,
    ) -> Any:
        """Decorate the entrypoint.

        Args:
            func: the entrypoint, when used without parentheses.
            agent_name: jobs are given only by explicit dispatch of this name; "" = to every room.
            type: what a job is given for.
            on_request: is asked about every offered job.
            on_session_end: runs when a job is to end, before its room is left.

        Raises:
            ConfigError: there is an entrypoint already.
        """

        def decorate(function: _Function) -> _Function:
            if self._options.entrypoint_fnc is not None:
                raise ConfigError("this worker has an entrypoint already; make a second AgentServer for another one")
            self._options.entrypoint_fnc = function
            self._options.agent_name = agent_name or self._options.agent_name
            self._options.worker_type = type
            self._options.request_fnc = on_request or self._options.request_fnc
            self._session_end = on_session_end
            return function

        return decorate if func is None else decorate(func)

    def update_options(self, **settings: Any) -> None:
        """Change fields of the options before `run`.

        Raises:
            StateError: the worker runs.
            ConfigError: a setting does not exist.
        """
        if self._running is not None:
            raise StateError("the worker runs already")
        try:
            self._options = dataclasses.replace(self._options, **settings)
        except TypeError as error:
            raise ConfigError(str(error)) from error

    # -- running -----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The worker's id on the server; "unregistered" without one."""
        return (self._running.machine.worker_id if self._running else "") or "unregistered"

    @property
    def active_jobs(self) -> list[RunningJobInfo]:
        """The jobs that run."""
        return list(self._running.jobs.values()) if self._running else []

    @property
    def http_port(self) -> int:
        """The port of the health page; 0 while the worker does not run."""
        return self._running.http_port if self._running else 0

    @property
    def draining(self) -> bool:
        """Whether it takes no more jobs because it is to end."""
        return self._running is not None and self._running.machine.draining

    async def run(self, *, devmode: bool = False, unregistered: bool = False) -> None:
        """Work until `aclose` or `drain`.

        Args:
            devmode: the options' values for development count.
            unregistered: without a server; jobs come from `simulate_job` only.

        Raises:
            ConfigError: there is nothing to run, or no key to register with.
            ConnectError: the server cannot be reached, or does not want this worker.
            StateError: it runs already.
        """
        if self._running is not None:
            raise StateError("the worker runs already")
        loading.refuse_while_loading()
        self._options.validate()
        running = self._running = WorkerRun(self, WorkerSetup(self._options, self._session_end, devmode))
        try:
            await running.run(register=not unregistered)
        finally:
            self._running = None

    async def drain(self, timeout: float | None = None) -> None:
        """Take no more jobs, and return when the last has ended; after `timeout` seconds those that are left are ended.

        Args:
            timeout: None = `drain_timeout` of the options.
        """
        if self._running is not None:
            await self._running.drain(self._options.drain_timeout if timeout is None else timeout)

    async def aclose(self) -> None:
        """End every job, in order, and the worker. Idempotent."""
        if self._running is not None:
            await self._running.stop()

    async def simulate_job(
        self, room: str, *, token: str | None = None, agent_identity: str | None = None, fake_job: bool = False
    ) -> None:
        """Run a job for a room although no server has offered one.

        Args:
            room: the room's name.
            token: to join with; None = one is made with the worker's key.
            agent_identity: the agent's identity when the token is made here.
            fake_job: what `ctx.is_fake_job()` says.

        Raises:
            StateError: the worker does not run.
        """
        if self._running is None:
            raise StateError("the worker does not run")
        await self._running.simulate(room, token, agent_identity, fake_job)

"""`AgentServer`: a worker. It registers with a server, is offered jobs, and runs those that are accepted."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, TypeVar, Unpack, overload

from greenroom._lazy import when_used
from greenroom.agents import loading
from greenroom.agents.job import Job, RunningJobInfo
from greenroom.agents.options import (
    DRAIN_TIMEOUT,
    NOT_GIVEN,
    VALID_LOG_LEVELS,
    NotGiven,
    NotGivenOr,
    OptionFields,
    ServerEnvOption,
    WorkerOptions,
    WorkerType,
)
from greenroom.errors import ConfigError, StateError
from greenroom.rtc.events import EventEmitter

with when_used(globals()):
    from greenroom.agents.health import WORKER_PROTOCOL_VERSION
    from greenroom.agents.link import HEARTBEAT_INTERVAL
    from greenroom.agents.worker_run import UPDATE_LOAD_INTERVAL
    from greenroom.protocol.worker import ASSIGNMENT_TIMEOUT
    from greenroom.protocol.worker import STATUS_INTERVAL as UPDATE_STATUS_INTERVAL

if TYPE_CHECKING:
    from greenroom.agents.context import JobContext, JobProcess
    from greenroom.agents.handover import Succession
    from greenroom.agents.request import JobRequest
    from greenroom.agents.worker_run import WorkerRun
    from greenroom.wire import messages as m

__all__ = [
    "ASSIGNMENT_TIMEOUT",
    "DRAIN_TIMEOUT",
    "HEARTBEAT_INTERVAL",
    "UPDATE_LOAD_INTERVAL",
    "UPDATE_STATUS_INTERVAL",
    "VALID_LOG_LEVELS",
    "WORKER_PROTOCOL_VERSION",
    "AgentServer",
    "EventTypes",
    "WorkerInfo",
]

EventTypes: TypeAlias = Literal["worker_started", "worker_registered", "job_started", "job_ended"]

_Function = TypeVar("_Function", bound="Callable[[JobContext], Awaitable[None] | None]")
_Anything = TypeVar("_Anything")


@dataclasses.dataclass(slots=True)
class WorkerInfo:
    """A running worker: the port of its health page, and whether LiveKit Cloud hosts it (LIVEKIT_WORKER_TOKEN)."""

    http_port: int
    cloud_agents: bool


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
        loop: the event loop that `run` must be awaited on; None = any.
        **settings: single fields of `WorkerOptions`, which win over `options`.

    Raises:
        ConfigError: a setting does not exist; the message names the nearest that does.
    """

    __signature__: ClassVar[_Signature]

    def __init__(
        self,
        options: WorkerOptions | None = None,
        *,
        setup_fnc: Callable[[JobProcess], Any] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        **settings: Unpack[OptionFields],
    ) -> None:
        super().__init__()
        if options is not None and not isinstance(options, WorkerOptions):
            raise ConfigError(
                f"AgentServer takes WorkerOptions(...) or single options by name, not {type(options).__name__}; an "
                "entrypoint is entrypoint_fnc=..., or a function under @server.rtc_session()"
            )
        self._options = dataclasses.replace(options or WorkerOptions(), **settings)
        if setup_fnc is not None:
            self.setup_fnc = setup_fnc
        self._loop = loop
        self._session_end: Callable[[JobContext], Awaitable[None] | None] | None = None
        self._succession: Succession | None = None
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
        self._options.prewarm_fnc = _callable_or_none("setup_fnc", function)

    @property
    def load_fnc(self) -> Callable[..., float] | None:
        """How busy this machine is, 0 to 1."""
        return self._options.load_fnc

    @load_fnc.setter
    def load_fnc(self, function: Callable[..., float] | None) -> None:
        self._options.load_fnc = _callable_or_none("load_fnc", function)

    @property
    def log_level(self) -> str | ServerEnvOption[str]:
        """What is logged when the command line does not say otherwise."""
        return self._options.log_level

    @overload
    def rtc_session(
        self,
        func: _Function,
        *,
        agent_name: str = "",
        type: WorkerType = WorkerType.ROOM,
        on_request: Callable[[JobRequest], Any] | None = None,
        on_session_end: Callable[[JobContext], Any] | None = None,
        on_simulation_end: None = None,
    ) -> _Function: ...
    @overload
    def rtc_session(
        self,
        func: None = None,
        *,
        agent_name: str = "",
        type: WorkerType = WorkerType.ROOM,
        on_request: Callable[[JobRequest], Any] | None = None,
        on_session_end: Callable[[JobContext], Any] | None = None,
        on_simulation_end: None = None,
    ) -> Callable[[_Function], _Function]: ...
    def rtc_session(
        self,
        func: _Function | None = None,
        *,
        agent_name: str = "",
        type: WorkerType = WorkerType.ROOM,
        on_request: Callable[[JobRequest], Any] | None = None,
        on_session_end: Callable[[JobContext], Any] | None = None,
        on_simulation_end: Callable[..., Any] | None = None,
    ) -> _Function | Callable[[_Function], _Function]:
        """Decorate the entrypoint.

        Args:
            func: the entrypoint, when used without parentheses.
            agent_name: jobs are given only by explicit dispatch of this name; "" = `agent_name` of the options.
            type: what a job is given for.
            on_request: is asked about every offered job.
            on_session_end: runs when a job is to end, before its room is left.
            on_simulation_end: refused: a simulation's verdict reaches the official framework's voice sessions only.

        Raises:
            StateError: there is an entrypoint already.
            ConfigError: `on_simulation_end` is given.
        """
        if on_simulation_end is not None:
            raise ConfigError(
                "on_simulation_end cannot be called: what it is told arrives in voice sessions, which greenroom has "
                "not; ctx.simulation_context() works"
            )

        def decorate(function: _Function) -> _Function:
            if self._options.entrypoint_fnc is not None:
                raise StateError("this worker has an entrypoint already; make a second AgentServer for another one")
            self._options.entrypoint_fnc = function
            self._options.agent_name = agent_name or self._options.agent_name
            self._options.worker_type = type
            self._options.request_fnc = on_request or self._options.request_fnc
            self._session_end = on_session_end
            return function

        return decorate if func is None else decorate(func)

    def update_options(self, **settings: Unpack[OptionFields]) -> None:
        """Change fields of the options before `run`.

        Raises:
            StateError: the worker runs.
            ConfigError: a setting does not exist.
        """
        if self._running is not None:
            raise StateError("the worker runs already")
        self._options = dataclasses.replace(self._options, **settings)

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
    def worker_info(self) -> WorkerInfo:
        """The port of the health page, 0 while the worker does not run, and whether LiveKit Cloud hosts the worker."""
        return WorkerInfo(self.http_port, bool(os.environ.get("LIVEKIT_WORKER_TOKEN")))

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
            ConfigError: an option cannot work, or there is no key to register with.
            ConnectError: the server cannot be reached, or does not want this worker.
            StateError: it runs already, on another event loop than `loop`, or there is nothing to run.
        """
        if self._running is not None:
            raise StateError("the worker runs already")
        from greenroom.agents.health import share_metrics
        from greenroom.agents.worker_run import WorkerRun, WorkerSetup

        loading.refuse_while_loading()
        if self._loop not in (None, asyncio.get_running_loop()):
            raise StateError("the worker was made with loop=..., and this is another event loop")
        self._options.validate_config(devmode)
        share_metrics(self._options.prometheus_multiproc_dir)
        options = dataclasses.replace(self._options, agent_name=self._options.registered_name())
        running = self._running = WorkerRun(self, WorkerSetup(options, self._session_end, devmode, self._succession))
        try:
            await running.run(register=not unregistered)
        finally:
            self._running = None

    async def drain(self, timeout: NotGivenOr[float | None] = NOT_GIVEN) -> None:
        """Take no more jobs, and return when the last has ended; after `timeout` seconds those that are left are ended.

        Args:
            timeout: None = as long as they take; not given = `drain_timeout` of the options.
        """
        if self._running is not None:
            limit = self._options.drain_timeout if isinstance(timeout, NotGiven) else timeout
            await self._running.drain(limit)

    async def aclose(self) -> None:
        """End every job, in order, and the worker. Idempotent."""
        if self._running is not None:
            await self._running.stop()

    async def simulate_job(
        self,
        room: str,
        participant_identity: str | None = None,
        *,
        fake_job: bool = False,
        agent_identity: str | None = None,
        room_info: m.Room | None = None,
        token: str | None = None,
    ) -> None:
        """Run a job for a room although no server has offered one.

        Args:
            room: the room's name.
            participant_identity: the participant that the job is for; None = it is for the room.
            fake_job: what `ctx.is_fake_job()` says.
            agent_identity: the agent's identity when the token is made here; None = what the program accepts it with.
            room_info: what else is known of the room.
            token: to join with; None = one is made with the worker's key.

        Raises:
            StateError: the worker does not run.
        """
        if self._running is None:
            raise StateError("the worker does not run")
        job = Job.simulated(room, participant_identity, room_info)
        await self._running.simulate(job, token, agent_identity, fake_job)


def _callable_or_none(name: str, function: _Anything) -> _Anything:
    if function is not None and not callable(function):
        raise TypeError(f"{name} must be a function or None, not {type(function).__name__}")
    return function


class _Signature:
    """What `AgentServer` takes, with every option by its name and default, for `help` and the like."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        own = [each for each in inspect.signature(AgentServer.__init__).parameters.values() if each.name != "self"]
        options = inspect.signature(WorkerOptions).parameters.values()
        by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in options]
        return inspect.Signature([*own[:-1], *by_name])


AgentServer.__signature__ = _Signature()

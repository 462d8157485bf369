"""How a worker is set up."""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from greenroom.errors import ConfigError

if TYPE_CHECKING:
    from greenroom.agents.context import JobContext, JobProcess
    from greenroom.agents.request import JobRequest

__all__ = [
    "DEFAULT_URL",
    "JobExecutorType",
    "ServerEnvOption",
    "ServerType",
    "WorkerOptions",
    "WorkerPermissions",
    "WorkerType",
]

T = TypeVar("T")
Entrypoint: TypeAlias = "Callable[[JobContext], Awaitable[None] | None]"
RequestHandler: TypeAlias = "Callable[[JobRequest], Awaitable[None] | None]"

DEFAULT_URL = "ws://127.0.0.1:7880"


class JobExecutorType(enum.Enum):
    """Where jobs run."""

    TASK = "task"
    """All in one process, as tasks of one event loop: the cheapest, and media never waits for it."""
    THREAD = "thread"
    """Each in a thread with an event loop of its own."""
    PROCESS = "process"
    """Each in a process of its own, forked from one that has loaded the program already."""


class WorkerType(enum.Enum):
    """What a worker is given a job for."""

    ROOM = 0
    PUBLISHER = 1
    PARTICIPANT = 2


ServerType = WorkerType


@dataclass(frozen=True)
class ServerEnvOption(Generic[T]):
    """A setting that differs between development and production."""

    dev_default: T
    prod_default: T

    @staticmethod
    def getvalue(opt: T | ServerEnvOption[T], devmode: bool) -> T:
        """The value that counts."""
        if isinstance(opt, ServerEnvOption):
            value: T = opt.dev_default if devmode else opt.prod_default
            return value
        return opt


@dataclass
class WorkerPermissions:
    """What the agents of a worker may do in their rooms."""

    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_update_metadata: bool = True
    can_publish_sources: list[int] = field(default_factory=list)
    """`TrackSource` numbers; empty = all."""
    hidden: bool = False


@dataclass
class WorkerOptions:
    """A worker. Either `entrypoint_fnc` or a `request_fnc` that passes an entrypoint to `accept` is needed.

    Durations are seconds.

    Attributes:
        entrypoint_fnc: what runs for every job that is accepted without an entrypoint of its own.
        request_fnc: is asked about every offered job; None = all are accepted.
        prewarm_fnc: runs once in every process before its jobs (once in all, unless jobs have their own process).
        load_fnc: how busy this machine is, 0 to 1; takes the worker or nothing. None = its processors' load.
        job_executor_type: where jobs run.
        load_threshold: with this load or more no job is taken.
        max_jobs: there are never more jobs than this; a slot is reserved when a job is offered. None = no limit.
        job_memory_warn_mb: a job's process with more memory is worth a warning (JobExecutorType.PROCESS only).
        job_memory_limit_mb: a job's process with more memory is ended; 0 = no limit (JobExecutorType.PROCESS only).
        drain_timeout: how long jobs may go on once the worker is to end.
        num_idle_processes: how many processes wait for jobs (JobExecutorType.PROCESS only).
        entrypoint_timeout: how long an entrypoint may go on once its job is to end, before it is cancelled.
        shutdown_process_timeout: how long leaving the room and the shutdown callbacks may take together.
        session_end_timeout: how long the handler of a session's end may take.
        initialize_process_timeout: how long `prewarm_fnc` may take.
        agent_name: jobs are given to workers of this name only by explicit dispatch; "" = to every room.
        worker_type: what a job is given for.
        max_retry: attempts in a row to reach the server before the worker gives up.
        ws_url: where the server is. None = LIVEKIT_URL, else this machine.
        api_key: None = LIVEKIT_API_KEY.
        api_secret: None = LIVEKIT_API_SECRET.
        host: address of the health page; "" = all.
        port: port of the health page; 0 = a free one.
        prometheus_port: port of the metrics; None = only /metrics of the health page.
        preload_modules: imported before job processes are forked.
    """

    entrypoint_fnc: Entrypoint | None = None
    request_fnc: RequestHandler | None = None
    prewarm_fnc: Callable[[JobProcess], Any] | None = None
    load_fnc: Callable[..., float] | None = None
    job_executor_type: JobExecutorType = JobExecutorType.TASK
    load_threshold: float | ServerEnvOption[float] = ServerEnvOption(math.inf, 0.7)
    max_jobs: int | None = None
    job_memory_warn_mb: float = 1000
    job_memory_limit_mb: float = 0
    drain_timeout: float = 3600
    num_idle_processes: int | ServerEnvOption[int] = ServerEnvOption(0, 2)
    entrypoint_timeout: float = 5.0
    shutdown_process_timeout: float = 10.0
    session_end_timeout: float = 300.0
    initialize_process_timeout: float = 10.0
    permissions: WorkerPermissions = field(default_factory=WorkerPermissions)
    agent_name: str = ""
    worker_type: WorkerType = WorkerType.ROOM
    max_retry: int = 16
    ws_url: str | None = None
    api_key: str | None = None
    api_secret: str | None = None
    log_level: str | ServerEnvOption[str] = ServerEnvOption("DEBUG", "INFO")
    host: str = ""
    port: int | ServerEnvOption[int] = ServerEnvOption(0, 8081)
    http_proxy: str | None = None
    multiprocessing_context: Literal["spawn", "forkserver"] = "forkserver"
    preload_modules: list[str] | None = None
    prometheus_port: int | None = None

    def credentials(self) -> tuple[str, str, str]:
        """URL, API key and secret, from here or the environment.

        Raises:
            ConfigError: one of them is missing or the URL is no URL.
        """
        url = self.ws_url or os.environ.get("LIVEKIT_URL") or DEFAULT_URL
        key = self.api_key or os.environ.get("LIVEKIT_API_KEY") or ""
        secret = self.api_secret or os.environ.get("LIVEKIT_API_SECRET") or ""
        if not url.startswith(("ws://", "wss://", "http://", "https://")):
            raise ConfigError(f"the server's URL must begin with ws:// or wss://, not {url!r} (LIVEKIT_URL, --url)")
        if not key or not secret:
            missing = "LIVEKIT_API_KEY (--api-key)" if not key else "LIVEKIT_API_SECRET (--api-secret)"
            raise ConfigError(f"{missing} is not set: a worker needs an API key of the server and its secret")
        return url, key, secret

    def validate(self) -> None:
        """Check that there is something to run.

        Raises:
            ConfigError: neither an entrypoint nor a request function is given, or a limit is impossible.
        """
        if self.entrypoint_fnc is None and self.request_fnc is None:
            raise ConfigError(
                "a worker needs entrypoint_fnc=..., or request_fnc=... that calls `await req.accept(entrypoint)`"
            )
        if self.max_jobs is not None and self.max_jobs < 1:
            raise ConfigError(f"max_jobs must be at least 1, not {self.max_jobs}")

"""How a worker is set up."""

from __future__ import annotations

import enum
import functools
import logging
import math
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypedDict, TypeVar

from greenroom.errors import ConfigError, StateError

if TYPE_CHECKING:
    from greenroom.agents.context import JobContext, JobProcess
    from greenroom.agents.request import JobRequest

__all__ = [
    "DEFAULT_URL",
    "DRAIN_TIMEOUT",
    "NOT_GIVEN",
    "VALID_LOG_LEVELS",
    "JobExecutorType",
    "NotGiven",
    "NotGivenOr",
    "OptionFields",
    "ServerEnvOption",
    "ServerType",
    "WorkerOptions",
    "WorkerPermissions",
    "WorkerType",
    "log_level_of",
    "refuse_unknown",
]

log = logging.getLogger("greenroom.agents")

T = TypeVar("T")
Entrypoint: TypeAlias = "Callable[[JobContext], Awaitable[None] | None]"
RequestHandler: TypeAlias = "Callable[[JobRequest], Awaitable[None] | None]"

DEFAULT_URL = "ws://127.0.0.1:7880"
#: Seconds.
DRAIN_TIMEOUT = 3600
VALID_LOG_LEVELS = frozenset({"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"})
_LOG_LEVELS = VALID_LOG_LEVELS | {"WARNING"}


class NotGiven:
    """The type of `NOT_GIVEN`, which stands where None would be a value."""

    __slots__ = ()

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __reduce__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = NotGiven()
NotGivenOr: TypeAlias = T | NotGiven


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


_Options = TypeVar("_Options", bound="WorkerOptions")

#: Options that others have, or had, and what takes their place here.
_ELSEWHERE = {
    "namespace": "servers know no namespaces any more; agent_name=... is how a worker is asked for by name",
}


def refuse_unknown(given: Iterable[str]) -> None:
    """Check names of options.

    Raises:
        ConfigError: one does not exist; the message names the nearest that does.
    """
    known = [each.name for each in fields(WorkerOptions)]
    for name in given:
        if name not in known:
            raise ConfigError(f"there is no option {name!r}: {_ELSEWHERE.get(name) or _nearest(name, known)}")


def _nearest(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}=...?" if near else f"there are {', '.join(known)}"


def _naming_the_nearest(options: type[_Options]) -> type[_Options]:
    """Let the constructor say which option was meant when it gets an unknown one."""
    make = options.__init__

    @functools.wraps(make)
    def init(self: _Options, *args: Any, **given: Any) -> None:
        refuse_unknown(given)
        make(self, *args, **given)

    options.__init__ = init  # type: ignore[assignment]
    return options


def log_level_of(level: str) -> str:
    """A log level as `logging` knows it.

    Raises:
        ConfigError: there is no such level.
    """
    if level.upper() not in _LOG_LEVELS:
        raise ConfigError(f"there is no log level {level!r}: there are {', '.join(sorted(VALID_LOG_LEVELS))}")
    return level.upper()


@_naming_the_nearest
@dataclass
class WorkerOptions:
    """A worker. Either `entrypoint_fnc` or a `request_fnc` that passes an entrypoint to `accept` is needed.

    Durations are seconds.

    Attributes:
        entrypoint_fnc: what runs for every job that is accepted without an entrypoint of its own.
        request_fnc: is asked about every offered job; None = all are accepted.
        prewarm_fnc: runs once in every process before its jobs (once in all, unless jobs have their own process).
        load_fnc: how busy this machine is, 0 to 1; takes the worker or nothing, and runs in a thread of its own. None =
            the load of its processors, or of NUM_CPUS of them.
        job_executor_type: where jobs run.
        load_threshold: with this load or more no job is taken.
        job_memory_warn_mb: a job's process with more memory is worth a warning (JobExecutorType.PROCESS only).
        job_memory_limit_mb: a job's process with more memory is ended; 0 = no limit. Other executors refuse a limit.
        drain_timeout: how long jobs may go on once the worker is to end.
        num_idle_processes: how many processes wait for jobs (JobExecutorType.PROCESS only).
        shutdown_process_timeout: how long leaving the room and the shutdown callbacks may take together.
        session_end_timeout: how long the handler of a session's end may take.
        initialize_process_timeout: how long `prewarm_fnc` may take (JobExecutorType.PROCESS only).
        permissions: what the agents may do in their rooms; the server puts it into their tokens.
        agent_name: jobs are given to workers of this name only by explicit dispatch; "" = LIVEKIT_AGENT_NAME, else to
            every room. LIVEKIT_AGENT_NAME_OVERRIDE wins over both.
        worker_type: what a job is given for.
        max_retry: attempts in a row to reach the server before the worker gives up.
        ws_url: where the server is. None = LIVEKIT_URL, else this machine.
        api_key: None = LIVEKIT_API_KEY.
        api_secret: None = LIVEKIT_API_SECRET.
        log_level: TRACE, DEBUG, INFO, WARN, ERROR or CRITICAL; LIVEKIT_LOG_LEVEL and --log-level win over it.
        host: address of the health page; "" = all.
        port: port of the health page; 0 = a free one.
        http_proxy: what the worker and `ctx.api` reach the server through; None = nothing. Not given = the proxy that
            HTTPS_PROXY, HTTP_PROXY and NO_PROXY name.
        multiprocessing_context: "forkserver": job processes are always forked from one that has loaded the program.
            "spawn" is refused with JobExecutorType.PROCESS and means nothing to other executors.
        preload_modules: imported before the first job.
        prometheus_port: port of the metrics; None = only /metrics of the health page.
        prometheus_multiproc_dir: an own folder, emptied at the start, for the metrics that jobs keep with
            prometheus-client; /metrics adds them up. None = PROMETHEUS_MULTIPROC_DIR.
        max_jobs: there are never more jobs than this; a slot is reserved when a job is offered. None = no limit.
        entrypoint_timeout: how long an entrypoint may go on once its job is to end, before it is cancelled.

    Raises:
        ConfigError: an option does not exist (the message names the nearest), or `log_level` is none.
    """

    entrypoint_fnc: Entrypoint | None = None
    request_fnc: RequestHandler | None = None
    prewarm_fnc: Callable[[JobProcess], Any] | None = None
    load_fnc: Callable[..., float] | None = None
    job_executor_type: JobExecutorType = JobExecutorType.TASK
    load_threshold: float | ServerEnvOption[float] = ServerEnvOption(math.inf, 0.7)
    job_memory_warn_mb: float = 1000
    job_memory_limit_mb: float = 0
    drain_timeout: float = DRAIN_TIMEOUT
    num_idle_processes: int | ServerEnvOption[int] = ServerEnvOption(0, 2)
    shutdown_process_timeout: float = 10.0
    session_end_timeout: float = 300.0
    initialize_process_timeout: float = 10.0
    permissions: WorkerPermissions = field(default_factory=WorkerPermissions)
    agent_name: str = ""
    worker_type: WorkerType = WorkerType.ROOM
    max_retry: int = 16
    ws_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_secret: str | None = field(default=None, repr=False)
    log_level: str | ServerEnvOption[str] = ServerEnvOption("DEBUG", "INFO")
    host: str = ""
    port: int | ServerEnvOption[int] = ServerEnvOption(0, 8081)
    http_proxy: NotGivenOr[str | None] = NOT_GIVEN
    multiprocessing_context: Literal["spawn", "forkserver"] = "forkserver"
    preload_modules: list[str] | None = None
    prometheus_port: int | None = None
    prometheus_multiproc_dir: str | None = None
    max_jobs: int | None = None
    entrypoint_timeout: float = 5.0

    def __post_init__(self) -> None:
        """Check the log level: whoever starts the worker needs it first of all."""
        if isinstance(self.log_level, ServerEnvOption):
            dev, prod = log_level_of(self.log_level.dev_default), log_level_of(self.log_level.prod_default)
            self.log_level = ServerEnvOption(dev, prod)
        else:
            self.log_level = log_level_of(self.log_level)

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
        if not url.partition("://")[2].strip("/"):
            raise ConfigError(f"the server's URL {url!r} names no host (LIVEKIT_URL, --url)")
        if not key or not secret:
            missing = "LIVEKIT_API_KEY (--api-key)" if not key else "LIVEKIT_API_SECRET (--api-secret)"
            raise ConfigError(f"{missing} is not set: a worker needs an API key of the server and its secret")
        return url, key, secret

    def registered_name(self) -> str:
        """The agent's name, from here or the environment."""
        forced = os.environ.get("LIVEKIT_AGENT_NAME_OVERRIDE")
        return forced or self.agent_name or os.environ.get("LIVEKIT_AGENT_NAME") or ""

    def proxy(self, url: str) -> str | None:
        """The proxy through which `url` is reached, from here or the environment; None = none."""
        if not isinstance(self.http_proxy, NotGiven):
            return self.http_proxy or None
        from greenroom.runtime.proxies import proxy_for

        return proxy_for(url)

    def validate_config(self, devmode: bool) -> None:
        """Check everything that can be checked before the worker runs.

        Args:
            devmode: the options' values for development count.

        Raises:
            StateError: neither an entrypoint nor a request function is given.
            ConfigError: a limit is impossible, or an option asks for what the executor cannot give.
        """
        if self.entrypoint_fnc is None and self.request_fnc is None:
            raise StateError(
                "a worker needs entrypoint_fnc=... or @server.rtc_session(), or request_fnc=... that calls "
                "`await req.accept(entrypoint)`"
            )
        if self.max_jobs is not None and self.max_jobs < 1:
            raise ConfigError(f"max_jobs must be at least 1, not {self.max_jobs}")
        if ServerEnvOption.getvalue(self.load_threshold, devmode) > 1 and not devmode:
            log.warning("with load_threshold above 1 no load refuses a job: loads are 0 to 1")
        if self.multiprocessing_context not in ("spawn", "forkserver"):
            raise ConfigError(f"multiprocessing_context must be 'forkserver', not {self.multiprocessing_context!r}")
        if self.job_executor_type is not JobExecutorType.PROCESS:
            if self.job_memory_limit_mb:
                raise ConfigError(
                    "job_memory_limit_mb=... needs job_executor_type=JobExecutorType.PROCESS: other jobs share the "
                    "worker's memory"
                )
        elif self.multiprocessing_context == "spawn":
            raise ConfigError(
                "multiprocessing_context='spawn' is not offered: job processes are forked from one that has loaded "
                "the program and does nothing else; leave it out"
            )


class OptionFields(TypedDict, total=False):
    """The fields of `WorkerOptions`, for functions that take some of them by name."""

    entrypoint_fnc: Entrypoint | None
    request_fnc: RequestHandler | None
    prewarm_fnc: Callable[[JobProcess], Any] | None
    load_fnc: Callable[..., float] | None
    job_executor_type: JobExecutorType
    load_threshold: float | ServerEnvOption[float]
    job_memory_warn_mb: float
    job_memory_limit_mb: float
    drain_timeout: float
    num_idle_processes: int | ServerEnvOption[int]
    shutdown_process_timeout: float
    session_end_timeout: float
    initialize_process_timeout: float
    permissions: WorkerPermissions
    agent_name: str
    worker_type: WorkerType
    max_retry: int
    ws_url: str | None
    api_key: str | None
    api_secret: str | None
    log_level: str | ServerEnvOption[str]
    host: str
    port: int | ServerEnvOption[int]
    http_proxy: NotGivenOr[str | None]
    multiprocessing_context: Literal["spawn", "forkserver"]
    preload_modules: list[str] | None
    prometheus_port: int | None
    prometheus_multiproc_dir: str | None
    max_jobs: int | None
    entrypoint_timeout: float

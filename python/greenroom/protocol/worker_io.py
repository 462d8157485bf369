"""What the worker machine says, and what its owner answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from greenroom.wire import messages as m

__all__ = [
    "Acceptance",
    "Ask",
    "Connect",
    "Drained",
    "GaveUp",
    "Launch",
    "Output",
    "Registered",
    "Send",
    "Shutdown",
    "Withdrawn",
]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """As whom the agent joins."""

    identity: str = ""
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the socket after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message."""

    message: m.WorkerMessage


@dataclass(frozen=True, slots=True)
class Registered:
    """The server knows us under this id."""

    worker_id: str
    server_info: m.ServerInfo


@dataclass(frozen=True, slots=True)
class Ask:
    """A job is offered: ask the program; a slot is reserved until `accept` or `decline`."""

    job: m.Job


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An offered or accepted job is not ours after all; `lost`: because the connection to the server is gone."""

    job_id: str
    reason: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """Run the job."""

    job: m.Job
    acceptance: Acceptance
    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End a running job."""

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drained:
    """The worker was drained and its last job has ended."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The server cannot be reached, or does not want us."""

    message: str


Output: TypeAlias = Connect | Send | Registered | Ask | Withdrawn | Launch | Shutdown | Drained | GaveUp

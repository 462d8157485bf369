"""What the dispatch machine is told and says, and what it remembers of workers, dispatches and jobs."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from greenroom.wire import messages as m

__all__ = [
    "AgentAnnounce",
    "AgentAppeared",
    "AssignJob",
    "CloseWorker",
    "CreateDispatch",
    "DeleteDispatch",
    "DispatchInput",
    "DispatchOutput",
    "DispatchRecord",
    "JobRecord",
    "ParticipantAppeared",
    "ParticipantGone",
    "Release",
    "ReleaseAgent",
    "RoomGone",
    "RoomOpened",
    "SendWorker",
    "TrackAppeared",
    "Wake",
    "WorkerClosed",
    "WorkerOpened",
    "WorkerRecord",
    "WorkerSaid",
]

# -- inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerOpened:
    """A worker with a good token opened a socket."""

    connection: int


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """A worker sent a message."""

    connection: int
    message: m.WorkerMessage


@dataclass(frozen=True, slots=True)
class WorkerClosed:
    """A worker's socket is gone."""

    connection: int


@dataclass(frozen=True, slots=True)
class RoomOpened:
    """A room began; `agents` are those its configuration asks for."""

    room: m.Room
    agents: tuple[m.RoomAgentDispatch, ...]


@dataclass(frozen=True, slots=True)
class RoomGone:
    """A room ended."""

    room: str


@dataclass(frozen=True, slots=True)
class ParticipantAppeared:
    """Somebody who is no agent has joined."""

    room: str
    participant: m.ParticipantInfo


@dataclass(frozen=True, slots=True)
class TrackAppeared:
    """Somebody who is no agent published a track."""

    room: str
    participant: m.ParticipantInfo


@dataclass(frozen=True, slots=True)
class AgentAppeared:
    """An agent has joined."""

    room: str
    identity: str


@dataclass(frozen=True, slots=True)
class ParticipantGone:
    """A participant is no longer in a room; `said_so`: it has taken its leave."""

    room: str
    identity: str
    said_so: bool = False


@dataclass(frozen=True, slots=True)
class CreateDispatch:
    """The API asks for an agent in a room."""

    dispatch: m.AgentDispatch


@dataclass(frozen=True, slots=True)
class DeleteDispatch:
    """The API takes a dispatch back: its jobs end."""

    room: str
    dispatch_id: str


@dataclass(frozen=True, slots=True)
class Wake:
    """The deadline has passed."""


DispatchInput: TypeAlias = (
    WorkerOpened
    | WorkerSaid
    | WorkerClosed
    | RoomOpened
    | RoomGone
    | ParticipantAppeared
    | TrackAppeared
    | AgentAppeared
    | ParticipantGone
    | CreateDispatch
    | DeleteDispatch
    | Wake
)

# -- outputs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendWorker:
    """Send a worker one message."""

    connection: int
    message: m.ServerMessage


@dataclass(frozen=True, slots=True)
class CloseWorker:
    """Close a worker's socket."""

    connection: int


@dataclass(frozen=True, slots=True)
class AssignJob:
    """Sign a token with which the agent can join, and send the worker its assignment."""

    connection: int
    job: m.Job
    accepted: m.AvailabilityResponse
    permission: m.ParticipantPermission


class Release(enum.Enum):
    """Which agents are taken out of a room; those that are not there any more are said to be gone in any case."""

    ALWAYS = "always"
    IF_LOST = "if its signalling socket is gone"
    IF_ABSENT = "if it is not there"


@dataclass(frozen=True, slots=True)
class ReleaseAgent:
    """Take an agent out of a room."""

    room: str
    identity: str
    when: Release


@dataclass(frozen=True, slots=True)
class AgentAnnounce:
    """A job began or ended: "agent_job_started", "agent_job_ended"."""

    event: str
    job: m.Job


DispatchOutput: TypeAlias = SendWorker | CloseWorker | AssignJob | ReleaseAgent | AgentAnnounce

#: What a job is taken to add to its worker's load until that says what it does.
_LOAD_OF_A_JOB = 0.05

# -- state -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class WorkerRecord:
    """A worker's socket, and what the worker said about itself.

    Attributes:
        unreported: how many jobs it was offered since it last said how loaded it is.
    """

    connection: int
    id: str = ""
    registration: m.RegisterWorkerRequest = field(default_factory=m.RegisterWorkerRequest)
    full: bool = False
    load: float = 0.0
    unreported: int = 0
    jobs: set[str] = field(default_factory=set)

    def serves(self, job: m.Job) -> bool:
        """Whether this worker is of the kind that a job is for."""
        mine = self.registration
        return bool(self.id) and (mine.agent_name, mine.type, mine.namespace, mine.deployment) == (
            job.agent_name,
            job.type,
            job.namespace,
            job.deployment,
        )

    @property
    def rank(self) -> tuple[float, int]:
        """Less is better: load in tenths, then how many jobs it has here.

        Reports of load lag behind, so jobs that one cannot contain yet count for something.
        """
        return round(self.load + _LOAD_OF_A_JOB * self.unreported, 1), len(self.jobs)


@dataclass(slots=True, eq=False)
class JobRecord:
    """One job from its first offer to its end.

    Attributes:
        offered_to: the worker that is being asked.
        worker: the worker that runs it.
        tried: workers that declined or did not answer.
        joined: whether its agent was in the room.
        lives: how often it may still be offered again after its worker died.
        patience: seconds until it is offered again to those who declined.
    """

    job: m.Job
    identity: str = ""
    offered_to: WorkerRecord | None = None
    worker: WorkerRecord | None = None
    tried: set[str] = field(default_factory=set)
    assigned: bool = False
    joined: bool = False
    lives: int = 3
    patience: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self.job.state.status in (m.JobStatus.JS_SUCCESS, m.JobStatus.JS_FAILED)

    @property
    def unseen(self) -> bool:
        """Whether no worker has heard of it yet."""
        return self.waiting and not self.tried

    @property
    def waiting(self) -> bool:
        """Whether it still looks for a worker."""
        return not self.ended and not self.assigned and self.offered_to is None


@dataclass(slots=True, eq=False)
class DispatchRecord:
    """A wish for agents in a room, and the jobs that came of it."""

    info: m.AgentDispatch
    jobs: dict[str, JobRecord] = field(default_factory=dict)

    def to_message(self) -> m.AgentDispatch:
        """The dispatch with the state of its jobs."""
        message = m.AgentDispatch()
        message.CopyFrom(self.info)
        message.state.jobs.extend(record.job for record in self.jobs.values() if not record.unseen)
        return message

"""What a job is about: plain records, read from the server's messages."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from greenroom.agents.options import JobExecutorType
from greenroom.media.named_enum import NamedIntEnum
from greenroom.wire import messages as m

__all__ = [
    "AutoDisconnect",
    "AutoSubscribe",
    "Job",
    "JobAcceptArguments",
    "JobParticipant",
    "JobProcess",
    "JobRoom",
    "JobType",
    "RunningJobInfo",
]


class AutoSubscribe(str, enum.Enum):  # noqa: UP042 - str() of a member stays as in the official SDK
    """Which tracks an agent receives without asking for them. Any other can be subscribed by hand."""

    SUBSCRIBE_ALL = "subscribe_all"
    SUBSCRIBE_NONE = "subscribe_none"
    AUDIO_ONLY = "audio_only"
    VIDEO_ONLY = "video_only"


class AutoDisconnect(enum.Enum):
    """Which departure of others ends a job."""

    ROOM_EMPTY = 1
    """That of the last participant who is no agent."""
    PUBLISHER_LEFT = 2
    """That of the participant the job is for."""
    NONE = 3
    """None: the job lives as long as its room."""


class JobType(NamedIntEnum):
    """What brought a job about."""

    JT_ROOM = 0
    JT_PUBLISHER = 1
    JT_PARTICIPANT = 2


@dataclass(frozen=True, slots=True)
class JobRoom:
    """The room of a job as it was when the job was offered. Times are Unix seconds, time-outs seconds."""

    sid: str
    name: str
    metadata: str
    num_participants: int
    creation_time: int
    num_publishers: int = 0
    max_participants: int = 0
    empty_timeout: int = 0
    departure_timeout: int = 0
    active_recording: bool = False

    @classmethod
    def from_message(cls, room: m.Room) -> Self:
        """Read the server's description."""
        return cls(
            room.sid,
            room.name,
            room.metadata,
            room.num_participants,
            room.creation_time,
            room.num_publishers,
            room.max_participants,
            room.empty_timeout,
            room.departure_timeout,
            room.active_recording,
        )


@dataclass(frozen=True, slots=True)
class JobParticipant:
    """The participant a job is for, as it was when the job was offered. `joined_at` is Unix seconds."""

    sid: str
    identity: str
    name: str
    metadata: str
    attributes: Mapping[str, str]
    kind: int
    state: int = 0
    joined_at: int = 0
    is_publisher: bool = False

    @classmethod
    def from_message(cls, one: m.ParticipantInfo) -> Self:
        """Read the server's description."""
        return cls(
            one.sid,
            one.identity,
            one.name,
            one.metadata,
            dict(one.attributes),
            int(one.kind),
            int(one.state),
            one.joined_at,
            one.is_publisher,
        )


@dataclass(frozen=True, slots=True)
class Job:
    """One wish for an agent."""

    id: str
    dispatch_id: str
    type: JobType
    room: JobRoom
    participant: JobParticipant | None
    metadata: str
    agent_name: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_message(cls, job: m.Job) -> Self:
        """Read the server's description."""
        participant = JobParticipant.from_message(job.participant) if job.HasField("participant") else None
        return cls(
            job.id,
            job.dispatch_id,
            JobType(job.type),
            JobRoom.from_message(job.room),
            participant,
            job.metadata,
            job.agent_name,
            dict(job.attributes),
        )

    @classmethod
    def simulated(cls, room: str, participant_identity: str | None = None, info: m.Room | None = None) -> Self:
        """A job that no server has made, for a room or for one participant of it."""
        import random

        message = m.Job(id=f"simulated-{random.randrange(16**8):08x}", room=info or m.Room(name=room))
        if participant_identity is not None:
            message.type = m.JobType.JT_PUBLISHER
            message.participant.identity = participant_identity
        return cls.from_message(message)


@dataclass(frozen=True, slots=True)
class JobAcceptArguments:
    """As whom the agent joins."""

    name: str
    identity: str
    metadata: str
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RunningJobInfo:
    """A job that runs, or is about to. Times are Unix seconds."""

    accept_arguments: JobAcceptArguments
    job: Job
    url: str
    token: str = field(repr=False)
    worker_id: str
    fake_job: bool = False
    received_at: float = 0.0
    accepted_at: float = 0.0
    assigned_at: float = 0.0
    launched_at: float = 0.0


class JobProcess:
    """Where jobs run: what `prewarm_fnc` prepares in `userdata`, jobs find in `ctx.proc.userdata`."""

    def __init__(
        self,
        *,
        executor_type: JobExecutorType = JobExecutorType.TASK,
        user_arguments: Any = None,
        http_proxy: str | None = None,
    ) -> None:
        self._executor_type = executor_type
        self._user_arguments = user_arguments
        self._http_proxy = http_proxy
        self._userdata: dict[Any, Any] = {}

    @property
    def executor_type(self) -> JobExecutorType:
        """How jobs run."""
        return self._executor_type

    @property
    def pid(self) -> int:
        """The id of this process."""
        return os.getpid()

    @property
    def userdata(self) -> dict[Any, Any]:
        """Whatever the program keeps here."""
        return self._userdata

    @property
    def user_arguments(self) -> Any:
        """What was passed for this process."""
        return self._user_arguments

    @property
    def http_proxy(self) -> str | None:
        """The proxy of HTTP requests."""
        return self._http_proxy

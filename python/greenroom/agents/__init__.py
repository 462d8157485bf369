"""Agents: programs that a server sends into rooms. A worker registers, is offered jobs, and runs them."""

from greenroom.agents import cli
from greenroom.agents.context import JobContext, JobProcess, get_job_context
from greenroom.agents.job import (
    AutoDisconnect,
    AutoSubscribe,
    Job,
    JobAcceptArguments,
    JobParticipant,
    JobRoom,
    JobType,
    RunningJobInfo,
)
from greenroom.agents.options import (
    JobExecutorType,
    ServerEnvOption,
    ServerType,
    WorkerOptions,
    WorkerPermissions,
    WorkerType,
)
from greenroom.agents.participants import wait_for_agent, wait_for_participant, wait_for_track_publication
from greenroom.agents.request import JobRequest
from greenroom.agents.worker import AgentServer
from greenroom.errors import AssignmentTimeoutError

ServerOptions = WorkerOptions
Worker = AgentServer
get_current_job_context = get_job_context

__all__ = [
    "AgentServer",
    "AssignmentTimeoutError",
    "AutoDisconnect",
    "AutoSubscribe",
    "Job",
    "JobAcceptArguments",
    "JobContext",
    "JobExecutorType",
    "JobParticipant",
    "JobProcess",
    "JobRequest",
    "JobRoom",
    "JobType",
    "RunningJobInfo",
    "ServerEnvOption",
    "ServerOptions",
    "ServerType",
    "Worker",
    "WorkerOptions",
    "WorkerPermissions",
    "WorkerType",
    "cli",
    "get_current_job_context",
    "get_job_context",
    "wait_for_agent",
    "wait_for_participant",
    "wait_for_track_publication",
]

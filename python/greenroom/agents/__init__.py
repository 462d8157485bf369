"""Agents: programs that a server sends into rooms. A worker registers, is offered jobs, and runs them."""

import sys

from greenroom import __version__
from greenroom._lazy import when_used
from greenroom.agents import cli
from greenroom.agents.context import JobContext, JobProcess, current_simulation, get_job_context
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
    NOT_GIVEN,
    JobExecutorType,
    NotGiven,
    NotGivenOr,
    ServerEnvOption,
    ServerType,
    WorkerOptions,
    WorkerPermissions,
    WorkerType,
)
from greenroom.agents.participants import (
    DEFAULT_PARTICIPANT_KINDS,
    wait_for_agent,
    wait_for_participant,
    wait_for_track_publication,
)
from greenroom.agents.request import JobRequest
from greenroom.agents.worker import AgentServer, WorkerInfo
from greenroom.errors import AssignmentTimeoutError


def _refusal(name: str) -> Exception:
    from greenroom.agents.elsewhere import refusal

    return refusal(__name__, name, sys._getframe(2))


with when_used(globals(), _refusal):
    from greenroom.agents import plugin as plugin
    from greenroom.agents import simulation as simulation
    from greenroom.agents import testing as testing
    from greenroom.agents import types as types
    from greenroom.agents import utils
    from greenroom.agents.plugin import Plugin
    from greenroom.agents.simulation import Scenario as Scenario
    from greenroom.agents.simulation import ScenarioGroup as ScenarioGroup
    from greenroom.agents.simulation import ScenarioUserdata, SimulationContext, SimulationVerdict
    from greenroom.agents.simulation import SimulationDispatch as SimulationDispatch
    from greenroom.agents.simulation import SimulationRun as SimulationRun

ServerOptions = WorkerOptions
Worker = AgentServer
get_current_job_context = get_job_context

__all__ = [
    "DEFAULT_PARTICIPANT_KINDS",
    "NOT_GIVEN",
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
    "NotGiven",
    "NotGivenOr",
    "Plugin",
    "RunningJobInfo",
    "ScenarioUserdata",
    "ServerEnvOption",
    "ServerOptions",
    "ServerType",
    "SimulationContext",
    "SimulationVerdict",
    "Worker",
    "WorkerInfo",
    "WorkerOptions",
    "WorkerPermissions",
    "WorkerType",
    "__version__",
    "cli",
    "current_simulation",
    "get_current_job_context",
    "get_job_context",
    "utils",
    "wait_for_agent",
    "wait_for_participant",
    "wait_for_track_publication",
]

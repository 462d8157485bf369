"""Agents: programs that a server sends into rooms. A worker registers, is offered jobs, and runs them."""

import sys
from typing import TYPE_CHECKING

from greenroom import __version__
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

if TYPE_CHECKING:
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

#: What is imported when it is first asked for, and the module that it is in.
_LATER = {
    "Plugin": "plugin",
    "Scenario": "simulation",
    "ScenarioGroup": "simulation",
    "ScenarioUserdata": "simulation",
    "SimulationContext": "simulation",
    "SimulationDispatch": "simulation",
    "SimulationRun": "simulation",
    "SimulationVerdict": "simulation",
    "plugin": "plugin",
    "simulation": "simulation",
    "testing": "testing",
    "types": "types",
    "utils": "utils",
}

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

if not TYPE_CHECKING:  # type checkers shall find misspelt names

    def __getattr__(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        if name not in _LATER:
            from greenroom.agents.elsewhere import refusal

            raise refusal(__name__, name, sys._getframe(1))
        module = importlib.import_module(f"{__name__}.{_LATER[name]}")
        return module if name == _LATER[name] else getattr(module, name)

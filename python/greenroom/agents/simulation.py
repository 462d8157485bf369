"""What a job knows of the simulation that it is part of: LiveKit's simulator plays a caller and judges the agent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from greenroom.errors import StateError
from greenroom.wire.simulations import (
    TEXT,
    Scenario,
    ScenarioGroup,
    SimulationDispatch,
    SimulationRun,
    decode_dispatch,
)

if TYPE_CHECKING:
    from greenroom.agents.context import JobContext

__all__ = [
    "Scenario",
    "ScenarioGroup",
    "ScenarioUserdata",
    "SimulationContext",
    "SimulationDispatch",
    "SimulationRun",
    "SimulationVerdict",
    "read_dispatch",
]

ScenarioUserdata: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class SimulationVerdict:
    """Whether a scenario went well, and why."""

    success: bool
    reason: str


class SimulationContext:
    """The scenario of a simulated job, from `ctx.simulation_context()`.

    The simulator's own verdict reaches the voice sessions of the official framework only, so it is never known here.
    """

    def __init__(self, dispatch: SimulationDispatch, job_ctx: JobContext) -> None:
        self._dispatch = dispatch
        self._job_ctx = job_ctx
        self._user_verdict: SimulationVerdict | None = None

    @property
    def scenario(self) -> Scenario:
        """What is played."""
        return self._dispatch.scenario

    @property
    def simulation_mode(self) -> int:
        """How the simulated caller communicates: 1 by text, 2 by sound."""
        return int(self._dispatch.mode or TEXT)

    @property
    def simulation_run_id(self) -> str:
        """The run that this job belongs to."""
        return self._dispatch.simulation_run_id

    @property
    def simulation_job_id(self) -> str:
        """The scenario's place in its run."""
        return self._dispatch.job_id

    @property
    def simulation_run(self) -> None:
        """The run as it ended; never known here."""

    @property
    def job_context(self) -> JobContext:
        """The job."""
        return self._job_ctx

    @property
    def simulator_verdict(self) -> SimulationVerdict:
        """The simulator's verdict.

        Raises:
            StateError: always: it is told to voice sessions only.
        """
        raise StateError("the simulator tells its verdict to voice sessions of the official framework only")

    @property
    def user_verdict(self) -> SimulationVerdict | None:
        """What `fail` was called with; None = it was not."""
        return self._user_verdict

    def userdata(self) -> ScenarioUserdata:
        """The scenario's own data; {} when it has none."""
        data: ScenarioUserdata = json.loads(self.scenario.userdata or "{}")
        return data

    def fail(self, reason: str = "") -> None:
        """Judge this run to have failed. The last call counts."""
        self._user_verdict = SimulationVerdict(False, reason)


def read_dispatch(job_ctx: JobContext) -> SimulationContext | None:
    """The simulation that a job's attributes name; None when they name none."""
    dispatch = decode_dispatch(job_ctx.job.attributes.get("lk.simulator.dispatch", ""))
    return None if dispatch is None else SimulationContext(dispatch, job_ctx)

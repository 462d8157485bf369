"""The messages of LiveKit's simulator, which plays a caller and judges the agent. Loaded when a job is such a call."""

from google.protobuf.json_format import Parse, ParseError
from livekit.protocol import agent_simulation as simulation

__all__ = ["TEXT", "Scenario", "ScenarioGroup", "SimulationDispatch", "SimulationRun", "decode_dispatch"]

Scenario = simulation.Scenario
ScenarioGroup = simulation.ScenarioGroup
SimulationDispatch = simulation.SimulationDispatch
SimulationRun = simulation.SimulationRun
TEXT = simulation.SimulationMode.SIMULATION_MODE_TEXT


def decode_dispatch(text: str) -> SimulationDispatch | None:
    """Read the job attribute `lk.simulator.dispatch`; None when it is no dispatch of a simulation."""
    try:
        dispatch = Parse(text, SimulationDispatch(), ignore_unknown_fields=True)
    except ParseError:
        return None
    return dispatch if dispatch.simulation_run_id else None

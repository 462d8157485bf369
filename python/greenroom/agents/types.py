"""Names on the wire that agents and their callers agree on, and the value that stands for "not given"."""

from __future__ import annotations

from greenroom.agents.options import NOT_GIVEN, NotGiven, NotGivenOr

__all__ = [
    "ATTRIBUTE_AGENT_NAME",
    "ATTRIBUTE_AGENT_STATE",
    "ATTRIBUTE_PUBLISH_ON_BEHALF",
    "ATTRIBUTE_SIMULATOR",
    "ATTRIBUTE_SIMULATOR_DISPATCH",
    "ATTRIBUTE_TRANSCRIPTION_FINAL",
    "ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID",
    "ATTRIBUTE_TRANSCRIPTION_TRACK_ID",
    "NOT_GIVEN",
    "TOPIC_CHAT",
    "TOPIC_TRANSCRIPTION",
    "NotGiven",
    "NotGivenOr",
]

#: Attributes of agents: the name they are dispatched by, and what they do ("listening", "thinking", "speaking").
ATTRIBUTE_AGENT_NAME = "lk.agent.name"
ATTRIBUTE_AGENT_STATE = "lk.agent.state"
#: Attribute of a participant that publishes for another one, whose identity this is.
ATTRIBUTE_PUBLISH_ON_BEHALF = "lk.publish_on_behalf"
#: Attributes of a simulated caller, and of the job that it calls.
ATTRIBUTE_SIMULATOR = "lk.simulator"
ATTRIBUTE_SIMULATOR_DISPATCH = "lk.simulator.dispatch"
#: Attributes of text streams on TOPIC_TRANSCRIPTION.
ATTRIBUTE_TRANSCRIPTION_FINAL = "lk.transcription_final"
ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID = "lk.segment_id"
ATTRIBUTE_TRANSCRIPTION_TRACK_ID = "lk.transcribed_track_id"
#: Topics of text streams: what is typed, and what is said.
TOPIC_CHAT = "lk.chat"
TOPIC_TRANSCRIPTION = "lk.transcription"

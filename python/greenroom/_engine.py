"""The only door to the compiled engine: its classes, and its events as frozen records."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from greenroom._native import (
    AudioConverter,
    AudioProcessor,
    AudioSink,
    AudioSource,
    Engine,
    FlatBuffer,
    FrameBuffer,
    Keyring,
    Resampler,
    Section,
    VideoSink,
    VideoSource,
    convert_frame,
    convert_planes,
    crop_frame,
    instruction_sets,
    mix_samples,
    new_frame_buffer,
    plane_shapes,
    resize_frame,
    rotate_frame,
    sample_levels,
    scale_samples,
)
from greenroom.errors import EngineClosedError

__all__ = [
    "Answer",
    "AudioConverter",
    "AudioProcessor",
    "AudioSink",
    "AudioSource",
    "Captured",
    "Data",
    "DataOpen",
    "DataSent",
    "Drained",
    "EncryptionChanged",
    "Ended",
    "Engine",
    "EngineClosedError",
    "EngineFailed",
    "Event",
    "FlatBuffer",
    "FrameBuffer",
    "Keyring",
    "Log",
    "Negotiated",
    "NegotiationFailed",
    "Offer",
    "PeerState",
    "Quality",
    "Readable",
    "Resampler",
    "Section",
    "SectionsNeeded",
    "Speakers",
    "StreamState",
    "SubscriptionBound",
    "TrackMedia",
    "VideoSink",
    "VideoSource",
    "convert_frame",
    "convert_planes",
    "crop_frame",
    "instruction_sets",
    "mix_samples",
    "new_frame_buffer",
    "new_handle",
    "parse_event",
    "plane_shapes",
    "resize_frame",
    "rotate_frame",
    "sample_levels",
    "scale_samples",
]

_handles = itertools.count(1)


def new_handle() -> int:
    """A handle no one else in this process has."""
    return next(_handles)


class PeerState(NamedTuple):
    """A connection's transport changed: "connected", "disconnected", "failed" or "closed"."""

    handle: int
    state: str
    detail: str


class Offer(NamedTuple):
    """An offer of ours is ready to be sent."""

    handle: int
    offer_id: int
    sdp: str
    sections: list[Section]


class Answer(NamedTuple):
    """Our answer to the offer with this id is ready to be sent."""

    handle: int
    offer_id: int
    sdp: str
    sections: list[Section]


class Negotiated(NamedTuple):
    """The other side's answer was applied."""

    handle: int
    offer_id: int
    sections: list[Section]


class NegotiationFailed(NamedTuple):
    """A description could not be applied or made."""

    handle: int
    offer_id: int
    message: str


class SectionsNeeded(NamedTuple):
    """An answering peer has tracks to send and no free section for them."""

    handle: int
    audio: int
    video: int


class DataOpen(NamedTuple):
    """A data channel opened."""

    handle: int
    label: str


class Data(NamedTuple):
    """A message arrived on a data channel."""

    handle: int
    label: str
    payload: bytes


class DataSent(NamedTuple):
    """A queued message has left our queue, or could not ("error" says why)."""

    handle: int
    request: int
    error: str


class StreamState(NamedTuple):
    """A subscriber (handle) is not sent a track for want of bandwidth, or is again."""

    handle: int
    track: int
    paused: bool


class SubscriptionBound(NamedTuple):
    """A subscriber (handle) is now being sent a track on a section."""

    handle: int
    track: int
    mid: str


class Speakers(NamedTuple):
    """Changes of who speaks in a room: (track, level 0..1, active)."""

    handle: int
    speakers: list[tuple[int, float, bool]]


class Quality(NamedTuple):
    """Transport figures per peer of a room: (peer, rtt s, sent loss 0..1, received loss 0..1, jitter s)."""

    handle: int
    peers: list[tuple[int, float, float, float, float]]


class TrackMedia(NamedTuple):
    """The first packet of a published track arrived."""

    handle: int
    mime: str


class EncryptionChanged(NamedTuple):
    """A sender of a connection (handle), or with sender 0 the section `mid`, has another EncryptionState."""

    handle: int
    sender: int
    mid: str
    state: int


class Captured(NamedTuple):
    """A capture that waited has returned."""

    handle: int
    request: int


class Drained(NamedTuple):
    """Everything captured before the request has been played or cleared."""

    handle: int
    request: int


class Readable(NamedTuple):
    """A sink whose reader waited has a frame."""

    handle: int


class Ended(NamedTuple):
    """A sink gets nothing more."""

    handle: int


class EngineFailed(NamedTuple):
    """A room (handle), or the whole engine (0), was stopped by a fault inside the engine."""

    handle: int
    message: str


class Log(NamedTuple):
    """A warning or error of the engine or of a library under it: level, where, what."""

    handle: int
    line: str


Event: TypeAlias = (
    PeerState
    | Offer
    | Answer
    | Negotiated
    | NegotiationFailed
    | SectionsNeeded
    | DataOpen
    | Data
    | DataSent
    | StreamState
    | SubscriptionBound
    | Speakers
    | Quality
    | TrackMedia
    | EncryptionChanged
    | Captured
    | Drained
    | Readable
    | Ended
    | EngineFailed
    | Log
)

_RECORDS: dict[object, Callable[..., Event]] = {
    "peer_state": PeerState,
    "offer": Offer,
    "answer": Answer,
    "negotiated": Negotiated,
    "negotiation_failed": NegotiationFailed,
    "sections_needed": SectionsNeeded,
    "data_open": DataOpen,
    "data": Data,
    "data_sent": DataSent,
    "stream_state": StreamState,
    "subscription_bound": SubscriptionBound,
    "speakers": Speakers,
    "quality": Quality,
    "track_media": TrackMedia,
    "encryption": EncryptionChanged,
    "captured": Captured,
    "drained": Drained,
    "readable": Readable,
    "ended": Ended,
    "engine_failed": EngineFailed,
    "log": Log,
}


def parse_event(event: tuple[object, ...]) -> Event:
    """The record for one item of `Engine.drain()`."""
    return _RECORDS[event[0]](*event[1:])

"""What a program passes in: room, publish and network options.

They are dataclasses. Because programs written for protobuf options ask them which fields were given
(`options.HasField("dtx")`) and copy them (`CopyFrom`), they remember what was passed or assigned.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from typing import Any, Self

from greenroom.rtc.e2ee import E2EEOptions
from greenroom.rtc.enums import (
    ContinualGatheringPolicy,
    DegradationPreference,
    FrameMetadataFeature,
    IceTransportType,
    TrackSource,
    VideoCodec,
    VideoEncoderBackend,
)

__all__ = [
    "AudioEncoding",
    "DataStreamOptions",
    "FrameMetadata",
    "IceServer",
    "ParticipantTrackPermission",
    "RoomOptions",
    "RtcConfiguration",
    "TrackPublishOptions",
    "VideoEncoding",
]


class Presence:
    """Base of option dataclasses that know which of their fields were given."""

    _given: set[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        unknown = kwargs.keys() - {item.name for item in fields(cls)}  # type: ignore[arg-type]
        if unknown:
            names = ", ".join(item.name for item in fields(cls))  # type: ignore[arg-type]
            raise ValueError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}; it has {names}")
        options = super().__new__(cls)
        object.__setattr__(options, "_given", set(kwargs))
        object.__setattr__(options, "_ready", False)
        return options

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ready", True)

    def __setattr__(self, name: str, value: object) -> None:
        if self.__dict__.get("_ready"):
            self._field(name)
            self._given.add(name)
        object.__setattr__(self, name, value)

    def HasField(self, name: str) -> bool:
        """Whether the field was passed or assigned; for a composite field also whether anything in it was."""
        value = self._field(name)
        return name in self._given or (isinstance(value, Presence) and bool(value._given))

    def ClearField(self, name: str) -> None:
        """Back to the default."""
        self._field(name)
        object.__setattr__(self, name, getattr(type(self)(), name))
        self._given.discard(name)

    def CopyFrom(self, other: Self) -> None:
        """Take over every field of `other`, given or not."""
        duplicate = copy.deepcopy(other)
        self.__dict__.update(duplicate.__dict__)

    def _field(self, name: str) -> object:
        try:
            return self.__dict__[name]
        except KeyError:
            names = ", ".join(item.name for item in fields(self))  # type: ignore[arg-type]
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {names}") from None


@dataclass(kw_only=True)
class VideoEncoding(Presence):
    """Limits of a video encoding. 0 = choose by picture size."""

    max_bitrate: int = 0
    """bit/s"""
    max_framerate: float = 0.0
    """frames/s"""


@dataclass(kw_only=True)
class AudioEncoding(Presence):
    """Limit of an audio encoding. 0 = 48 kbit/s."""

    max_bitrate: int = 0
    """bit/s"""


@dataclass(kw_only=True)
class TrackPublishOptions(Presence):
    """How a local track is published. Every field left out has the default that its comment names."""

    video_encoding: VideoEncoding = field(default_factory=VideoEncoding)
    audio_encoding: AudioEncoding = field(default_factory=AudioEncoding)
    video_codec: VideoCodec = VideoCodec.VP8
    dtx: bool = False
    """Left out: on."""
    red: bool = False
    """Left out: on."""
    simulcast: bool = False
    """Left out: on."""
    source: TrackSource = TrackSource.SOURCE_UNKNOWN
    stream: str = ""
    """Tracks with the same name are played in sync. Left out: by source."""
    preconnect_buffer: bool = False
    frame_metadata_features: list[FrameMetadataFeature] = field(default_factory=list)
    scalability_mode: str = ""
    video_encoder: VideoEncoderBackend = VideoEncoderBackend.ENCODER_BACKEND_AUTO
    degradation_preference: DegradationPreference = DegradationPreference.BALANCED


@dataclass(kw_only=True)
class IceServer(Presence):
    """A STUN or TURN server."""

    urls: list[str] = field(default_factory=list)
    username: str = ""
    password: str = ""


@dataclass(kw_only=True)
class FrameMetadata(Presence):
    """What a publisher attached to one video frame."""

    user_timestamp: int = 0
    frame_id: int = 0
    user_data: bytes = b""


@dataclass(kw_only=True)
class ParticipantTrackPermission(Presence):
    """Which of our tracks one participant may subscribe to."""

    participant_identity: str = ""
    allow_all: bool = False
    allowed_track_sids: list[str] = field(default_factory=list)


@dataclass
class RtcConfiguration:
    """Network settings of the media connection. Anything but the defaults is refused: there is no STUN or TURN yet."""

    ice_transport_type: IceTransportType = IceTransportType.TRANSPORT_ALL
    continual_gathering_policy: ContinualGatheringPolicy = ContinualGatheringPolicy.GATHER_CONTINUALLY
    ice_servers: list[IceServer] = field(default_factory=list)


@dataclass
class DataStreamOptions:
    """Limits of incoming text and byte streams."""

    max_payload_byte_length: int | None = None
    """A longer stream ends with an error. None = 5 GB."""


@dataclass
class RoomOptions:
    """How a room is joined."""

    auto_subscribe: bool = True
    """Receive every track; False = only those with `publication.set_subscribed(True)`."""
    dynacast: bool = False
    """Encode only the layers somebody receives."""
    e2ee: E2EEOptions | None = None
    """Encrypt media end to end; data stays readable for the server. Prefer `encryption`."""
    encryption: E2EEOptions | None = None
    """Encrypt media and data end to end."""
    rtc_config: RtcConfiguration | None = None
    connect_timeout: float | None = None
    """Seconds for the whole of `connect()`. None = 15."""
    single_peer_connection: bool | None = None
    """One connection for both directions. None = when the server offers it."""
    data_stream: DataStreamOptions | None = None

"""What a program passes in: room, publish and network options.

They are dataclasses. Because programs written for protobuf options ask them which fields were given
(`options.HasField("dtx")`) and copy them (`CopyFrom`), they remember what was passed or assigned.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from greenroom import _arguments as check
from greenroom.errors import ConfigError
from greenroom.rtc.enums import (
    ContinualGatheringPolicy,
    DegradationPreference,
    FrameMetadataFeature,
    IceTransportType,
    TrackSource,
    VideoCodec,
    VideoEncoderBackend,
)

if TYPE_CHECKING:
    from greenroom.rtc.e2ee import E2EEOptions

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

log = logging.getLogger("greenroom.rtc")


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
        kind, called = _kinds_of(type(self))[name]
        check.instance(f"{type(self).__name__}.{name}", value, kind, called)
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


#: What a field takes whose default is of this class, and how that is called.
_TAKES: dict[Any, tuple[Any, str]] = {
    bool: (int, "True or False"),
    float: (int | float, "a number"),
    list: (list | tuple, "a list"),
}
_kinds: dict[type[Presence], dict[str, tuple[Any, str]]] = {}


def _kinds_of(options: type[Presence]) -> dict[str, tuple[Any, str]]:
    """Per field, what its values are instances of, judged by its default; any int will do for an enum."""
    if options not in _kinds:
        kinds = _kinds[options] = {}
        for item in fields(options):  # type: ignore[arg-type]
            kind: Any = item.default_factory if item.default is MISSING else type(item.default)
            usual = (int, "a number") if issubclass(kind, int) else (kind, "")
            kinds[item.name] = _TAKES.get(kind, usual)
    return _kinds[options]


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
    """Network settings of the media connection.

    Media goes straight to the server, by UDP and otherwise by TCP. STUN servers are accepted and not asked: a server's
    address is known, and it learns ours from our packets. TURN servers are accepted and not used, which is logged as a
    warning. What cannot work without a relay is refused with a ConfigError by `Room.connect`.
    """

    ice_transport_type: IceTransportType = IceTransportType.TRANSPORT_ALL
    """TRANSPORT_ALL is the only one: TRANSPORT_RELAY and TRANSPORT_NOHOST need a relay."""
    continual_gathering_policy: ContinualGatheringPolicy = ContinualGatheringPolicy.GATHER_CONTINUALLY
    """Either does the same: addresses are gathered when a connection is made, and again when it is made anew."""
    ice_servers: list[IceServer] = field(default_factory=list)


@dataclass
class DataStreamOptions:
    """Limits of incoming text and byte streams."""

    max_payload_byte_length: int | None = None
    """A longer stream ends with an error. None = 5 GB."""
    max_unread_byte_length: int | None = None
    """Bytes of all streams together that have arrived and were not read; beyond, the one with the most of them ends
    with an error. None = 128 MiB."""


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


def check_room_options(options: RoomOptions) -> None:
    """Refuse what is of a wrong type, and what cannot be honoured rather than leave it out.

    Raises:
        ConfigError: names the option.
    """
    from greenroom.rtc.e2ee import E2EEOptions

    check.flag("auto_subscribe", options.auto_subscribe)
    check.flag("dynacast", options.dynacast)
    check.given(check.flag, "single_peer_connection", options.single_peer_connection)
    check.given(check.positive, "connect_timeout in seconds", options.connect_timeout)
    check.given(check.instance, "e2ee", options.e2ee, E2EEOptions)
    check.given(check.instance, "encryption", options.encryption, E2EEOptions)
    if options.data_stream is not None:
        _check_data_stream(check.instance("data_stream", options.data_stream, DataStreamOptions))
    if options.rtc_config is not None:
        _check_network(check.instance("rtc_config", options.rtc_config, RtcConfiguration))


def _check_data_stream(limits: DataStreamOptions) -> None:
    for name in ("max_payload_byte_length", "max_unread_byte_length"):
        check.given(check.whole, f"data_stream.{name}", getattr(limits, name), 0, 2**63 - 1)


def _check_network(network: RtcConfiguration) -> None:
    transport = check.member("ice_transport_type", network.ice_transport_type, IceTransportType)
    check.member("continual_gathering_policy", network.continual_gathering_policy, ContinualGatheringPolicy)
    if transport is not IceTransportType.TRANSPORT_ALL:
        raise ConfigError(
            f"ice_transport_type {transport.name} needs a relay (TURN), which cannot be used here; leave it at "
            "TRANSPORT_ALL: media then goes straight to the server, by UDP or TCP"
        )
    relays = []
    for server in check.several("ice_servers", network.ice_servers, IceServer):
        for url in check.texts("urls", server.urls):
            scheme = url.partition(":")[0].lower()
            if scheme not in ("stun", "stuns", "turn", "turns"):
                raise ConfigError(f"{url!r} is no URL of an ICE server; it should look like stun:host:3478")
            if scheme.startswith("turn"):
                relays.append(url)
    if relays:
        log.warning("TURN servers are not used (%s): media goes straight to the server", ", ".join(relays))

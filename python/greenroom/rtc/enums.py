"""The numbers of the public API as real `IntEnum`s.

They are the client API's numbers, which differ from the wire's for tracks, data packets, stream states, some
participant kinds and codecs; `greenroom.wire` has the wire's.
"""

from __future__ import annotations

from typing import Self

from greenroom.media.named_enum import NamedIntEnum

__all__ = [
    "ConnectionQuality",
    "ConnectionState",
    "ContinualGatheringPolicy",
    "DataPacketKind",
    "DegradationPreference",
    "DisconnectReason",
    "EncodedFrameType",
    "EncryptionState",
    "EncryptionType",
    "FrameMetadataFeature",
    "IceTransportType",
    "KeyDerivationFunction",
    "ParticipantKind",
    "ParticipantKindDetail",
    "ParticipantState",
    "SimulateScenarioKind",
    "StreamState",
    "TrackKind",
    "TrackSource",
    "VideoCodec",
    "VideoEncoderBackend",
    "VideoQuality",
]


class _OpenEnum(NamedIntEnum):
    """An enum for numbers that arrive: one of a newer peer becomes "unknown", so that no message can raise."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        names = ("UNKNOWN_REASON", "SOURCE_UNKNOWN", "KIND_UNKNOWN", "STATE_UNKNOWN", "QUALITY_UNKNOWN")
        unknown = next((name for name in names if name in cls.__members__), None)
        return cls[unknown] if unknown is not None and isinstance(value, int) else None


class TrackKind(_OpenEnum):
    """Audio or video."""

    KIND_UNKNOWN = 0
    KIND_AUDIO = 1
    KIND_VIDEO = 2


class TrackSource(_OpenEnum):
    """What a track shows or plays."""

    SOURCE_UNKNOWN = 0
    SOURCE_CAMERA = 1
    SOURCE_MICROPHONE = 2
    SOURCE_SCREENSHARE = 3
    SOURCE_SCREENSHARE_AUDIO = 4


class StreamState(_OpenEnum):
    """Whether the server sends a subscribed video, or has paused it for lack of bandwidth."""

    STATE_UNKNOWN = 0
    STATE_ACTIVE = 1
    STATE_PAUSED = 2


class ConnectionState(NamedIntEnum):
    """The room's connection."""

    CONN_DISCONNECTED = 0
    CONN_CONNECTED = 1
    CONN_RECONNECTING = 2


class ConnectionQuality(_OpenEnum):
    """The server's judgement of a participant's connection."""

    QUALITY_UNKNOWN = -1
    QUALITY_POOR = 0
    QUALITY_GOOD = 1
    QUALITY_EXCELLENT = 2
    QUALITY_LOST = 3


class DataPacketKind(NamedIntEnum):
    """How a data packet travelled."""

    KIND_LOSSY = 0
    KIND_RELIABLE = 1


class DisconnectReason(_OpenEnum):
    """Why a room or participant disconnected."""

    UNKNOWN_REASON = 0
    CLIENT_INITIATED = 1
    DUPLICATE_IDENTITY = 2
    SERVER_SHUTDOWN = 3
    PARTICIPANT_REMOVED = 4
    ROOM_DELETED = 5
    STATE_MISMATCH = 6
    JOIN_FAILURE = 7
    MIGRATION = 8
    SIGNAL_CLOSE = 9
    ROOM_CLOSED = 10
    USER_UNAVAILABLE = 11
    USER_REJECTED = 12
    SIP_TRUNK_FAILURE = 13
    CONNECTION_TIMEOUT = 14
    MEDIA_FAILURE = 15
    AGENT_ERROR = 16


class ParticipantKind(NamedIntEnum):
    """What kind of program or bridge a participant is."""

    PARTICIPANT_KIND_STANDARD = 0
    PARTICIPANT_KIND_INGRESS = 1
    PARTICIPANT_KIND_EGRESS = 2
    PARTICIPANT_KIND_SIP = 3
    PARTICIPANT_KIND_AGENT = 4
    PARTICIPANT_KIND_CONNECTOR = 5
    PARTICIPANT_KIND_BRIDGE = 6


class ParticipantKindDetail(NamedIntEnum):
    """More about a participant's kind."""

    PARTICIPANT_KIND_DETAIL_CLOUD_AGENT = 0
    PARTICIPANT_KIND_DETAIL_FORWARDED = 1
    PARTICIPANT_KIND_DETAIL_CONNECTOR_WHATSAPP = 2
    PARTICIPANT_KIND_DETAIL_CONNECTOR_TWILIO = 3
    PARTICIPANT_KIND_DETAIL_BRIDGE_RTSP = 4
    PARTICIPANT_KIND_DETAIL_SIMULATION = 5


class ParticipantState(NamedIntEnum):
    """How far a participant has got; it only moves forward."""

    PARTICIPANT_STATE_JOINING = 0
    PARTICIPANT_STATE_JOINED = 1
    PARTICIPANT_STATE_ACTIVE = 2
    PARTICIPANT_STATE_DISCONNECTED = 3


class VideoCodec(NamedIntEnum):
    """Codecs a video track can be published with."""

    VP8 = 0
    H264 = 1
    AV1 = 2
    VP9 = 3
    H265 = 4


class VideoQuality(NamedIntEnum):
    """Simulcast layers, low to high."""

    VIDEO_QUALITY_LOW = 0
    VIDEO_QUALITY_MEDIUM = 1
    VIDEO_QUALITY_HIGH = 2


class DegradationPreference(NamedIntEnum):
    """What to give up first when bandwidth is short."""

    BALANCED = 0
    MAINTAIN_FRAMERATE = 1
    MAINTAIN_RESOLUTION = 2
    MAINTAIN_FRAMERATE_AND_RESOLUTION = 4


class VideoEncoderBackend(NamedIntEnum):
    """Which encoder to prefer."""

    ENCODER_BACKEND_AUTO = 0
    ENCODER_BACKEND_SOFTWARE = 1
    ENCODER_BACKEND_HARDWARE = 2
    ENCODER_BACKEND_NVENC = 3
    ENCODER_BACKEND_VAAPI = 4
    ENCODER_BACKEND_VIDEOTOOLBOX = 5
    ENCODER_BACKEND_PRE_ENCODED = 6


class FrameMetadataFeature(NamedIntEnum):
    """Metadata that can travel with each video frame."""

    FMF_USER_TIMESTAMP = 0
    FMF_FRAME_ID = 1
    FMF_USER_DATA = 2


class IceTransportType(NamedIntEnum):
    """Which ICE candidates may be used."""

    TRANSPORT_RELAY = 0
    TRANSPORT_NOHOST = 1
    TRANSPORT_ALL = 2


class ContinualGatheringPolicy(NamedIntEnum):
    """Whether candidates are gathered again when networks change."""

    GATHER_ONCE = 0
    GATHER_CONTINUALLY = 1


class EncryptionType(NamedIntEnum):
    """End-to-end encryption of a track."""

    NONE = 0
    GCM = 1
    CUSTOM = 2


class EncryptionState(NamedIntEnum):
    """How the decryption of a participant's media is going."""

    NEW = 0
    OK = 1
    ENCRYPTION_FAILED = 2
    DECRYPTION_FAILED = 3
    MISSING_KEY = 4
    KEY_RATCHETED = 5
    INTERNAL_ERROR = 6


class KeyDerivationFunction(NamedIntEnum):
    """How a media key is made from a shared key."""

    PBKDF2 = 0
    HKDF = 1


class EncodedFrameType(NamedIntEnum):
    """Key frame or not."""

    ENCODED_FRAME_KEY = 0
    ENCODED_FRAME_DELTA = 1


class SimulateScenarioKind(NamedIntEnum):
    """Faults that can be asked for, to test how a program takes them."""

    SIMULATE_SIGNAL_RECONNECT = 0
    SIMULATE_SPEAKER = 1
    SIMULATE_NODE_FAILURE = 2
    SIMULATE_SERVER_LEAVE = 3
    SIMULATE_MIGRATION = 4
    SIMULATE_FORCE_TCP = 5
    SIMULATE_FORCE_TLS = 6
    SIMULATE_FULL_RECONNECT = 7
    SIMULATE_DISCONNECT_SIGNAL_ON_RESUME = 8

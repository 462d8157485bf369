"""Local and remote tracks."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import ConfigError, StateError
from greenroom.rtc.enums import StreamState, TrackKind
from greenroom.rtc.stats import MediaStats

if TYPE_CHECKING:
    from greenroom.rtc._reader import MediaReader
    from greenroom.rtc.audio_source import AudioSource
    from greenroom.rtc.video_source import VideoSource
    from greenroom.runtime.bridge import Bridge

__all__ = [
    "AudioTrack",
    "LocalAudioTrack",
    "LocalTrack",
    "LocalVideoTrack",
    "RemoteAudioTrack",
    "RemoteTrack",
    "RemoteVideoTrack",
    "Track",
    "VideoTrack",
]

UNPUBLISHED_SID = "TR_unknown"


class Track:
    """Audio or video that can be read with an `AudioStream` or `VideoStream`."""

    def __init__(self, sid: str, name: str, kind: TrackKind, *, muted: bool = False) -> None:
        self._sid = sid
        self._name = name
        self._kind = kind
        self._muted = muted
        self._stream_state = StreamState.STATE_ACTIVE
        self._readers: weakref.WeakSet[MediaReader[Any]] = weakref.WeakSet()
        self._live = True

    @property
    def sid(self) -> str:
        """The publication's sid; "TR_unknown" for a local track that is not published."""
        return self._sid

    @property
    def name(self) -> str:
        """The name its publisher gave it."""
        return self._name

    @property
    def kind(self) -> TrackKind:
        """Audio or video."""
        return self._kind

    @property
    def stream_state(self) -> StreamState:
        """STATE_PAUSED while the server holds the video back for lack of bandwidth."""
        return self._stream_state

    @property
    def muted(self) -> bool:
        """Whether its publisher muted it."""
        return self._muted

    async def get_stats(self) -> list[MediaStats]:
        """Figures of the track's media.

        Raises:
            StateError: the track is not published or subscribed.
        """
        raise StateError("room failure: no transceiver found for track: it is not published or subscribed")

    def _attach_sink(self, sink: _engine.AudioSink | _engine.VideoSink, bridge: Bridge) -> None:
        """Let its media go to a sink on this engine.

        Raises:
            ConfigError: the sink is of the other kind, or the track belongs to another event loop.
        """
        if isinstance(sink, _engine.AudioSink) != (self._kind is TrackKind.KIND_AUDIO):
            name, stream = (
                ("audio", "an AudioStream") if self._kind is TrackKind.KIND_AUDIO else ("video", "a VideoStream")
            )
            raise ConfigError(f"{self!r} is a {name} track; read it with {stream}")
        self._feed(sink, bridge)

    def _feed(self, sink: Any, bridge: Bridge) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        self._live = False
        for reader in list(self._readers):
            reader.track_ended()
        self._readers.clear()

    def __repr__(self) -> str:
        return f"rtc.{type(self).__name__}(sid={self._sid}, name={self._name})"


class _LocalTrack(Track):
    _source: AudioSource | VideoSource

    def __init__(self, name: str, kind: TrackKind, source: AudioSource | VideoSource) -> None:
        super().__init__(UNPUBLISHED_SID, name, kind)
        self._source = source
        self._on_mute: Callable[[bool], None] | None = None
        self._statistics: Callable[[], list[MediaStats]] | None = None

    def mute(self) -> None:
        """Send silence or nothing; the others are told. Works unpublished too."""
        self._set_muted(True)

    def unmute(self) -> None:
        """Undo `mute`."""
        self._set_muted(False)

    async def get_stats(self) -> list[MediaStats]:
        """Figures of what is sent."""
        return await super().get_stats() if self._statistics is None else self._statistics()

    def _feed(self, sink: Any, bridge: Bridge) -> None:
        sink.attach_source(self._source._open_on(bridge))

    def _set_muted(self, muted: bool) -> None:
        if muted == self._muted:
            return
        self._muted = muted
        if self._on_mute is not None:
            self._on_mute(muted)


class LocalAudioTrack(_LocalTrack):
    """An `AudioSource` under a name, to be published or listened to locally."""

    _source: AudioSource

    @staticmethod
    def create_audio_track(name: str, source: AudioSource) -> LocalAudioTrack:
        """A track of this source.

        Raises:
            ConfigError: it is no `AudioSource`.
        """
        from greenroom.rtc.audio_source import AudioSource

        check.instance("the source of an audio track", source, AudioSource)
        return LocalAudioTrack(check.text("name", name), TrackKind.KIND_AUDIO, source)


class LocalVideoTrack(_LocalTrack):
    """A `VideoSource` under a name, to be published or watched locally."""

    _source: VideoSource

    @staticmethod
    def create_video_track(name: str, source: VideoSource) -> LocalVideoTrack:
        """A track of this source.

        Raises:
            ConfigError: it is no `VideoSource`.
        """
        from greenroom.rtc.video_source import VideoSource

        check.instance("the source of a video track", source, VideoSource)
        return LocalVideoTrack(check.text("name", name), TrackKind.KIND_VIDEO, source)


class _RemoteTrack(Track):
    def __init__(
        self, sid: str, name: str, kind: TrackKind, *, muted: bool, engine: _engine.Engine, peer: int, mid: str
    ) -> None:
        super().__init__(sid, name, kind, muted=muted)
        self._engine = engine
        self._peer = peer
        self._mid = mid

    async def get_stats(self) -> list[MediaStats]:
        """Figures of what is received."""
        if not self._live:
            return await super().get_stats()
        return [MediaStats.of_receiver(self._sid, self._kind, self._engine.receiver_statistics(self._peer, self._mid))]

    def _feed(self, sink: Any, bridge: Bridge) -> None:
        if bridge.engine is not self._engine:
            raise ConfigError(f"{self!r} belongs to another event loop; read it on the one that its room is on")
        if self._live:
            sink.attach_receiver(self._peer, self._mid)


class RemoteAudioTrack(_RemoteTrack):
    """Audio of another participant. There is a new object for every subscription."""


class RemoteVideoTrack(_RemoteTrack):
    """Video of another participant. There is a new object for every subscription."""


LocalTrack: TypeAlias = LocalVideoTrack | LocalAudioTrack
RemoteTrack: TypeAlias = RemoteVideoTrack | RemoteAudioTrack
AudioTrack: TypeAlias = LocalAudioTrack | RemoteAudioTrack
VideoTrack: TypeAlias = LocalVideoTrack | RemoteVideoTrack

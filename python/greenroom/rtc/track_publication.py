"""Publications: what is known of a track, received or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom.errors import ConfigError, DisconnectedError
from greenroom.rtc.enums import EncryptionType, TrackKind, TrackSource, VideoQuality
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.rtc._connection import Connection
    from greenroom.rtc.track import LocalTrack, RemoteTrack, Track

__all__ = ["LocalTrackPublication", "RemoteTrackPublication", "TrackPublication"]

#: What the wire has room for.
_MOST = 2**32 - 1


class TrackPublication:
    """A track somebody published."""

    def __init__(self, info: m.TrackInfo) -> None:
        self._info = info
        self._track: Track | None = None

    @property
    def sid(self) -> str:
        """The track's id on the server."""
        return self._info.sid

    @property
    def name(self) -> str:
        """The name its publisher gave it."""
        return self._info.name

    @property
    def kind(self) -> TrackKind:
        """Audio or video."""
        kinds = {m.TrackType.AUDIO: TrackKind.KIND_AUDIO, m.TrackType.VIDEO: TrackKind.KIND_VIDEO}
        return kinds.get(self._info.type, TrackKind.KIND_UNKNOWN)

    @property
    def source(self) -> TrackSource:
        """Camera, microphone, screen, ..."""
        return TrackSource(self._info.source)

    @property
    def simulcasted(self) -> bool:
        """Whether it has several layers to choose from."""
        return self._info.simulcast

    @property
    def width(self) -> int:
        """Pixels; 0 for audio."""
        return self._info.width

    @property
    def height(self) -> int:
        """Pixels; 0 for audio."""
        return self._info.height

    @property
    def mime_type(self) -> str:
        """E.g. "audio/opus"."""
        return self._info.mime_type or (self._info.codecs[0].mime_type if self._info.codecs else "")

    @property
    def muted(self) -> bool:
        """Whether its publisher muted it."""
        return self._info.muted

    @property
    def encryption_type(self) -> EncryptionType:
        """End-to-end encryption."""
        return EncryptionType(self._info.encryption)

    @property
    def audio_features(self) -> list[int]:
        """AudioTrackFeature numbers."""
        return list(self._info.audio_features)

    @property
    def frame_metadata_features(self) -> list[int]:
        """What travels with each video frame."""
        return []

    @property
    def track(self) -> Track | None:
        """The media, when there is any here."""
        return self._track

    def _set_muted(self, muted: bool) -> None:
        info = m.TrackInfo()
        info.CopyFrom(self._info)
        info.muted = muted
        self._info = info
        if self._track is not None:
            self._track._muted = muted

    def __repr__(self) -> str:
        return f"rtc.{type(self).__name__}(sid={self.sid}, name={self.name}, kind={self.kind.name})"


class LocalTrackPublication(TrackPublication):
    """A track of ours on the server."""

    _track: LocalTrack | None

    def __init__(self, info: m.TrackInfo) -> None:
        super().__init__(info)
        self._subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscribed.add_done_callback(_retrieved)

    @property
    def track(self) -> LocalTrack | None:
        """The track that is sent; None once it is unpublished."""
        return self._track

    async def wait_for_subscription(self) -> None:
        """Return when the first other participant receives it.

        Raises:
            DisconnectedError: it was unpublished or the room ended first.
        """
        await asyncio.shield(self._subscribed)

    def _first_subscribed(self) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(None)

    def _ended(self) -> None:
        if not self._subscribed.done():
            self._subscribed.set_exception(DisconnectedError(f"{self.sid} ended before anybody subscribed to it"))


class RemoteTrackPublication(TrackPublication):
    """A track of another participant, subscribed or not."""

    _track: RemoteTrack | None

    def __init__(self, info: m.TrackInfo, connection: Connection) -> None:
        super().__init__(info)
        self._connection = connection
        self._settings = m.UpdateTrackSettings(track_sids=[info.sid], quality=m.VideoQuality.HIGH)
        self._allowed = True

    @property
    def track(self) -> RemoteTrack | None:
        """The received media; None while it is not subscribed."""
        return self._track

    @property
    def subscribed(self) -> bool:
        """Whether its media arrives here."""
        return self._track is not None

    @property
    def subscription_allowed(self) -> bool:
        """Whether its publisher lets us receive it."""
        return self._allowed

    def set_subscribed(self, subscribed: bool) -> None:
        """Receive it, or stop at once. `track_subscribed` follows when its media arrives."""
        self._connection.set_subscribed(self.sid, check.flag("subscribed", subscribed))

    def set_enabled(self, enabled: bool) -> None:
        """Let the server pause sending a subscribed track, and go on, without renegotiation."""
        self._update_settings(disabled=not check.flag("enabled", enabled))

    def set_video_quality(self, quality: int) -> None:
        """The highest layer the server may send: a `VideoQuality`.

        Raises:
            ConfigError: it is an audio track, or has one layer only.
        """
        highest = check.member("quality", quality, VideoQuality)
        if self.kind is not TrackKind.KIND_VIDEO or not self.simulcasted:
            raise ConfigError(f"quality can be chosen for simulcast video only; {self!r} is not")
        self._update_settings(quality=int(highest), width=0, height=0)

    def set_video_dimensions(self, width: int, height: int) -> None:
        """The size it is shown at, in pixels: the server sends the smallest layer that covers it."""
        self._update_settings(
            width=check.whole("width", width, 0, _MOST), height=check.whole("height", height, 0, _MOST)
        )

    def set_video_fps(self, fps: int) -> None:
        """The highest frame rate that the server may send, in frames per second; 0 = no limit."""
        self._update_settings(fps=check.whole("fps", fps, 0, _MOST))

    def _update_settings(self, **changes: int | bool) -> None:
        settings = m.UpdateTrackSettings()
        settings.CopyFrom(self._settings)
        for name, value in changes.items():
            setattr(settings, name, value)
        self._settings = settings
        self._connection.send(m.SignalRequest(track_setting=settings))


def _retrieved(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()

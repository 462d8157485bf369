"""Data tracks: frames of bytes that are published like media and received by subscribing."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom.errors import DisconnectedError, GreenroomError, PublishError, RequestError
from greenroom.protocol.client_data_tracks import DataTrackReassembly, FrameTooLargeError, frame_packets
from greenroom.rtc.participant import PublishDataTrackError
from greenroom.wire import messages as m
from greenroom.wire.data import DATA_TRACK

if TYPE_CHECKING:
    from greenroom.rtc.room import Room

__all__ = [
    "DataTrackFrame",
    "DataTrackInfo",
    "DataTrackStream",
    "DataTracks",
    "LocalDataTrack",
    "PushFrameError",
    "RemoteDataTrack",
    "SubscribeDataTrackError",
]

log = logging.getLogger("greenroom.rtc")

DEFAULT_BUFFER = 16
#: Data tracks that one participant can have at a time.
HANDLES = 0xFFFF


class PushFrameError(GreenroomError):
    """A frame was not sent."""


class SubscribeDataTrackError(GreenroomError):
    """A data track cannot be received."""


@dataclass
class DataTrackInfo:
    """What is known of a data track."""

    sid: str
    name: str
    uses_e2ee: bool


@dataclass
class DataTrackFrame:
    """One frame. `user_timestamp` is the sender's own, in a unit of its choice."""

    payload: bytes
    user_timestamp: int | None = None


class LocalDataTrack:
    """A data track of ours; comes from `publish_data_track`."""

    def __init__(self, room: Room, info: m.DataTrackInfo) -> None:
        self._room = room
        self._handle = info.pub_handle
        self._info = _info(info)
        self._published = True
        self._sequence = 0
        self._frame_number = 0

    @property
    def info(self) -> DataTrackInfo:
        """Its sid and name."""
        return self._info

    def is_published(self) -> bool:
        """Whether frames can be pushed."""
        return self._published

    def try_push(self, frame: DataTrackFrame) -> None:
        """Send a frame to whoever subscribed. Never waits.

        Raises:
            PushFrameError: the track is not published, the connection is down, or the frame is too long.
        """
        check.instance("frame", frame, DataTrackFrame)
        payload, user_timestamp = check.octets("frame.payload", frame.payload), frame.user_timestamp
        check.given(check.whole, "frame.user_timestamp", user_timestamp, 0, 2**64 - 1)
        if not self._published:
            raise PushFrameError("the data track is not published")
        timestamp = int(asyncio.get_running_loop().time() * 90_000) & 0xFFFFFFFF
        try:
            packets = frame_packets(
                self._handle, self._sequence, self._frame_number, timestamp, payload, user_timestamp
            )
        except FrameTooLargeError as error:
            raise PushFrameError(str(error)) from error
        peers = self._room._require_connection().peers
        try:
            sent = all(peers.send_now(DATA_TRACK, packet) for packet in packets)
        except DisconnectedError as error:
            raise PushFrameError(f"the frame was not sent: {error}") from error
        if not sent:
            raise PushFrameError("the data channel is not open")
        self._sequence = (self._sequence + len(packets)) & 0xFFFF
        self._frame_number = (self._frame_number + 1) & 0xFFFF

    async def unpublish(self) -> None:
        """Take it out of the room. Idempotent."""
        if self._published:
            self._published = False
            self._room._data_tracks.unpublish(self._handle)

    def __repr__(self) -> str:
        return f"rtc.LocalDataTrack(sid={self._info.sid}, name={self._info.name})"


class DataTrackStream:
    """Frames of a remote data track: `async for frame in stream`. Ends with the track, the room or `close()`."""

    def __init__(self, track: RemoteDataTrack, buffer_size: int) -> None:
        self._track = track
        self._frames: deque[DataTrackFrame] = deque(maxlen=buffer_size)
        self._changed = asyncio.Event()
        self._ended = False
        self._release = weakref.finalize(self, track._stream_gone)
        self._release.atexit = False

    def __aiter__(self) -> AsyncIterator[DataTrackFrame]:
        return self

    async def __anext__(self) -> DataTrackFrame:
        frame = await self.read()
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def read(self) -> DataTrackFrame | None:
        """The next frame, None at the end. For a slow reader the oldest are dropped."""
        while not self._frames:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._frames.popleft()

    def close(self) -> None:
        """Stop receiving. Idempotent."""
        self._track._streams.discard(self)
        self._release()
        self._frames.clear()
        self._end()

    async def aclose(self) -> None:
        """Like `close`."""
        self.close()

    def _push(self, frame: DataTrackFrame) -> None:
        self._frames.append(frame)
        self._changed.set()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()


class RemoteDataTrack:
    """A data track of another participant; comes with `data_track_published`."""

    def __init__(self, room: Room, publisher_identity: str, info: m.DataTrackInfo) -> None:
        self._room = room
        self._publisher_identity = publisher_identity
        self._info = _info(info)
        self._published = True
        self._streams: weakref.WeakSet[DataTrackStream] = weakref.WeakSet()
        self._subscribed = False
        self._reassembly = DataTrackReassembly()

    @property
    def info(self) -> DataTrackInfo:
        """Its sid and name."""
        return self._info

    @property
    def publisher_identity(self) -> str:
        """Whose it is."""
        return self._publisher_identity

    def is_published(self) -> bool:
        """Whether it still exists."""
        return self._published

    def set_pipeline_options(self, *, max_partial_frames: int | None = None) -> None:
        """How many frames may be incomplete at a time, 1 to 1024; None = 1."""
        partial = 1 if max_partial_frames is None else check.whole("max_partial_frames", max_partial_frames, 1, 1024)
        self._reassembly = DataTrackReassembly(partial)

    def subscribe(self, *, buffer_size: int | None = None) -> DataTrackStream:
        """Start receiving.

        Args:
            buffer_size: frames to keep for a slow reader, then the oldest is dropped; None = 16.

        Raises:
            SubscribeDataTrackError: the track is gone.
        """
        size = DEFAULT_BUFFER if buffer_size is None else check.whole("buffer_size", buffer_size, 1, 2**31 - 1)
        if not self._published:
            raise SubscribeDataTrackError(f"the data track {self._info.name!r} is no longer published")
        stream = DataTrackStream(self, size)
        self._streams.add(stream)
        if not self._subscribed:
            self._subscribed = True
            self._room._data_tracks.subscribe(self._info.sid, True)
        return stream

    def _stream_gone(self) -> None:
        """A stream was closed, or the program let go of it."""
        if self._subscribed and self._published and not self._streams:
            self._subscribed = False
            self._room._data_tracks.subscribe(self._info.sid, False)

    def _packet(self, packet: bytes) -> None:
        if self._info.uses_e2ee:
            # There is nothing yet that could decrypt it.
            return
        frame = self._reassembly.packet(packet)
        if frame is not None:
            for stream in list(self._streams):
                stream._push(DataTrackFrame(frame.payload, frame.user_timestamp))

    def _end(self) -> None:
        self._published = False
        for stream in list(self._streams):
            stream._end()
        self._streams.clear()

    def __repr__(self) -> str:
        return f"rtc.RemoteDataTrack(sid={self._info.sid}, name={self._info.name}, of={self._publisher_identity})"


class DataTracks:
    """All data tracks of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._local: dict[int, LocalDataTrack] = {}
        self._remote: dict[str, RemoteDataTrack] = {}
        self._handles: dict[int, str] = {}
        self._last_handle = 0

    async def publish(self, name: str) -> LocalDataTrack:
        """Publish one of ours."""
        if self._room._encryption._encrypts_data:
            raise PublishDataTrackError(
                f"the data track {name!r} was not published: data tracks cannot be encrypted, and this room's data is"
            )
        handle = self._free_handle()
        try:
            info = await self._announce(handle, name)
        except (RequestError, PublishError, DisconnectedError) as error:
            raise PublishDataTrackError(f"the data track {name!r} was not published: {error}") from error
        track = self._local[handle] = LocalDataTrack(self._room, info)
        return track

    async def republish(self) -> None:
        """Publish ours again after joining anew, under new sids.

        Raises:
            DisconnectedError: the connection was lost again.
        """
        for handle, track in list(self._local.items()):
            try:
                info = await self._announce(handle, track.info.name)
            except (RequestError, PublishError) as error:
                log.warning("%r could not be published again: %s", track, error)
                track._published = False
                self._local.pop(handle, None)
            else:
                track._info = _info(info)

    def unpublish(self, handle: int) -> None:
        """Take one of ours down."""
        if self._local.pop(handle, None) is not None:
            request = m.UnpublishDataTrackRequest(pub_handle=handle)
            self._room._require_connection().send(m.SignalRequest(unpublish_data_track_request=request))

    def subscribe(self, sid: str, subscribe: bool) -> None:
        """Receive one of another participant's, or stop."""
        update = m.UpdateDataSubscription()
        update.updates.add(track_sid=sid, subscribe=subscribe)
        self._room._require_connection().send(m.SignalRequest(update_data_subscription=update))

    async def _announce(self, handle: int, name: str) -> m.DataTrackInfo:
        connection = self._room._require_connection()
        await connection.channel_open(DATA_TRACK)
        return await connection.publish_data_track(m.PublishDataTrackRequest(pub_handle=handle, name=name))

    def _free_handle(self) -> int:
        """A number that no track of ours has; packets carry it in 16 bits."""
        for _ in range(HANDLES):
            self._last_handle = self._last_handle % HANDLES + 1
            if self._last_handle not in self._local:
                return self._last_handle
        raise PublishDataTrackError(f"there are {HANDLES} data tracks; unpublish one first")

    def participant_changed(self, info: m.ParticipantInfo) -> None:
        """A participant's list of data tracks may be another now."""
        present = {track.sid for track in info.data_tracks}
        for track in info.data_tracks:
            if track.sid not in self._remote:
                remote = self._remote[track.sid] = RemoteDataTrack(self._room, info.identity, track)
                self._room.emit("data_track_published", remote)
        gone = [sid for sid, remote in self._remote.items() if remote.publisher_identity == info.identity]
        for sid in gone:
            if sid not in present:
                self._remove(sid)

    def participant_left(self, identity: str) -> None:
        """All of this participant's are gone."""
        for sid in [sid for sid, remote in self._remote.items() if remote.publisher_identity == identity]:
            self._remove(sid)

    def handles_changed(self, handles: m.DataTrackSubscriberHandles) -> None:
        """The server names the handles under which it sends us data tracks."""
        self._handles = {handle: track.track_sid for handle, track in handles.sub_handles.items()}

    def payload(self, packet: bytes) -> None:
        """A packet of a data track arrived."""
        if len(packet) < 4:
            return
        remote = self._remote.get(self._handles.get(int.from_bytes(packet[2:4], "big"), ""))
        if remote is not None:
            remote._packet(packet)

    def end(self) -> None:
        """The room is over."""
        for remote in self._remote.values():
            remote._end()
        for local in self._local.values():
            local._published = False
        self._remote.clear()
        self._local.clear()

    def _remove(self, sid: str) -> None:
        self._remote.pop(sid)._end()
        self._room.emit("data_track_unpublished", sid)


def _info(info: m.DataTrackInfo) -> DataTrackInfo:
    return DataTrackInfo(info.sid, info.name, info.encryption != m.Encryption.Type.NONE)

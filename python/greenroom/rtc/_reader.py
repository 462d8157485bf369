"""What audio and video streams have in common: reading a sink until the track, the room or the program ends."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.rtc.enums import TrackSource
from greenroom.runtime.bridge import Bridge, bridge_for_loop

if TYPE_CHECKING:
    from greenroom.rtc.participant import Participant
    from greenroom.rtc.track import Track

__all__ = ["MOST_FRAMES", "MediaReader", "MediaStream", "Sink"]

#: The largest capacity of a stream.
MOST_FRAMES = 2**31 - 1

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Sink(Protocol[T_co]):
    """The engine's end of a stream."""

    @property
    def dropped(self) -> int: ...
    def read(self) -> T_co | None: ...
    def close(self) -> None: ...


class MediaReader(Generic[T]):
    """An asynchronous iterator's engine room: one sink at a time, replaced when a followed participant republishes."""

    def __init__(self, open_sink: Callable[[Bridge, int, Track], Sink[T]]) -> None:
        self._open_sink = open_sink
        self._bridge = bridge_for_loop()
        self._changed = asyncio.Event()
        self._handle = 0
        self._sink: Sink[T] | None = None
        self._dropped = 0
        self._release: weakref.finalize[[Bridge, int, Sink[T]], MediaReader[T]] | None = None
        self._sink_ended = False
        self._ended = False
        self._closed = False
        self._followed: tuple[Participant, int] | None = None

    def read_track(self, track: Track) -> None:
        """Read this track and end with it."""
        from greenroom.rtc.track import Track

        check.instance("track", track, Track, "the track that a stream reads")
        self._attach(track)
        if track._live:
            track._readers.add(self)
        else:
            self.track_ended()

    def follow(self, participant: Participant, source: int) -> None:
        """Read whatever track of that source the participant has, until it leaves."""
        from greenroom.rtc.participant import Participant

        check.instance("participant", participant, Participant)
        self._followed = (participant, check.member("track_source", source, TrackSource))
        if participant._gone:
            self.ended()
            return
        participant._followers.add(self)
        for publication in participant.track_publications.values():
            if publication.source == source and publication.track is not None:
                self.read_track(publication.track)
                return

    def track_available(self, track: Track, source: int) -> None:
        """A followed participant has a track now."""
        if self._followed is not None and self._followed[1] == source and not self._ended:
            self.read_track(track)

    def track_ended(self) -> None:
        """The track that was read ends: buffered items are still given out."""
        self._sink_ended = True
        if self._followed is None:
            self._ended = True
        self._changed.set()

    def ended(self) -> None:
        """Nothing more will come, whatever is followed."""
        self._sink_ended = self._ended = True
        self._changed.set()

    @property
    def dropped(self) -> int:
        """Items lost because the reader was too slow, of all tracks that were read."""
        return self._dropped + (self._sink.dropped if self._sink is not None else 0)

    async def next(self) -> T:
        """The next item.

        Raises:
            StopAsyncIteration: at the end, after everything that was buffered.
            EngineClosedError: the stream was made before this process was forked.
        """
        while not self._closed:
            if not self._ended:
                self._bridge.require_open()
            self._changed.clear()
            item = self._sink.read() if self._sink is not None else None
            if item is not None:
                return item
            if self._sink_ended:
                self._drop_sink()
                if self._ended:
                    break
            await self._changed.wait()
        raise StopAsyncIteration

    def close(self) -> None:
        """End at once, also for a waiting reader. Idempotent."""
        self._closed = True
        self._drop_sink()
        self._changed.set()

    def _attach(self, track: Track) -> None:
        self._drop_sink()
        handle = _engine.new_handle()
        sink = self._open_sink(self._bridge, handle, track)
        self._bridge.attach(handle, self._on_event)
        self._handle, self._sink, self._sink_ended = handle, sink, False
        self._release = weakref.finalize(self, _close_sink, self._bridge, handle, sink)
        self._release.atexit = False
        self._changed.set()

    def _drop_sink(self) -> None:
        self._dropped, self._sink = self.dropped, None
        if self._release is not None:
            self._release()
            self._release = None

    def _on_event(self, event: _engine.Event) -> None:
        match event:
            case _engine.Readable():
                self._changed.set()
            case _engine.Ended(handle=handle) if handle == self._handle:
                self.track_ended()
            case _engine.EngineFailed():
                self.ended()
            case _:
                pass


class MediaStream(Generic[T, T_co]):
    """What an `AudioStream` and a `VideoStream` have in common: items of `T` are read and given out as `T_co`."""

    _reader: MediaReader[T]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        return self._event(await self._reader.next())

    @property
    def dropped(self) -> int:
        """Frames lost because the reader was too slow."""
        return self._reader.dropped

    async def aclose(self) -> None:
        """End the iteration now, also for a waiting reader. Idempotent."""
        self._reader.close()

    def _event(self, item: T) -> T_co:
        raise NotImplementedError


def _close_sink(bridge: Bridge, handle: int, sink: Sink[T]) -> None:
    bridge.detach(handle)
    sink.close()

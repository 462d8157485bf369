"""Our published tracks: announced, sent, taken down, and published again after joining anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenroom import _engine
from greenroom.errors import ConfigError, DisconnectedError, GreenroomError, PublishError, RequestError, StateError
from greenroom.rtc._ids import new_id
from greenroom.rtc._publishing import add_track_request, negotiated_codec, plan
from greenroom.rtc.participant import PublishTrackError, UnpublishTrackError
from greenroom.rtc.stats import MediaStats
from greenroom.rtc.track import UNPUBLISHED_SID
from greenroom.rtc.track_publication import LocalTrackPublication
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.rtc._connection import Connection
    from greenroom.rtc._publishing import Plan
    from greenroom.rtc.options import TrackPublishOptions
    from greenroom.rtc.room import Room
    from greenroom.rtc.track import LocalTrack

__all__ = ["LocalTracks", "Sending"]

log = logging.getLogger("greenroom.rtc")


class Sending:
    """A published track with all that is needed to publish it again. `sender` is its handle in the engine."""

    def __init__(
        self, publication: LocalTrackPublication, track: LocalTrack, options: TrackPublishOptions, cid: str, sender: int
    ) -> None:
        self.publication = publication
        self.track = track
        self.options = options
        self.cid = cid
        self.sender = sender


class LocalTracks:
    """What we send to one room.

    Attributes:
        publications: by sid.
    """

    def __init__(self, room: Room, connection: Connection) -> None:
        self.publications: dict[str, LocalTrackPublication] = {}
        self._room = room
        self._connection = connection
        self._sending: dict[str, Sending] = {}
        self._publishing: set[LocalTrack] = set()

    def __iter__(self) -> Iterator[Sending]:
        return iter(list(self._sending.values()))

    def get(self, sid: str) -> Sending | None:
        """The track that is published under this sid."""
        return self._sending.get(sid)

    async def publish(self, track: LocalTrack, options: TrackPublishOptions) -> LocalTrackPublication:
        """Send a track to the room.

        Raises:
            PublishTrackError: it is published already, it cannot be, or the server refused it.
            DisconnectedError: the room ended.
        """
        if track in self._publishing or any(sending.track is track for sending in self):
            raise PublishTrackError(f"{track!r} is already published; make another track of the same source")
        self._publishing.add(track)
        try:
            sending = await self._send(track, options, f"TR_{new_id()}")
        except (RequestError, ConfigError, PublishError) as error:
            raise PublishTrackError(f"{track.name!r} was not published: {error}") from error
        finally:
            self._publishing.discard(track)
        self._attach(sending)
        self._room.emit("local_track_published", sending.publication, track)
        self._room._tracks_changed(self._room.local_participant)
        self._settle_mute(sending)
        return sending.publication

    def unpublish(self, sid: str) -> None:
        """Take a track out of the room.

        Raises:
            UnpublishTrackError: none is published under this sid.
        """
        if sid not in self._sending:
            known = ", ".join(self._sending) or "none"
            raise UnpublishTrackError(f"{sid} is not published here (published: {known})")
        sender = self._sending[sid].sender
        self._end(sid)
        self._connection.offer_removal(sender)

    async def republish(self) -> None:
        """Publish everything again after joining anew, under new sids.

        Raises:
            DisconnectedError: the connection was lost again; what was not published again yet is still known.
        """
        for old in self:
            old_sid = old.publication.sid
            try:
                again = await self._send(old.track, old.options, old.cid)
            except (DisconnectedError, StateError):
                raise
            except GreenroomError as error:
                log.warning("%r could not be published again: %s", old.track, error)
                if self._sending.get(old_sid) is old:
                    self._end(old_sid)
                continue
            if self._sending.get(old_sid) is not old:
                # It was unpublished meanwhile.
                self._take_down(again.sender)
                continue
            del self._sending[old_sid], self.publications[old_sid]
            old.publication._info = again.publication._info
            again.publication = old.publication
            self._attach(again)
            self._room.emit("local_track_republished", old.publication, old_sid)
            self._settle_mute(again)

    def end(self) -> None:
        """The room is over."""
        for sid in list(self._sending):
            self._end(sid)

    async def _send(self, track: LocalTrack, options: TrackPublishOptions, cid: str) -> Sending:
        """Announce a track and have its section accepted. When it fails, or is cancelled, it is taken down again."""
        chosen = plan(track, options, encryption=self._room._encryption._type)
        info = await self._connection.publish(add_track_request(track, options, chosen, cid))
        await self._connection.removals_negotiated()
        sender = _engine.new_handle()
        self._add_sender(sender, track, chosen, cid, negotiated_codec(info, chosen))
        try:
            await self._connection.negotiate(sender)
        except BaseException:
            self._take_down(sender)
            raise
        publication = LocalTrackPublication(info)
        publication._track = track
        return Sending(publication, track, options, cid, sender)

    def _add_sender(self, sender: int, track: LocalTrack, chosen: Plan, cid: str, codec: str) -> None:
        engine, peers = self._connection.engine, self._connection.peers
        layers = [(each.rid, each.width, each.height, each.bitrate, each.fps) for each in chosen.layers]
        engine.add_sender(
            peers.publisher,
            sender,
            track._source._open_on(peers.bridge),
            cid=cid,
            stream_id="-",
            codec=codec,
            bitrate=chosen.bitrate,
            fps=chosen.fps,
            layers=layers if len(layers) > 1 else [],
            dtx=chosen.dtx,
            red=chosen.red,
        )
        self._room._encryption._send(sender)
        if track.muted:
            engine.mute_sender(sender, True)

    def _remove_sender(self, sender: int) -> None:
        self._room._encryption._stopped(sender)
        try:
            self._connection.engine.remove_sender(sender)
        except _engine.EngineClosedError:
            return

    def _take_down(self, sender: int) -> None:
        """Stop sending, and tell the server by an offer."""
        self._remove_sender(sender)
        self._connection.offer_removal(sender)

    def _attach(self, sending: Sending) -> None:
        track, publication, connection = sending.track, sending.publication, self._connection
        local = self._room.local_participant
        self._sending[publication.sid] = sending
        self.publications[publication.sid] = publication
        track._sid = publication.sid
        self._room._encryption._sent_as(sending.sender, publication.sid)

        def on_mute(muted: bool) -> None:
            publication._set_muted(muted)
            connection.engine.mute_sender(sending.sender, muted)
            connection.send(m.SignalRequest(mute=m.MuteTrackRequest(sid=publication.sid, muted=muted)))
            self._room.emit("track_muted" if muted else "track_unmuted", local, publication)

        def statistics() -> list[MediaStats]:
            figures = connection.engine.sender_statistics(sending.sender)
            return [MediaStats.of_sender(publication.sid, track.kind, figures)]

        track._on_mute = on_mute
        track._statistics = statistics
        local._track_available(track, publication.source)

    def _settle_mute(self, sending: Sending) -> None:
        """Tell the server of a mute that came while the track was being published."""
        if sending.track._on_mute is not None and sending.publication.muted != sending.track.muted:
            sending.track._on_mute(sending.track.muted)

    def _end(self, sid: str) -> None:
        """Take a track down on our side; the next offer tells the server."""
        sending = self._sending.pop(sid)
        self.publications.pop(sid, None)
        self._remove_sender(sending.sender)
        track, publication = sending.track, sending.publication
        track._on_mute = track._statistics = None
        track._sid = UNPUBLISHED_SID
        publication._ended()
        self._room.emit("local_track_unpublished", publication)
        publication._track = None
        self._room._tracks_changed(self._room.local_participant)

"""From the session's outputs to the room's objects and events."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from greenroom.protocol import client_io as io
from greenroom.rtc._connection import Connection
from greenroom.rtc.enums import (
    ConnectionQuality,
    ConnectionState,
    DataPacketKind,
    DisconnectReason,
    EncryptionType,
    StreamState,
    TrackKind,
)
from greenroom.rtc.local_participant import LocalParticipant
from greenroom.rtc.participant import Participant, RemoteParticipant
from greenroom.rtc.track import RemoteAudioTrack, RemoteVideoTrack
from greenroom.rtc.track_publication import RemoteTrackPublication
from greenroom.rtc.transcription import TranscriptionSegment
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom._engine import EncryptionChanged
    from greenroom.rtc.options import RoomOptions
    from greenroom.rtc.room import Room

__all__ = ["Dispatch"]


class Dispatch:
    """Makes a room's connection and applies what it tells, in order: first the objects, then the events about them."""

    def __init__(self, room: Room, url: str, token: str, options: RoomOptions) -> None:
        self._room = room
        self._connection = Connection(self, url, token, options)

    @property
    def connection(self) -> Connection:
        """What this room is connected by."""
        return self._connection

    # -- what the connection tells (ConnectionOwner) ---------------------------------------------------------------

    def session_output(self, output: io.Output) -> None:
        """One output of the session, applied now or, while events are held back, later."""
        if self._is_over:
            return
        match output:
            case io.Joined():
                self._fill()
            case io.Closed(reason=reason):
                if not self._room._joining:
                    self._room._close(DisconnectReason(reason))
            case _:
                self._room._deliver(lambda: self._output(output))

    def packet_received(self, packet: m.DataPacket, reliable: bool) -> None:
        """A data packet, applied now or later."""
        if not self._is_over:
            self._room._deliver(lambda: self._packet(packet, reliable))

    def encryption_changed(self, event: EncryptionChanged) -> None:
        """Encryption or decryption of a track goes another way now."""
        if not self._is_over:
            self._room._deliver(lambda: self._room._encryption._changed(event))

    def data_track_payload(self, payload: bytes) -> None:
        """A packet of a data track."""
        self._room._data_tracks.payload(payload)

    def own_tracks(self) -> list[m.TrackPublishedResponse]:
        """Our published tracks as the server described them."""
        local = self._room._local
        tracks = local._tracks if local is not None else ()
        return [m.TrackPublishedResponse(cid=each.cid, track=each.publication._info) for each in tracks]

    async def republish(self) -> None:
        """Publish our tracks again after joining anew."""
        await self._room.local_participant._republish()
        await self._room._data_tracks.republish()

    @property
    def _is_over(self) -> bool:
        return self._room._connection is not self._connection

    # -- outputs ---------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Who and what is there already when we join; the only events about it tell who is encrypted."""
        view = self._connection.session.view
        if view is None:
            return
        self._room._local = LocalParticipant(self._room, self._connection, view.local)
        for info in view.remotes.values():
            participant = self._add(info)
            for track in info.tracks:
                participant._track_publications[track.sid] = RemoteTrackPublication(track, self._connection)
            self._room._deliver(functools.partial(self._room._tracks_changed, participant))

    def _output(self, output: io.Output) -> None:
        match output:
            case io.ParticipantConnected(info=info):
                self._room.emit("participant_connected", self._add(info))
            case io.ParticipantDisconnected(identity=identity, reason=reason):
                self._participant_disconnected(identity, reason)
            case io.RoomChanged(old=old, new=new):
                if old.metadata != new.metadata:
                    self._room.emit("room_metadata_changed", old.metadata, new.metadata)
                self._room.emit("room_updated")
            case io.ActiveSpeakers():
                self._active_speakers(output)
            case io.Reconnect():
                self._reconnecting()
            case io.Reconnected():
                self._reconnected()
            case io.Moved():
                self._refresh_local()
                self._room.emit("moved")
            case io.TokenRefreshed():
                self._room.emit("token_refreshed")
            case io.DataTracksChanged(info=info):
                self._room._data_tracks.participant_changed(info)
            case io.DataTrackHandles(handles=handles):
                self._room._data_tracks.handles_changed(handles)
            case io.EnableLayers() | io.LocalTrackMuted() | io.LocalTrackSubscribed() | io.LocalTrackUnpublished():
                self._local_track(output)
            case (
                io.ParticipantActive()
                | io.MetadataChanged()
                | io.NameChanged()
                | io.AttributesChanged()
                | io.PermissionsChanged()
                | io.QualityChanged()
            ):
                self._about_participant(output)
            case _:
                self._about_track(output)

    def _packet(self, packet: m.DataPacket, reliable: bool) -> None:
        """A data packet of anyone."""
        from greenroom.rtc.room_types import DataPacket, SipDTMF

        room = self._room
        opened = room._encryption._open(packet)
        if opened is None:
            return
        packet = opened
        sender = room.remote_participants.get(packet.participant_identity)
        match packet.WhichOneof("value"):
            case "user":
                kind = DataPacketKind.KIND_RELIABLE if reliable else DataPacketKind.KIND_LOSSY
                if sender is None:
                    sender = room.remote_participants.get(packet.user.participant_identity)
                room.emit("data_received", DataPacket(packet.user.payload, kind, sender, packet.user.topic))
            case "sip_dtmf":
                room.emit("sip_dtmf_received", SipDTMF(packet.sip_dtmf.code, packet.sip_dtmf.digit, sender))
            case "transcription":
                self._transcription(packet.transcription)
            case "rpc_request" | "rpc_ack" | "rpc_response":
                room._rpc.packet(packet.participant_identity, packet)
            case "stream_header" | "stream_chunk" | "stream_trailer":
                room._streams.packet(packet.participant_identity, packet)
            case _:
                return

    # -- participants ----------------------------------------------------------------------------------------------

    def _add(self, info: m.ParticipantInfo) -> RemoteParticipant:
        participant = RemoteParticipant(info)
        self._room._remote_participants[info.identity] = participant
        return participant

    def _participant_disconnected(self, identity: str, reason: int) -> None:
        participant = self._room._remote_participants.pop(identity, None)
        if participant is None:
            return
        participant._disconnect_reason = DisconnectReason(reason)
        participant._end()
        self._connection.link.forget(participant.sid)
        self._room._streams.sender_left(identity)
        self._room._rpc.participant_left(identity)
        self._room._data_tracks.participant_left(identity)
        self._room.emit("participant_disconnected", participant)

    def _participant(self, identity: str) -> Participant | None:
        """The participant with this identity, brought up to date."""
        view = self._connection.session.view
        local = self._room.local_participant
        if identity == local.identity:
            self._refresh_local()
            return local
        participant = self._room._remote_participants.get(identity)
        if participant is not None and view is not None:
            participant._info = view.remotes.get(identity, participant._info)
        return participant

    def _refresh_local(self) -> None:
        view = self._connection.session.view
        if view is not None:
            self._room.local_participant._info = view.local

    def _about_participant(self, output: io.Output) -> None:
        emit = self._room.emit
        participant = self._participant(output.identity)  # type: ignore[union-attr]
        if participant is None:
            return
        match output:
            case io.ParticipantActive():
                emit("participant_active", participant)
            case io.MetadataChanged(old=old, new=new):
                emit("participant_metadata_changed", participant, old, new)
            case io.NameChanged(old=old, new=new):
                emit("participant_name_changed", participant, old, new)
            case io.AttributesChanged(changed=changed):
                emit("participant_attributes_changed", changed, participant)
            case io.PermissionsChanged():
                emit("participant_permissions_changed", participant, participant.permissions)
            case io.QualityChanged(quality=quality):
                participant._connection_quality = ConnectionQuality(quality)
                emit("connection_quality_changed", participant, participant._connection_quality)
            case _:
                return

    def _active_speakers(self, output: io.ActiveSpeakers) -> None:
        for identity, level in output.levels:
            participant = self._participant(identity)
            if participant is not None:
                participant._audio_level = level
        speakers = [self._participant(identity) for identity, _ in output.speakers]
        self._room.emit("active_speakers_changed", [speaker for speaker in speakers if speaker is not None])

    # -- tracks ----------------------------------------------------------------------------------------------------

    def _about_track(self, output: io.Output) -> None:
        identity = getattr(output, "identity", "")
        participant = self._participant(identity)
        if not isinstance(participant, RemoteParticipant):
            if isinstance(output, io.SubscriptionFailed):
                self._room._log.warning("%s", output.error)
            return
        match output:
            case io.TrackPublished(track=track):
                publication = RemoteTrackPublication(track, self._connection)
                participant._track_publications[track.sid] = publication
                self._room.emit("track_published", publication, participant)
                self._room._tracks_changed(participant)
            case io.TrackUnpublished(sid=sid):
                gone = participant._track_publications.pop(sid, None)
                if gone is not None:
                    self._room.emit("track_unpublished", gone, participant)
                    self._room._tracks_changed(participant)
            case io.TrackUpdated(track=track):
                updated = participant._track_publications.get(track.sid)
                if updated is not None:
                    muted = updated.muted
                    updated._info = track
                    updated._set_muted(muted)
                    self._room._tracks_changed(participant)
            case io.SubscriptionFailed(sid=sid, error=error):
                self._room.emit("track_subscription_failed", participant, sid, error)
            case _:
                known = participant._track_publications.get(getattr(output, "sid", ""))
                if known is not None:
                    self._about_publication(output, known, participant)

    def _about_publication(
        self, output: io.Output, publication: RemoteTrackPublication, participant: RemoteParticipant
    ) -> None:
        match output:
            case io.TrackSubscribed(target=target, mid=mid):
                self._room._encryption._receive(
                    participant.identity,
                    publication.sid,
                    publication.encryption_type is not EncryptionType.NONE,
                    self._connection.peers.handle(target),
                    mid,
                )
                track = self._remote_track(publication, target, mid)
                publication._track = track
                participant._track_available(track, publication.source)
                self._room.emit("track_subscribed", track, publication, participant)
            case io.TrackUnsubscribed():
                old, publication._track = publication._track, None
                self._room._encryption._ended(publication.sid)
                if old is not None:
                    old._end()
                    self._room.emit("track_unsubscribed", old, publication, participant)
            case io.TrackMuted(muted=muted):
                publication._set_muted(muted)
                self._room.emit("track_muted" if muted else "track_unmuted", participant, publication)
            case io.StreamStateChanged(paused=paused):
                if publication._track is not None:
                    state = StreamState.STATE_PAUSED if paused else StreamState.STATE_ACTIVE
                    publication._track._stream_state = state
            case io.SubscriptionAllowed(allowed=allowed):
                publication._allowed = allowed
            case _:
                return

    def _remote_track(
        self, publication: RemoteTrackPublication, target: io.Target, mid: str
    ) -> RemoteAudioTrack | RemoteVideoTrack:
        kind = RemoteAudioTrack if publication.kind is TrackKind.KIND_AUDIO else RemoteVideoTrack
        return kind(
            publication.sid,
            publication.name,
            publication.kind,
            muted=publication.muted,
            engine=self._connection.engine,
            peer=self._connection.peers.handle(target),
            mid=mid,
        )

    def _local_track(
        self, output: io.EnableLayers | io.LocalTrackMuted | io.LocalTrackSubscribed | io.LocalTrackUnpublished
    ) -> None:
        local = self._room.local_participant
        sid = output.track_sid if isinstance(output, io.EnableLayers) else output.sid
        sending = local._tracks.get(sid)
        if sending is None:
            return
        match output:
            case io.EnableLayers(enabled=enabled):
                self._connection.engine.set_sender_layers(sending.sender, enabled)
            case io.LocalTrackMuted(muted=muted):
                sending.track._set_muted(muted)
            case io.LocalTrackSubscribed():
                sending.publication._first_subscribed()
                self._room.emit("local_track_subscribed", sending.track)
            case io.LocalTrackUnpublished():
                local._tracks.unpublish(sid)

    # -- connection ------------------------------------------------------------------------------------------------

    def _reconnecting(self) -> None:
        if self._room._state is ConnectionState.CONN_RECONNECTING:
            return
        self._room._set_state(ConnectionState.CONN_RECONNECTING)
        self._room.emit("reconnecting")

    def _reconnected(self) -> None:
        self._refresh_local()
        self._room._set_state(ConnectionState.CONN_CONNECTED)
        self._room.emit("reconnected")

    def _transcription(self, message: m.Transcription) -> None:
        identity = message.transcribed_participant_identity
        participant = self._participant(identity)
        publication = participant.track_publications.get(message.track_id) if participant is not None else None
        segments = [
            TranscriptionSegment(each.id, each.text, each.start_time, each.end_time, each.language, each.final)
            for each in message.segments
        ]
        self._room.emit("transcription_received", segments, participant, publication)

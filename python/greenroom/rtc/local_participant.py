"""`LocalParticipant`: ourselves, and everything we can do in a room."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from greenroom import _arguments as check
from greenroom.errors import DisconnectedError
from greenroom.protocol.client_streams import (
    CHUNK_SIZE,
    StreamHeader,
    chunk_packet,
    compressed_or_plain,
    header_packet,
    split_bytes,
    split_utf8,
    trailer_packet,
)
from greenroom.rtc._local_tracks import LocalTracks
from greenroom.rtc.data_stream import (
    ByteStreamInfo,
    ByteStreamWriter,
    TextStreamInfo,
    TextStreamWriter,
    byte_header,
    byte_info,
    text_header,
    text_info,
)
from greenroom.rtc.data_track import LocalDataTrack
from greenroom.rtc.options import ParticipantTrackPermission, TrackPublishOptions
from greenroom.rtc.participant import (
    Participant,
    PublishDataError,
    PublishDTMFError,
    PublishTrackError,
    PublishTranscriptionError,
)
from greenroom.rtc.rpc import RpcCallInfo, RpcHandler, RpcInterceptor
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.rtc._connection import Connection
    from greenroom.rtc.room import Room
    from greenroom.rtc.track import LocalTrack
    from greenroom.rtc.track_publication import LocalTrackPublication
    from greenroom.rtc.transcription import Transcription

__all__ = ["LocalParticipant"]

_F = TypeVar("_F", bound=RpcHandler)

_INLINE_PROTOCOL = 2


class LocalParticipant(Participant):
    """Ourselves in a room; comes from `room.local_participant`."""

    def __init__(self, room: Room, connection: Connection, info: m.ParticipantInfo) -> None:
        super().__init__(info)
        self._room = room
        self._connection = connection
        self._tracks = LocalTracks(room, connection)
        self._rpc_handlers: dict[str, RpcHandler] = {}
        self._interceptors: list[RpcInterceptor] = []
        self._permission: m.SignalRequest | None = None

    @property
    def track_publications(self) -> Mapping[str, LocalTrackPublication]:
        """Our published tracks by sid."""
        return self._tracks.publications

    # -- tracks ----------------------------------------------------------------------------------------------------

    async def publish_track(
        self, track: LocalTrack, options: TrackPublishOptions | None = None
    ) -> LocalTrackPublication:
        """Send a track to the room; returns when the server has accepted it.

        Raises:
            PublishTrackError: the server refused it, it is published already, or it is no local track.
            DisconnectedError: the room ended.
        """
        from greenroom.rtc.track import LocalAudioTrack, LocalVideoTrack

        options = TrackPublishOptions() if options is None else check.instance("options", options, TrackPublishOptions)
        if not isinstance(track, LocalVideoTrack | LocalAudioTrack):
            raise PublishTrackError(f"{track!r} is not a local track: make one with LocalAudioTrack.create_audio_track")
        return await self._tracks.publish(track, options)

    async def unpublish_track(self, track_sid: str) -> None:
        """Stop sending a track and take it out of the room.

        Raises:
            UnpublishTrackError: we have no published track with this sid.
        """
        self._tracks.unpublish(check.text("track_sid", track_sid))

    def set_track_subscription_permissions(
        self,
        *,
        allow_all_participants: bool,
        participant_permissions: Sequence[ParticipantTrackPermission] | None = None,
    ) -> None:
        """Say who may receive our tracks; replaces what was said before."""
        everyone = check.flag("allow_all_participants", allow_all_participants)
        permission = m.SubscriptionPermission(all_participants=everyone)
        given = participant_permissions or ()
        for each in check.several("participant_permissions", given, ParticipantTrackPermission):
            permission.track_permissions.add(
                participant_identity=each.participant_identity,
                all_tracks=each.allow_all,
                track_sids=each.allowed_track_sids,
            )
        self._permission = m.SignalRequest(subscription_permission=permission)
        self._connection.send(self._permission)

    # -- our description -------------------------------------------------------------------------------------------

    async def set_metadata(self, metadata: str) -> None:
        """Change our metadata for everyone.

        Raises:
            RequestError: the server refused, e.g. the token does not allow it.
        """
        await self._update(metadata=check.text("metadata", metadata))

    async def set_name(self, name: str) -> None:
        """Change our display name for everyone. Raises RequestError when refused."""
        await self._update(name=check.text("name", name))

    async def set_attributes(self, attributes: dict[str, str]) -> None:
        """Set these attributes; the value "" removes one, others stay. Raises RequestError when refused."""
        await self._update(attributes=check.texts_by_name("attributes", attributes))

    # -- data ------------------------------------------------------------------------------------------------------

    async def publish_data(
        self,
        payload: bytes | str,
        *,
        reliable: bool = True,
        destination_identities: Sequence[str] = (),
        topic: str = "",
    ) -> None:
        """Send one packet; a reliable one waits while the connection is busy.

        Args:
            payload: up to about 64 kB reliably; keep lossy ones under 1300 bytes.
            reliable: resend what is lost, keep the order.
            destination_identities: who gets it; empty = everyone else.
            topic: what it is about, for the receivers' handlers.

        Raises:
            PayloadTooLargeError: it is too long; `send_bytes` has no limit.
            PublishDataError: the room ended.
        """
        content = payload.encode() if isinstance(payload, str) else check.octets("payload", payload)
        names = check.texts("destination_identities", destination_identities)
        user = m.UserPacket(payload=content, topic=check.text("topic", topic), destination_identities=names)
        packet = m.DataPacket(user=user, destination_identities=names)
        await self._publish_packet(packet, PublishDataError, reliable=check.flag("reliable", reliable))

    async def publish_dtmf(self, *, code: int, digit: str) -> None:
        """Send a telephone tone.

        Args:
            code: the event number of RFC 4733, 0 to 255.
            digit: what is on the key, e.g. "5" or "#".

        Raises:
            PublishDTMFError: the room ended.
        """
        tone = m.SipDTMF(code=check.whole("code", code, 0, 255), digit=check.text("digit", digit))
        await self._publish_packet(m.DataPacket(sip_dtmf=tone), PublishDTMFError)

    async def publish_transcription(self, transcription: Transcription) -> None:
        """Send what was said on a track.

        Raises:
            PublishTranscriptionError: the room ended.
        """
        from greenroom.rtc.transcription import Transcription, TranscriptionSegment

        check.instance("transcription", transcription, Transcription)
        message = m.Transcription(
            transcribed_participant_identity=check.text("participant_identity", transcription.participant_identity),
            track_id=check.text("track_sid", transcription.track_sid),
        )
        for segment in check.several("segments", transcription.segments, TranscriptionSegment):
            message.segments.add(
                id=check.text("id", segment.id),
                text=check.text("text", segment.text),
                start_time=check.whole("start_time", segment.start_time, 0, 2**63 - 1),
                end_time=check.whole("end_time", segment.end_time, 0, 2**63 - 1),
                language=check.text("language", segment.language),
                final=check.flag("final", segment.final),
            )
        await self._publish_packet(m.DataPacket(transcription=message), PublishTranscriptionError)

    async def publish_data_track(self, *, name: str) -> LocalDataTrack:
        """Open a data track: frames of bytes, newest first, for whoever subscribes.

        Raises:
            PublishDataTrackError: the server refused.
        """
        return await self._room._data_tracks.publish(check.text("name", name))

    # -- streams ---------------------------------------------------------------------------------------------------

    async def stream_text(
        self,
        *,
        destination_identities: Sequence[str] | None = None,
        topic: str = "",
        attributes: dict[str, str] | None = None,
        stream_id: str | None = None,
        reply_to_id: str | None = None,
        total_size: int | None = None,
        sender_identity: str | None = None,
    ) -> TextStreamWriter:
        """Open a text stream to write to piece by piece."""
        writer = TextStreamWriter(
            self,
            topic=topic,
            attributes=attributes,
            stream_id=stream_id,
            total_size=total_size,
            reply_to_id=reply_to_id,
            destination_identities=destination_identities,
            sender_identity=sender_identity,
        )
        await writer._open()
        return writer

    async def stream_bytes(
        self,
        name: str,
        *,
        total_size: int | None = None,
        mime_type: str = "application/octet-stream",
        attributes: dict[str, str] | None = None,
        stream_id: str | None = None,
        destination_identities: Sequence[str] | None = None,
        topic: str = "",
    ) -> ByteStreamWriter:
        """Open a byte stream to write to piece by piece."""
        writer = ByteStreamWriter(
            self,
            name=name,
            topic=topic,
            attributes=attributes,
            stream_id=stream_id,
            total_size=total_size,
            mime_type=mime_type,
            destination_identities=destination_identities,
        )
        await writer._open()
        return writer

    async def send_text(
        self,
        text: str,
        *,
        destination_identities: Sequence[str] | None = None,
        topic: str = "",
        attributes: dict[str, str] | None = None,
        reply_to_id: str | None = None,
        compress: bool = True,
    ) -> TextStreamInfo:
        """Send a text of any length as one stream."""
        content = check.text("text", text).encode()
        header = text_header(
            topic=topic, attributes=attributes, stream_id=None, size=len(content), reply_to_id=reply_to_id
        )
        await self._send_stream(header, content, destination_identities, compress)
        return text_info(header)

    async def send_bytes(
        self,
        data: bytes,
        *,
        topic: str = "",
        name: str | None = None,
        mime_type: str | None = None,
        destination_identities: Sequence[str] | None = None,
        attributes: dict[str, str] | None = None,
        stream_id: str | None = None,
        compress: bool = True,
    ) -> ByteStreamInfo:
        """Send bytes of any length as one stream."""
        content = check.octets("data", data)
        header = byte_header(
            topic=topic, attributes=attributes, stream_id=stream_id, size=len(content), name=name, mime_type=mime_type
        )
        await self._send_stream(header, content, destination_identities, compress)
        return byte_info(header)

    async def send_file(
        self,
        file_path: str,
        *,
        topic: str = "",
        destination_identities: Sequence[str] | None = None,
        attributes: dict[str, str] | None = None,
        stream_id: str | None = None,
        compress: bool = True,
    ) -> ByteStreamInfo:
        """Send a file as one byte stream, without reading it into memory at once.

        Raises:
            OSError: it cannot be read.
        """
        import mimetypes

        path = Path(check.instance("file_path", file_path, str | os.PathLike, "a path"))  # type: ignore[arg-type]
        mime_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        check.flag("compress", compress)
        # Reading a piece of a local file blocks for less time than handing it to a thread takes.
        with path.open("rb") as file:  # noqa: ASYNC230
            size = os.fstat(file.fileno()).st_size
            if size <= CHUNK_SIZE:
                return await self.send_bytes(
                    file.read(),
                    topic=topic,
                    name=path.name,
                    mime_type=mime_type,
                    destination_identities=destination_identities,
                    attributes=attributes,
                    stream_id=stream_id,
                    compress=compress,
                )
            async with await self.stream_bytes(
                path.name,
                total_size=size,
                mime_type=mime_type,
                attributes=attributes,
                stream_id=stream_id,
                destination_identities=destination_identities,
                topic=topic,
            ) as writer:
                while piece := file.read(CHUNK_SIZE):
                    await writer.write(piece)
            return writer.info

    # -- remote procedure calls ------------------------------------------------------------------------------------

    async def perform_rpc(
        self,
        *,
        destination_identity: str,
        method: str,
        payload: str,
        response_timeout: float | None = None,
        max_round_trip_latency: float | None = None,
    ) -> str:
        """Call a method of another participant and return its answer.

        Args:
            destination_identity: who is called.
            method: the name under which it was registered there.
            payload: what the method is given.
            response_timeout: seconds for the whole call; None = 15.
            max_round_trip_latency: seconds in which the other side must confirm the call; None = 7.

        Raises:
            RpcError: it failed there or on the way; its code says how.
        """
        call = RpcCallInfo(
            check.text("destination_identity", destination_identity),
            check.text("method", method),
            check.text("payload", payload),
            check.given(check.positive, "response_timeout in seconds", response_timeout),
            check.given(check.positive, "max_round_trip_latency in seconds", max_round_trip_latency),
        )
        return await self._room._rpc.perform(call, self._interceptors)

    @overload
    def register_rpc_method(self, method_name: str, handler: None = None) -> Callable[[_F], _F]: ...
    @overload
    def register_rpc_method(self, method_name: str, handler: _F) -> _F: ...
    def register_rpc_method(self, method_name: str, handler: _F | None = None) -> _F | Callable[[_F], _F]:
        """Let others call a function, sync or async; without `handler` a decorator. Replaces one of that name."""
        check.text("method_name", method_name)
        if handler is None:
            return lambda decorated: self.register_rpc_method(method_name, decorated)
        self._rpc_handlers[method_name] = check.callback("handler", handler)
        return handler

    def unregister_rpc_method(self, method: str) -> None:
        """No longer take calls of this method."""
        self._rpc_handlers.pop(method, None)

    def add_rpc_interceptor(self, interceptor: RpcInterceptor) -> None:
        """Let it see every call from now on; the first added is the outermost."""
        self._interceptors.append(check.instance("interceptor", interceptor, RpcInterceptor))

    def remove_rpc_interceptor(self, interceptor: RpcInterceptor) -> None:
        """Undo `add_rpc_interceptor`."""
        if interceptor in self._interceptors:
            self._interceptors.remove(interceptor)

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _send_packet(self, packet: m.DataPacket, *, reliable: bool) -> None:
        if not packet.participant_identity:
            packet.participant_identity = self.identity
        await self._connection.send_packet(self._room._encryption._seal(packet), reliable=reliable)

    async def _publish_packet(
        self, packet: m.DataPacket, failure: type[DisconnectedError], *, reliable: bool = True
    ) -> None:
        try:
            await self._send_packet(packet, reliable=reliable)
        except DisconnectedError as error:
            raise failure(f"it was not sent: {error}") from error

    async def _send_stream(
        self, header: StreamHeader, content: bytes, destinations: Sequence[str] | None, compress: bool
    ) -> None:
        names = check.texts("destination_identities", destinations or ())
        compress = check.flag("compress", compress)
        receivers = self._room._receivers(names)
        if all(info.client_protocol >= _INLINE_PROTOCOL for info in receivers):
            inflates = m.ClientInfo.Capability.CAP_COMPRESSION_DEFLATE_RAW
            packed, deflated = content, False
            if compress and all(inflates in info.capabilities for info in receivers):
                packed, deflated = compressed_or_plain(content)
            if len(packed) <= CHUNK_SIZE:
                await self._send_packet(header_packet(header, names, inline=packed, deflated=deflated), reliable=True)
                return
        await self._send_packet(header_packet(header, names), reliable=True)
        pieces = split_utf8(content.decode()) if header.text else split_bytes(content)
        for index, piece in enumerate(pieces):
            await self._send_packet(chunk_packet(header.stream_id, index, piece, names), reliable=True)
        await self._send_packet(trailer_packet(header.stream_id, "", {}, names), reliable=True)

    async def _update(self, **change: Any) -> None:
        request = m.UpdateParticipantMetadata(
            metadata=change.get("metadata", self.metadata),
            name=change.get("name", self.name),
            attributes=change.get("attributes", {}),
        )
        await self._connection.update_self(request)

    async def _republish(self) -> None:
        """Publish everything again after joining anew, under new sids."""
        if self._permission is not None:
            self._connection.send(self._permission)
        await self._tracks.republish()

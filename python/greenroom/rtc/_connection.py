"""Drives a `ClientSession`: the socket, the peer connections, the clock, and whoever waits for an answer."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, cast

from greenroom import _engine
from greenroom.errors import (
    ConnectError,
    ConnectTimeoutError,
    DisconnectedError,
    EngineClosedError,
    EngineError,
    GreenroomError,
    PublishError,
)
from greenroom.protocol import client_io as io
from greenroom.protocol.client_data import DataLink
from greenroom.protocol.client_session import ClientSession, Phase
from greenroom.protocol.client_urls import join_error, server_address, signal_url
from greenroom.rtc._peers import Peers
from greenroom.rtc._waiters import Waiters, silent_future
from greenroom.rtc.options import RoomOptions
from greenroom.runtime.addresses import local_addresses
from greenroom.runtime.socket import SignalSocket, SocketRefusedError
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m
from greenroom.wire.data import LOSSY, RELIABLE, decode_packet
from greenroom.wire.join import PROTOCOL_VERSION

__all__ = ["Connection", "ConnectionOwner"]

log = logging.getLogger("greenroom.rtc")

CONNECT_TIMEOUT = 15.0
NEGOTIATION_TIMEOUT = 10.0


class ConnectionOwner(Protocol):
    """What the connection tells the room."""

    def session_output(self, output: io.Output) -> None:
        """Something the program must know."""

    def packet_received(self, packet: m.DataPacket, reliable: bool) -> None:
        """A data packet."""

    def data_track_payload(self, payload: bytes) -> None:
        """A packet of a data track."""

    def encryption_changed(self, event: _engine.EncryptionChanged) -> None:
        """Encryption or decryption of a track goes another way now."""

    def own_tracks(self) -> list[m.TrackPublishedResponse]:
        """Our published tracks, for a server that resumes the session."""

    async def republish(self) -> None:
        """The session began anew: publish our tracks again."""


@dataclass
class _Joining:
    """How far joining is, for the words of its failure, and the media connection it ends with."""

    stage: str = "reaching the server"
    media: asyncio.Future[None] = field(default_factory=silent_future)

    def fail(self, error: Exception) -> None:
        if not self.media.done():
            self.media.set_exception(error)


class Connection:
    """One connection to a server, from the first socket to the end, reconnecting in between."""

    def __init__(self, owner: ConnectionOwner, url: str, token: str, options: RoomOptions) -> None:
        self._owner = owner
        self._url = url
        self._token = token
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet(log)
        self._socket: SignalSocket | None = None
        self._waiters = Waiters()
        self._joining = _Joining()
        self._timer: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None
        self.peers = Peers(self._engine_event)
        self.link = DataLink()
        self.session = self._new_session(single=options.single_peer_connection is not False)

    # -- joining and leaving ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Join. When it fails, or is cancelled, nothing stays behind.

        Raises:
            ConnectError: it did not work; the subclass and the message say why.
        """
        limit = self._options.connect_timeout or CONNECT_TIMEOUT
        try:
            async with asyncio.timeout(limit):
                await self._join()
                self._joining.stage = "connecting the media"
                await self._joining.media
                if self.session.phase is Phase.CLOSED:
                    raise ConnectError("the server ended the session as soon as it had begun")
        except TimeoutError as error:
            await self.close()
            raise ConnectTimeoutError(f"{self._joining.stage} took longer than {limit:g} s ({self._url})") from error
        except BaseException as error:
            left = self._end is not None
            await self.close()
            if left and isinstance(error, GreenroomError):
                raise ConnectError("the room was left while it was being joined") from error
            raise

    def leave(self, reason: int) -> None:
        """Tell the server that we go; `close` follows."""
        self._apply(self.session.leave(reason))

    async def close(self) -> None:
        """Free everything: sockets, peer connections, tasks; whoever waits gets a DisconnectedError. Idempotent."""
        if self._end is None:
            self._end = self._loop.create_task(self._shut(), name="closing a room's connection")
        if asyncio.current_task() is not self._end:
            await asyncio.shield(self._end)

    async def drop_socket(self) -> None:
        """Lose the signalling connection, as a test."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
            self._socket_closed("the signalling connection was dropped on purpose")

    # -- what the room asks for ------------------------------------------------------------------------------------

    @property
    def engine(self) -> _engine.Engine:
        """The media engine."""
        return self.peers.engine

    def send(self, message: m.SignalRequest) -> None:
        """Send a message that nobody waits for."""
        self._apply(self.session.send(message))

    def set_subscribed(self, sid: str, subscribed: bool) -> None:
        """Receive a remote track, or stop."""
        self._apply(self.session.set_subscribed(self._loop.time(), sid, subscribed))

    async def publish(self, request: m.AddTrackRequest) -> m.TrackInfo:
        """Announce a local track."""
        self._require_open()
        with self._waiters.wait() as (key, answer), self._until_answered(key):
            self._apply(self.session.publish(self._loop.time(), key, request))
            return cast(m.TrackInfo, await answer)

    async def publish_data_track(self, request: m.PublishDataTrackRequest) -> m.DataTrackInfo:
        """Announce a local data track."""
        self._require_open()
        with self._waiters.wait() as (key, answer), self._until_answered(key):
            self._apply(self.session.publish_data_track(self._loop.time(), key, request))
            return cast(m.DataTrackInfo, await answer)

    async def update_self(self, request: m.UpdateParticipantMetadata) -> None:
        """Change our name, metadata or attributes."""
        self._require_open()
        with self._waiters.wait() as (key, answer), self._until_answered(key):
            self._apply(self.session.update_self(self._loop.time(), key, request))
            await answer

    async def negotiate(self, sender: int) -> None:
        """Offer what was added; returns when the server has accepted the section of `sender`."""
        try:
            await self.peers.negotiated(sender, NEGOTIATION_TIMEOUT)
        except TimeoutError:
            limit = f"{NEGOTIATION_TIMEOUT:g} s"
            raise PublishError(f"the media connection did not take the track up within {limit}") from None

    async def removals_negotiated(self) -> None:
        """Return when the server knows of every sender that was removed."""
        try:
            async with asyncio.timeout(NEGOTIATION_TIMEOUT):
                await self.peers.removals_negotiated()
        except TimeoutError:
            raise PublishError(f"the server did not answer an offer within {NEGOTIATION_TIMEOUT:g} s") from None

    def offer_removal(self, sender: int) -> None:
        """Offer that a sender is gone."""
        try:
            self.peers.offer_removal(sender)
        except EngineClosedError as error:
            self._apply(self.session.fail(f"the media engine is gone: {error}"))

    async def send_packet(self, packet: m.DataPacket, *, reliable: bool) -> None:
        """Send a data packet; reliably = returns when it has left our queue.

        Raises:
            PayloadTooLargeError: it is longer than a channel takes.
            DisconnectedError: the room ended.
        """
        await self.channel_open(RELIABLE if reliable else LOSSY)
        label, payload = self.link.encode(packet, reliable=reliable)
        if reliable:
            await self.peers.send(label, payload)
        else:
            self.peers.send_now(label, payload)

    async def channel_open(self, label: str) -> None:
        """Return when the data channel with this label is open. Raises DisconnectedError when the room ended."""
        self._require_open()
        await self.peers.channel_open(label)

    def figures(self) -> tuple[Mapping[str, int | float | str], Mapping[str, int | float | str]]:
        """What the engine counts for the publisher and the subscriber connection."""
        return self.peers.figures(io.Target.PUBLISHER), self.peers.figures(io.Target.SUBSCRIBER)

    # -- joining, inside -------------------------------------------------------------------------------------------

    def _new_session(self, *, single: bool) -> ClientSession:
        return ClientSession(
            single=single,
            auto_subscribe=self._options.auto_subscribe,
            dynacast=self._options.dynacast,
            random=random.random,
        )

    async def _join(self) -> None:
        """Open the socket with a join request: the single-connection path first, the other when there is none."""
        while True:
            try:
                await self._open_session_socket()
                return
            except SocketRefusedError as refused:
                if refused.status != 404 or not self.session.single or self.session.phase is not Phase.JOINING:
                    raise join_error(self._url, refused.status, refused.message) from refused
                self.peers.close(DisconnectedError("the server has no single-connection mode"))
                self.session = self._new_session(single=False)

    async def _open_session_socket(self) -> None:
        targets = [io.Target.PUBLISHER] if self.session.single else [io.Target.PUBLISHER, io.Target.SUBSCRIBER]
        # Asked anew each time: the network may be another one since.
        addresses = await local_addresses(*server_address(self._url))
        self._require_staying()
        self.peers.open(targets, addresses)
        request = self._join_request()
        if self.session.single:
            self._joining.stage = "making the first offer"
            offer = await self.peers.first_offer()
            bundled = self.session.bundle_offer(self._loop.time(), offer.offer_id, offer.sdp)
            request.publisher_offer.CopyFrom(bundled)
        self._joining.stage = "opening the signalling connection"
        await self._open_socket(request)
        self._joining.stage = "waiting for the server to let us join"

    async def _open_socket(self, request: m.JoinRequest) -> None:
        url = signal_url(self._url, request, single=self.session.single)
        socket = await SignalSocket.open(url, self._token, self._message, self._socket_closed)
        if self._end is not None:
            await socket.close()
        self._require_staying()
        self._socket = socket
        self._schedule()

    def _join_request(self, *, resume: bool = False) -> m.JoinRequest:
        from greenroom import __version__

        request = m.JoinRequest(
            client_info=m.ClientInfo(
                sdk=m.ClientInfo.SDK.PYTHON,
                version=__version__,
                protocol=PROTOCOL_VERSION,
                client_protocol=2,
                os="windows" if sys.platform == "win32" else sys.platform,
                capabilities=[m.ClientInfo.Capability.CAP_COMPRESSION_DEFLATE_RAW],
            ),
            connection_settings=m.ConnectionSettings(auto_subscribe=self._options.auto_subscribe),
        )
        if resume and self.session.view is not None:
            request.reconnect = True
            request.reconnect_reason = m.ReconnectReason.RR_SIGNAL_DISCONNECTED
            request.participant_sid = self.session.view.local.sid
        return request

    # -- events ----------------------------------------------------------------------------------------------------

    def _message(self, message: m.SignalResponse) -> None:
        self._apply(self.session.received(self._loop.time(), message))

    def _socket_closed(self, detail: str) -> None:
        if self.session.phase is Phase.JOINING:
            self._joining.fail(ConnectError(f"{self._joining.stage}: {detail}"))
        self._apply(self.session.socket_lost(self._loop.time(), detail))

    def _engine_event(self, target: io.Target, event: _engine.Event) -> None:
        match event:
            case _engine.Data(label=label, payload=payload):
                self._data(label, payload)
                return
            case _engine.EncryptionChanged():
                self._owner.encryption_changed(event)
                return
            case _engine.EngineFailed(message=message):
                error = EngineError(f"the media engine failed: {message}")
                self.peers.fail_first_offer(error)
                self._joining.fail(error)
                self._apply(self.session.fail(str(error)))
                return
            case _engine.NegotiationFailed(message=message):
                self._joining.fail(ConnectError(f"the media connection could not be negotiated: {message}"))
            case _engine.PeerState(state="failed", detail=detail):
                self._joining.fail(ConnectError(f"the media connection could not be made: {detail}"))
            case _:
                pass
        self._apply(self.session.engine_event(self._loop.time(), target, event))

    def _data(self, label: str, payload: bytes) -> None:
        if label not in (RELIABLE, LOSSY):
            self._owner.data_track_payload(payload)
            return
        try:
            packet = decode_packet(payload)
        except GreenroomError as error:
            log.warning("a data packet was ignored: %s", error)
            return
        if self.link.accept(packet):
            self._owner.packet_received(packet, label == RELIABLE)

    # -- outputs ---------------------------------------------------------------------------------------------------

    def _apply(self, outputs: list[io.Output]) -> None:
        for output in outputs:
            try:
                self._carry_out(output)
            except EngineClosedError as error:
                self._apply(self.session.fail(f"the media engine is gone: {error}"))
                return
        self._schedule()

    def _carry_out(self, output: io.Output) -> None:
        match output:
            case io.Send(message=message):
                if self._socket is not None:
                    self._socket.send(message)
            case io.CreateOffer() | io.AcceptOffer() | io.AcceptAnswer() | io.AddCandidate():
                self.peers.command(output)
            case io.Settle(key=key, error=error, track=track, data_track=data_track):
                self._waiters.settle(key, error, track or data_track)
            case io.MediaConnected():
                if not self._joining.media.done():
                    self._joining.media.set_result(None)
            case io.ResendData(last_sequence=last):
                for payload in self.link.after(last):
                    self.peers.send_now(RELIABLE, payload)
                self._apply(self.session.sync_state(self._loop.time(), self._owner.own_tracks()))
            case io.Reconnect():
                self._reconnect(output)
                self._owner.session_output(output)
            case io.Closed(message=message):
                self._joining.fail(ConnectError(f"{self._joining.stage}: {message or 'the server ended the session'}"))
                self._owner.session_output(output)
            case io.TokenRefreshed(token=token):
                self._token = token
                self._owner.session_output(output)
            case _:
                self._owner.session_output(output)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.session.deadline
        if deadline is not None and self._end is None:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._apply(self.session.tick(self._loop.time()))
        finally:
            self._schedule()

    # -- reconnecting ----------------------------------------------------------------------------------------------

    def _reconnect(self, retry: io.Reconnect) -> None:
        previous, self._attempt = self._attempt, None
        if previous is not None and previous is not asyncio.current_task():
            previous.cancel()
        if self._end is None:
            self._attempt = self._tasks.spawn(self._try_again(retry), name="reconnecting")

    async def _try_again(self, retry: io.Reconnect) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        await asyncio.sleep(retry.delay)
        try:
            if retry.resume:
                await self._open_socket(self._join_request(resume=True))
            else:
                await self._join_anew()
        except SocketRefusedError as refused:
            if refused.status == 0:
                self._apply(self.session.socket_lost(self._loop.time(), refused.message))
            else:
                error = join_error(self._url, refused.status, refused.message)
                final = refused.status in (401, 403)
                self._apply(self.session.refused(self._loop.time(), str(error), final=final))
        except EngineClosedError as error:
            self._apply(self.session.fail(f"the media engine is gone: {error}"))
        except GreenroomError as error:
            self._apply(self.session.socket_lost(self._loop.time(), str(error)))

    async def _join_anew(self) -> None:
        self.peers.close(DisconnectedError("the connection was lost and is made anew"))
        self._joining = _Joining()
        self.link = DataLink()
        await self._open_session_socket()
        await self._joining.media
        await self._owner.republish()
        self._apply(self.session.restart_complete())

    # -- inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _until_answered(self, key: int) -> Iterator[None]:
        """Take the request back when its caller no longer waits."""
        try:
            yield
        finally:
            self.session.requests.cancel(key)
            self._schedule()

    def _require_staying(self) -> None:
        if self._end is not None:
            raise DisconnectedError("the room was left while connecting")

    def _require_open(self) -> None:
        if self.session.phase is Phase.CLOSED:
            raise DisconnectedError("the room is disconnected")

    async def _shut(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.leave(m.DisconnectReason.CLIENT_INITIATED)
        error = DisconnectedError("the room was left")
        self._waiters.fail_all(error)
        self.peers.end(error)
        await self._tasks.close()
        if self._socket is not None:
            await self._socket.close()

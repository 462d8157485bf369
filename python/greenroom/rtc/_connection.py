"""Drives a `ClientSession`: the socket, the peer connections, the clock, and whoever waits for an answer."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import platform
import random
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from greenroom import _engine
from greenroom.errors import ConnectError, ConnectTimeoutError, DisconnectedError, EngineError, GreenroomError
from greenroom.protocol import client_io as io
from greenroom.protocol.client_data import DataLink
from greenroom.protocol.client_session import ClientSession, Phase
from greenroom.protocol.client_urls import join_error, server_address, signal_url, validate_url
from greenroom.rtc.options import RoomOptions
from greenroom.runtime.addresses import local_addresses
from greenroom.runtime.bridge import bridge_for_loop
from greenroom.runtime.socket import SignalSocket, SocketRefusedError, fetch_text
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m
from greenroom.wire.data import LOSSY, RELIABLE, decode_packet
from greenroom.wire.join import PROTOCOL_VERSION

__all__ = ["Connection", "ConnectionOwner"]

log = logging.getLogger("greenroom.rtc")

CONNECT_TIMEOUT = 15.0
NEGOTIATION_TIMEOUT = 10.0
VALIDATE_TIMEOUT = 3.0
#: Sections to receive on that the first offer of a single connection has, of each kind.
SPARE_SECTIONS = 3


class ConnectionOwner(Protocol):
    """What the connection tells the room."""

    def session_output(self, output: io.Output) -> None:
        """Something the program must know."""

    def packet_received(self, packet: m.DataPacket, reliable: bool) -> None:
        """A data packet."""

    def data_track_payload(self, payload: bytes) -> None:
        """A packet of a data track."""

    def own_tracks(self) -> list[m.TrackPublishedResponse]:
        """Our published tracks, for a server that resumes the session."""

    async def republish(self) -> None:
        """The session began anew: publish our tracks again."""


class Connection:
    """One connection to a server, from the first socket to the end, reconnecting in between."""

    def __init__(self, owner: ConnectionOwner, url: str, token: str, options: RoomOptions) -> None:
        self._owner = owner
        self._url = url
        self._token = token
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._bridge = bridge_for_loop()
        self._addresses = local_addresses(*server_address(url))
        self._tasks = TaskSet(log)
        self._socket: SignalSocket | None = None
        self._peers: dict[io.Target, int] = {}
        self._keys = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[object]] = {}
        self._sending: set[int] = set()
        self._negotiated: dict[int, asyncio.Future[None]] = {}
        self._first_offer: asyncio.Future[_engine.Offer] | None = None
        self._media_up: asyncio.Future[None] = self._future()
        self._data_open: dict[str, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None
        self._stage = "reaching the server"
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
                self._stage = "connecting the media"
                await self._media_up
        except TimeoutError as error:
            await self.close()
            raise ConnectTimeoutError(f"{self._stage} took longer than {limit:g} s ({self._url})") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Free everything: sockets, peer connections, tasks; whoever waits gets a DisconnectedError. Idempotent."""
        if self._end is None:
            self._end = self._loop.create_task(self._shut(), name="closing a room's connection")
        if asyncio.current_task() is not self._end:
            await asyncio.shield(self._end)

    def leave(self, reason: int) -> None:
        """Tell the server that we go; `close` follows."""
        self._apply(self.session.leave(reason))

    # -- what the room asks for ------------------------------------------------------------------------------------

    @property
    def engine(self) -> _engine.Engine:
        """The media engine."""
        return self._bridge.engine

    def peer(self, target: io.Target) -> int:
        """The handle of a peer connection."""
        return self._peers[target]

    @property
    def peers(self) -> dict[io.Target, int]:
        """All peer connections."""
        return dict(self._peers)

    def transport_figures(self, target: io.Target) -> Mapping[str, int | float | str]:
        """What the engine counts for a peer connection; nothing for one that does not exist."""
        return self.engine.peer_statistics(self._peers[target]) if target in self._peers else {}

    async def drop_socket(self) -> None:
        """Lose the signalling connection, as a test."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
            self._on_socket_closed("the signalling connection was dropped on purpose")

    def send(self, message: m.SignalRequest) -> None:
        """Send a message that nobody waits for."""
        self._apply(self.session.send(message))

    def set_subscribed(self, sid: str, subscribed: bool) -> None:
        """Receive a remote track, or stop."""
        self._apply(self.session.set_subscribed(sid, subscribed))

    async def publish(self, request: m.AddTrackRequest) -> m.TrackInfo:
        """Announce a local track."""
        with self._waiter() as (key, answer):
            self._apply(self.session.publish(self._loop.time(), key, request))
            settled = await answer
        assert isinstance(settled, m.TrackInfo)  # noqa: S101 - the machine's promise
        return settled

    async def publish_data_track(self, request: m.PublishDataTrackRequest) -> m.DataTrackInfo:
        """Announce a local data track."""
        with self._waiter() as (key, answer):
            self._apply(self.session.publish_data_track(self._loop.time(), key, request))
            settled = await answer
        assert isinstance(settled, m.DataTrackInfo)  # noqa: S101 - the machine's promise
        return settled

    async def update_self(self, request: m.UpdateParticipantMetadata) -> None:
        """Change our name, metadata or attributes."""
        with self._waiter() as (key, answer):
            self._apply(self.session.update_self(self._loop.time(), key, request))
            await answer

    async def negotiate(self, sender: int) -> None:
        """Offer what was added; returns when the server has accepted the section of `sender`."""
        done = self._negotiated[sender] = self._future()
        try:
            self.offer()
            async with asyncio.timeout(NEGOTIATION_TIMEOUT):
                await done
        finally:
            self._negotiated.pop(sender, None)

    def offer(self) -> None:
        """Offer what was added or removed."""
        self._apply([io.CreateOffer(io.Target.PUBLISHER)])

    async def send_packet(self, packet: m.DataPacket, *, reliable: bool) -> None:
        """Send a data packet; reliably = returns when it has left our queue.

        Raises:
            PayloadTooLargeError: it is longer than a channel takes.
            DisconnectedError: the room ended.
        """
        await self.channel_open(RELIABLE if reliable else LOSSY)
        label, payload = self.link.encode(packet, reliable=reliable)
        peers = [self._peers[io.Target.PUBLISHER]]
        if not reliable:
            self.engine.send_data(peers, label, payload)
            return
        with self._waiter() as (key, answer):
            self._sending.add(key)
            try:
                self.engine.send_data(peers, label, payload, request=key)
                await answer
            finally:
                self._sending.discard(key)

    async def channel_open(self, label: str) -> None:
        """Return when the data channel with this label is open."""
        while not (opened := self._opened(label)).done():
            await asyncio.shield(opened)
        opened.result()

    def send_payload(self, label: str, payload: bytes) -> bool:
        """Send on an open data channel without waiting. False = it is not open."""
        opened = self._data_open.get(label)
        if opened is None or not opened.done() or opened.exception() is not None:
            return False
        self.engine.send_data([self._peers[io.Target.PUBLISHER]], label, payload)
        return True

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
                if refused.status == 404 and self.session.single and self.session.phase is Phase.JOINING:
                    self._close_peers()
                    self.session = self._new_session(single=False)
                    continue
                raise await self._explained(refused) from refused

    async def _open_session_socket(self) -> None:
        self._open_peers()
        request = self._join_request()
        if self.session.single:
            offer = await self._bundled_offer()
            request.publisher_offer.CopyFrom(self.session.bundle_offer(self._loop.time(), offer.offer_id, offer.sdp))
        self._stage = "opening the signalling connection"
        await self._open_socket(request)
        self._stage = "waiting for the server to let us join"

    async def _open_socket(self, request: m.JoinRequest) -> None:
        self._socket_url = signal_url(self._url, request, single=self.session.single)
        socket = await SignalSocket.open(self._socket_url, self._token, self._on_message, self._on_socket_closed)
        if self._end is not None:
            await socket.close()
            raise DisconnectedError("the room was left while connecting")
        self._socket = socket
        self._schedule()

    async def _bundled_offer(self) -> _engine.Offer:
        self._stage = "making the first offer"
        self._first_offer = self._loop.create_future()
        try:
            self.engine.create_offer(self._peers[io.Target.PUBLISHER], audio=SPARE_SECTIONS, video=SPARE_SECTIONS)
            return await self._first_offer
        finally:
            self._first_offer = None

    def _join_request(self, *, resume: bool = False) -> m.JoinRequest:
        from greenroom import __version__

        request = m.JoinRequest(
            client_info=m.ClientInfo(
                sdk=m.ClientInfo.SDK.PYTHON,
                version=__version__,
                protocol=PROTOCOL_VERSION,
                client_protocol=2,
                os=platform.system().lower(),
                capabilities=[m.ClientInfo.Capability.CAP_COMPRESSION_DEFLATE_RAW],
            ),
            connection_settings=m.ConnectionSettings(auto_subscribe=self._options.auto_subscribe),
        )
        if resume and self.session.view is not None:
            request.reconnect = True
            request.reconnect_reason = m.ReconnectReason.RR_SIGNAL_DISCONNECTED
            request.participant_sid = self.session.view.local.sid
        return request

    async def _explained(self, refused: SocketRefusedError) -> ConnectError:
        if refused.status == 0:
            return join_error(self._url, 0, refused.message)
        status, text = await fetch_text(validate_url(self._socket_url), self._token, VALIDATE_TIMEOUT)
        if status < 400:
            status, text = refused.status, refused.message
        return join_error(self._url, status, text)

    def _open_peers(self) -> None:
        targets = [io.Target.PUBLISHER] if self.session.single else [io.Target.PUBLISHER, io.Target.SUBSCRIBER]
        for target in targets:
            handle = _engine.new_handle()
            self._peers[target] = handle
            self._bridge.attach(handle, functools.partial(self._on_engine_event, target, handle))
            self.engine.open_client_peer(
                handle, local_addresses=self._addresses, data_channels=target is io.Target.PUBLISHER
            )

    def _close_peers(self) -> None:
        for handle in self._peers.values():
            self._bridge.detach(handle)
            with _ignoring_a_closed_engine():
                self.engine.close_peer(handle)
        self._peers.clear()

    # -- events ----------------------------------------------------------------------------------------------------

    def _on_message(self, message: m.SignalResponse) -> None:
        self._apply(self.session.received(self._loop.time(), message))

    def _on_socket_closed(self, detail: str) -> None:
        if self.session.phase is Phase.JOINING:
            self._fail_join(ConnectError(f"{self._stage}: {detail}"))
        self._apply(self.session.socket_lost(self._loop.time(), detail))

    def _on_engine_event(self, target: io.Target, handle: int, event: _engine.Event) -> None:
        if self._peers.get(target) != handle and not isinstance(event, _engine.EngineFailed):
            return
        match event:
            case _engine.Offer() if self._first_offer is not None:
                if not self._first_offer.done():
                    self._first_offer.set_result(event)
                return
            case _engine.Data(label=label, payload=payload):
                self._on_data(label, payload)
                return
            case _engine.DataOpen(label=label):
                if target is io.Target.PUBLISHER and not self._opened(label).done():
                    self._opened(label).set_result(None)
                return
            case _engine.DataSent(request=request, error=error):
                self._settle(request, DisconnectedError(f"the packet was not sent: {error}") if error else None)
                return
            case _engine.EngineFailed(message=message):
                self._fail_join(EngineError(f"the media engine failed: {message}"))
                self._apply(self.session.fail(f"the media engine failed: {message}"))
                return
            case _engine.NegotiationFailed(message=message):
                self._fail_join(ConnectError(f"the media connection could not be negotiated: {message}"))
            case _engine.PeerState(state="failed", detail=detail):
                self._fail_join(ConnectError(f"the media connection could not be made: {detail}"))
            case _:
                pass
        self._apply(self.session.engine_event(self._loop.time(), target, event))
        if isinstance(event, _engine.Negotiated):
            self._sections_negotiated(event.sections)

    def _on_data(self, label: str, payload: bytes) -> None:
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

    def _sections_negotiated(self, sections: list[_engine.Section]) -> None:
        for section in sections:
            done = self._negotiated.get(section.sending)
            if done is not None and not done.done():
                done.set_result(None)

    # -- outputs ---------------------------------------------------------------------------------------------------

    def _apply(self, outputs: list[io.Output]) -> None:
        for output in outputs:
            try:
                self._carry_out(output)
            except _engine.EngineClosedError as error:
                self._apply(self.session.fail(f"the media engine is gone: {error}"))
                return
        self._schedule()

    def _carry_out(self, output: io.Output) -> None:
        match output:
            case io.Send(message=message):
                if self._socket is not None:
                    self._socket.send(message)
            case io.CreateOffer() | io.AcceptOffer() | io.AcceptAnswer() | io.AddCandidate():
                if output.target in self._peers:
                    self._command(self._peers[output.target], output)
            case io.Settle(key=key, error=error, track=track, data_track=data_track):
                self._settle(key, error, track or data_track)
            case io.MediaConnected():
                if not self._media_up.done():
                    self._media_up.set_result(None)
            case io.Reconnect():
                self._reconnect(output)
                self._owner.session_output(output)
            case io.ResendData(last_sequence=last):
                for payload in self.link.after(last):
                    self.engine.send_data([self._peers[io.Target.PUBLISHER]], RELIABLE, payload)
                self._apply(self.session.sync_state(self._owner.own_tracks()))
            case io.Closed():
                self._fail_join(ConnectError(f"{self._stage}: {output.message or 'the server ended the session'}"))
                self._fail_waiters(DisconnectedError(output.message or "the room was left"))
                self._owner.session_output(output)
            case io.TokenRefreshed(token=token):
                self._token = token
                self._owner.session_output(output)
            case _:
                self._owner.session_output(output)

    def _command(self, peer: int, output: io.CreateOffer | io.AcceptOffer | io.AcceptAnswer | io.AddCandidate) -> None:
        match output:
            case io.CreateOffer(audio=audio, video=video, ice_restart=restart):
                self.engine.create_offer(peer, audio=audio, video=video, ice_restart=restart)
            case io.AcceptOffer(offer_id=offer_id, sdp=sdp):
                self.engine.accept_offer(peer, offer_id, sdp)
            case io.AcceptAnswer(offer_id=offer_id, sdp=sdp):
                self.engine.accept_answer(peer, offer_id, sdp)
            case io.AddCandidate(candidate=candidate):
                self.engine.add_candidate(peer, candidate)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.session.deadline
        if deadline is not None and self._end is None:
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._apply(self.session.tick(self._loop.time()))

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
            now = self._loop.time()
            if refused.status == 0:
                self._apply(self.session.socket_lost(now, refused.message))
            else:
                error = await self._explained(refused)
                self._apply(self.session.refused(now, str(error), final=refused.status in (401, 403)))
        except GreenroomError as error:
            self._apply(self.session.socket_lost(self._loop.time(), str(error)))

    async def _join_anew(self) -> None:
        self._close_peers()
        lost = DisconnectedError("the connection was lost and is made anew")
        for key in list(self._sending):
            self._settle(key, lost)
        for done in self._negotiated.values():
            if not done.done():
                done.set_exception(lost)
        self._data_open = {label: opened for label, opened in self._data_open.items() if not opened.done()}
        self._media_up = self._future()
        self.link = DataLink()
        await self._open_session_socket()
        await self._media_up
        await self._owner.republish()
        self._apply(self.session.restart_complete())

    # -- waiting callers -------------------------------------------------------------------------------------------

    def _future(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        future.add_done_callback(_retrieved)
        return future

    @contextmanager
    def _waiter(self) -> Iterator[tuple[int, Awaitable[object]]]:
        if self.session.phase is Phase.CLOSED:
            raise DisconnectedError("the room is disconnected")
        key = next(self._keys)
        future = self._waiting[key] = self._loop.create_future()
        try:
            yield key, future
        finally:
            del self._waiting[key]
            self.session.requests.cancel(key)

    def _settle(self, key: int, error: Exception | None, value: object = None) -> None:
        future = self._waiting.get(key)
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    def _opened(self, label: str) -> asyncio.Future[None]:
        if label not in self._data_open:
            self._data_open[label] = self._future()
            if self.session.phase is Phase.CLOSED:
                self._data_open[label].set_exception(DisconnectedError("the room is disconnected"))
        return self._data_open[label]

    def _fail_join(self, error: Exception) -> None:
        for future in (self._first_offer, self._media_up):
            if future is not None and not future.done():
                future.set_exception(error)

    def _fail_waiters(self, error: Exception) -> None:
        for key in list(self._waiting):
            self._settle(key, error)
        for future in [*self._negotiated.values(), *self._data_open.values()]:
            if not future.done():
                future.set_exception(error)

    async def _shut(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._apply(self.session.leave(m.DisconnectReason.CLIENT_INITIATED))
        self._fail_waiters(DisconnectedError("the room was left"))
        await self._tasks.close()
        if self._socket is not None:
            await self._socket.close()
        self._close_peers()


@contextmanager
def _ignoring_a_closed_engine() -> Iterator[None]:
    try:
        yield
    except _engine.EngineClosedError:
        return


def _retrieved(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()

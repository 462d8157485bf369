"""A room machine with a clock, an engine and sockets: it carries out what the machine says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from greenroom._engine import EngineClosedError, Event, new_handle
from greenroom.protocol import inputs, outputs
from greenroom.protocol.room import Room
from greenroom.wire import messages as m
from greenroom.wire.signal import encode

if TYPE_CHECKING:
    from greenroom.runtime.bridge import Bridge
    from greenroom.server.client_socket import ClientSocket

__all__ = ["LiveRoom", "RoomHost"]

log = logging.getLogger("greenroom.server")


class RoomHost(Protocol):
    """What a room needs of its server."""

    bridge: Bridge
    sockets: dict[int, ClientSocket]

    def room_announces(self, room: LiveRoom, event: outputs.Announce) -> None:
        """A room has something for webhooks and dispatch."""

    def room_ended(self, room: LiveRoom) -> None:
        """A room is over."""

    def fresh_token(self, room: LiveRoom, participant_sid: str) -> str | None:
        """A new token for a participant as it is now."""


class LiveRoom:
    """One running room of a server."""

    def __init__(self, host: RoomHost, machine: Callable[[float], Room]) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._calls: dict[str, asyncio.Future[m.RpcResponse]] = {}
        self._attached: set[int] = set()
        self.handle = new_handle()
        self.machine = machine(self._loop.time())
        self._attach(self.handle)
        host.bridge.engine.open_room(self.handle)
        self.step(inputs.Tick())

    @property
    def name(self) -> str:
        """The room's name."""
        return self.machine.name

    @property
    def sid(self) -> str:
        """The room's session id."""
        return self.machine.state.info.sid

    @property
    def participants(self) -> Mapping[str, str]:
        """Session id per identity of everybody in the room."""
        return {identity: member.sid for identity, member in self.machine.state.members.items()}

    def remove(self, identity: str) -> None:
        """Remove a participant; its client is told to leave."""
        self.step(inputs.RemoveParticipant(identity))

    def close(self, reason: m.DisconnectReason = m.DisconnectReason.ROOM_DELETED) -> None:
        """End the room for everybody. Idempotent."""
        self.step(inputs.CloseRoom(reason))

    def step(self, event: inputs.Input) -> None:
        """Give the machine one input and carry out what it says."""
        for output in self.machine.step(self._loop.time(), event):
            self._carry_out(output)
        self._arm()

    async def call_rpc(self, call: inputs.CallRpc) -> m.RpcResponse:
        """Call a method of a participant and wait for its answer."""
        future: asyncio.Future[m.RpcResponse] = self._loop.create_future()
        self._calls[call.request_id] = future
        try:
            self.step(call)
            return await future
        finally:
            self._calls.pop(call.request_id, None)

    def _arm(self) -> None:
        deadline = self.machine.deadline
        if self._timer is not None:
            if deadline is not None and self._timer.when() == deadline and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.step(inputs.Tick())

    def _attach(self, handle: int) -> None:
        self._attached.add(handle)
        self._host.bridge.attach(handle, self._on_event)

    def _detach(self, handle: int) -> None:
        self._attached.discard(handle)
        self._host.bridge.detach(handle)

    def _on_event(self, event: Event) -> None:
        self.step(event)

    def _carry_out(self, output: outputs.Output) -> None:
        match output:
            case outputs.SendSignal(connections, message):
                encoded = encode(message)
                for connection in connections:
                    if (socket := self._host.sockets.get(connection)) is not None:
                        socket.send(message, encoded)
            case outputs.CloseSocket(connection):
                if (socket := self._host.sockets.get(connection)) is not None:
                    socket.close()
            case outputs.RefreshToken(sid):
                self._refresh_token(sid)
            case outputs.Announce():
                self._host.room_announces(self, output)
            case outputs.RpcAnswered(request_id, payload, error):
                self._answer_call(request_id, m.RpcResponse(payload=payload, error=error))
            case outputs.RoomEnded():
                self._end()
            case _:
                try:
                    self._command(output)
                except EngineClosedError:
                    log.debug("the engine is closed; %s is not carried out", type(output).__name__)

    def _command(self, output: outputs.EngineCommand) -> None:
        engine = self._host.bridge.engine
        match output:
            case outputs.SendData(peers, label, payload):
                engine.send_data(peers, label, payload)
            case outputs.AcceptOffer(peer, offer_id, sdp):
                engine.accept_offer(peer, offer_id, sdp)
            case outputs.AcceptAnswer(peer, offer_id, sdp):
                engine.accept_answer(peer, offer_id, sdp)
            case outputs.CreateOffer(peer, ice_restart):
                engine.create_offer(peer, ice_restart=ice_restart)
            case outputs.OpenPeer(peer, offers):
                self._attach(peer)
                engine.open_server_peer(self.handle, peer, offers=offers)
            case outputs.ClosePeer(peer):
                self._detach(peer)
                engine.close_peer(peer)
            case outputs.AddTrack(track, peer, mid, kind, layers, detect_speaker, priority, encrypted):
                self._attach(track)
                engine.add_track(
                    self.handle,
                    track,
                    peer,
                    mid,
                    kind=kind,
                    layers=layers,
                    detect_speaker=detect_speaker,
                    priority=priority,
                    encrypted=encrypted,
                )
            case outputs.RemoveTrack(track):
                self._detach(track)
                engine.remove_track(track)
            case outputs.PreferTrack(peer, track_id, codecs, stereo, dtx):
                engine.prefer(peer, track_id, codecs=codecs, stereo=stereo, dtx=dtx)
            case outputs.ForgetPreference(peer, track_id):
                engine.forget_preference(peer, track_id)
            case outputs.MuteTrack(track, muted):
                engine.mute_track(track, muted)
            case outputs.Subscribe(track, peer, stream_id, track_id, cname):
                engine.subscribe(track, peer, stream_id=stream_id, track_id=track_id, cname=cname)
            case outputs.Unsubscribe(track, peer):
                engine.unsubscribe(track, peer)
            case outputs.SetSubscription(track, peer, paused, quality, fps):
                engine.set_subscription(track, peer, paused=paused, quality=quality, fps=fps)

    def _refresh_token(self, sid: str) -> None:
        member = self.machine.state.by_sid(sid)
        token = self._host.fresh_token(self, sid)
        if member is not None and member.link.connection is not None and token is not None:
            socket = self._host.sockets.get(member.link.connection)
            if socket is not None:
                socket.send(m.SignalResponse(refresh_token=token))

    def _answer_call(self, request_id: str, response: m.RpcResponse) -> None:
        future = self._calls.pop(request_id, None)
        if future is not None and not future.done():
            future.set_result(response)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for handle in list(self._attached):
            self._detach(handle)
        try:
            self._host.bridge.engine.close_room(self.handle)
        except EngineClosedError:
            log.debug("the engine was closed before room %s", self.sid)
        self._host.room_ended(self)

"""One room of the server, as a machine: told what happened, it says what to do.

Nothing here waits, sends or reads a clock. `Room.step` takes one input and returns every consequence of it in order;
`Room.deadline` says when it wants a `Tick`. The parts: `room_joining` (in and out), `room_link` (connections),
`room_media` (tracks and subscriptions), `room_data` (packets), `room_api` (changes from outside), on one `RoomState`.
"""

from __future__ import annotations

from typing import assert_never

from greenroom import _engine as engine
from greenroom.protocol import (
    inputs,
    room_api,
    room_data,
    room_feedback,
    room_joining,
    room_leaving,
    room_link,
    room_media,
)
from greenroom.protocol.inputs import Input
from greenroom.protocol.member import Member
from greenroom.protocol.outputs import Announce, Output
from greenroom.protocol.room_signals import on_signal
from greenroom.protocol.room_state import RoomState, Sources
from greenroom.protocol.settings import RoomSettings
from greenroom.wire import messages as m
from greenroom.wire.sids import ROOM

__all__ = ["Room"]


class Room:
    """A room from its creation to its end."""

    def __init__(
        self, name: str, settings: RoomSettings, sources: Sources, now: float, config: m.RoomConfiguration
    ) -> None:
        """Make a room that nobody is in.

        Args:
            name: the room's name, as in tokens.
            settings: how it behaves unless `config` says otherwise.
            sources: where ids, handles and Unix time come from.
            now: the machine's seconds.
            config: what its creator asked for; zero and empty fields mean "as in settings".
        """
        wall = now + sources.wall
        info = m.Room(
            sid=sources.sid(ROOM),
            name=name,
            empty_timeout=config.empty_timeout or int(settings.empty_timeout),
            departure_timeout=config.departure_timeout or int(settings.departure_timeout),
            max_participants=config.max_participants or settings.max_participants,
            creation_time=int(wall),
            creation_time_ms=int(wall * 1000),
            metadata=config.metadata,
        )
        self.state = RoomState(info, settings, sources, now)
        self.state.sif_trailer = sources.sid("").encode()
        self.state.timers.set(("empty", ""), now + info.empty_timeout)
        room_api.refresh_tokens(self.state)
        self.state.emit(Announce("room_started"))

    @property
    def name(self) -> str:
        """The room's name."""
        return self.state.info.name

    @property
    def deadline(self) -> float | None:
        """When the room wants a `Tick`."""
        return self.state.timers.deadline

    def info(self) -> m.Room:
        """The room as the API tells of it."""
        return self.state.room_info()

    def member(self, identity: str) -> Member | None:
        """The participant with this identity."""
        return self.state.members.get(identity)

    def step(self, now: float, event: Input) -> list[Output]:
        """Take one input.

        Args:
            now: the machine's seconds, never less than before.
            event: what happened.

        Returns:
            What to do about it, in order.
        """
        state = self.state
        state.now = max(now, state.now)
        self._expire()
        self._dispatch(event)
        outbox, state.outbox = state.outbox, []
        return outbox

    def _dispatch(self, event: Input) -> None:
        state = self.state
        match event:
            case inputs.Signal(connection, message):
                if connection in state.by_connection:
                    on_signal(state, state.by_connection[connection], message)
            case inputs.Join():
                room_joining.join(state, event)
            case inputs.SocketClosed(connection):
                room_joining.socket_closed(state, connection)
            case inputs.Tick():
                pass
            case inputs.CloseRoom(reason):
                room_leaving.close_room(state, reason)
            case inputs.UpdateRoomMetadata(metadata):
                room_api.update_room_metadata(state, metadata)
            case inputs.ConfigureRoom(config):
                room_api.configure_room(state, config)
            case inputs.SendServerData():
                room_api.send_server_data(state, event)
            case inputs.CallRpc():
                room_data.call_rpc(state, event)
            case (
                inputs.RemoveParticipant(identity)
                | inputs.MutePublishedTrack(identity)
                | inputs.UpdateParticipant(identity=identity)
                | inputs.UpdateSubscriptions(identity)
            ):
                if identity in state.members:
                    self._change_member(state.members[identity], event)
            case _:
                self._on_engine(event)

    def _change_member(
        self,
        member: Member,
        event: inputs.RemoveParticipant
        | inputs.MutePublishedTrack
        | inputs.UpdateParticipant
        | inputs.UpdateSubscriptions,
    ) -> None:
        match event:
            case inputs.RemoveParticipant():
                reason = m.DisconnectReason.PARTICIPANT_REMOVED
                room_leaving.remove(self.state, member, reason, action=m.LeaveRequest.DISCONNECT)
            case inputs.MutePublishedTrack():
                room_api.mute_published_track(self.state, member, event)
            case inputs.UpdateParticipant():
                room_api.update_participant(self.state, member, event)
            case inputs.UpdateSubscriptions():
                room_api.update_subscriptions(self.state, member, event)
            case _:
                assert_never(event)

    def _on_engine(self, event: engine.Event) -> None:
        state = self.state
        match event:
            case engine.Speakers(_, speakers):
                room_feedback.on_levels(state, speakers)
            case engine.Quality(_, peers):
                room_feedback.on_quality(state, peers)
            case engine.TrackMedia(handle, mime):
                if handle in state.by_track:
                    room_media.media_started(state, state.by_track[handle], mime)
            case engine.EngineFailed(handle):
                if handle in state.by_peer:
                    room_link.full_reconnect(state, state.by_peer[handle])
                else:
                    room_leaving.close_room(state, m.DisconnectReason.SERVER_SHUTDOWN)
            case _:
                if event.handle in state.by_peer:
                    self._on_peer(state.by_peer[event.handle], event)

    def _on_peer(self, member: Member, event: engine.Event) -> None:
        state = self.state
        match event:
            case engine.Data(_, label, payload):
                room_data.on_data(state, member, label, payload)
            case engine.Answer(_, offer_id, sdp, sections):
                room_link.answer_ready(state, member, offer_id, sdp, sections)
            case engine.Offer(_, offer_id, sdp, sections):
                room_link.offer_ready(state, member, offer_id, sdp, sections)
            case engine.Negotiated(peer, _, sections):
                room_link.negotiated(state, member, peer, sections)
            case engine.NegotiationFailed():
                room_link.negotiation_failed(state, member)
            case engine.SectionsNeeded(_, audio, video):
                room_link.sections_needed(state, member, audio, video)
            case engine.PeerState(peer, name, _):
                room_link.peer_state(state, member, peer, name)
            case engine.DataOpen(peer, label):
                room_link.channel_opened(state, member, peer, label)
            case engine.SubscriptionBound(_, track, mid):
                if track in state.by_track:
                    room_media.bound(state, member, state.by_track[track], mid)
            case engine.StreamState(_, track, paused):
                if track in state.by_track:
                    room_feedback.on_stream_state(state, member, state.by_track[track], paused)

    def _expire(self) -> None:
        state = self.state
        for name, key in state.timers.expire(state.now):
            if name == "empty":
                room_leaving.close_room(state, m.DisconnectReason.ROOM_CLOSED)
            elif name == "dynacast" and key in state.tracks:
                room_media.update_dynacast(state, state.tracks[key])
            elif name == "subscription":
                room_media.give_up(state, key)
            elif name == "presence":
                state.tell_late()
            elif name == "counts":
                state.update_room()
            elif name == "tokens":
                room_api.refresh_tokens(state)
            elif name in ("rpc", "rpc_ack"):
                room_data.rpc_timed_out(state, key, acknowledged=name == "rpc")
            elif (member := state.by_sid(key)) is not None:
                if name == "join":
                    room_joining.join_timed_out(state, member)
                elif name == "failed":
                    room_leaving.remove(state, member, m.DisconnectReason.CONNECTION_TIMEOUT)

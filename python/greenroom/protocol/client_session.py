"""A client's session with a server: everything that is decided between joining and leaving, without any I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from greenroom._engine import Answer, Event, Negotiated, NegotiationFailed, Offer, PeerState
from greenroom.errors import DisconnectedError, GreenroomError, PublishError
from greenroom.protocol.client_io import (
    Closed,
    CreateOffer,
    DataTrackHandles,
    EnableLayers,
    Joined,
    LocalTrackMuted,
    LocalTrackSubscribed,
    LocalTrackUnpublished,
    MediaConnected,
    Moved,
    Output,
    Reconnected,
    ResendData,
    Send,
    StreamStateChanged,
    SubscriptionAllowed,
    Target,
    TokenRefreshed,
    TrackPublished,
    TrackUnpublished,
)
from greenroom.protocol.client_keepalive import Keepalive
from greenroom.protocol.client_negotiation import Negotiation
from greenroom.protocol.client_reconnect import ReconnectPolicy, Recovery
from greenroom.protocol.client_requests import Requests
from greenroom.protocol.client_room import RoomView
from greenroom.protocol.client_subscriptions import Subscriptions
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m

__all__ = ["ClientSession", "Phase"]

#: Seconds that a connection may be interrupted before it counts as failed.
INTERRUPTION_LIMIT = 5.0
#: Seconds in which the server may say why the media connection ended: its word comes by another way than the ending.
FAREWELL_LIMIT = 1.0

_Action = m.LeaveRequest.Action


class Phase(Enum):
    """How far the session is."""

    JOINING = "joining"
    CONNECTED = "connected"
    RESUMING = "resuming"
    RESTARTING = "restarting"
    CLOSED = "closed"


class ClientSession:
    """Told of messages, engine events, requests and time; answers with what is to be done, in order.

    Args:
        single: one peer connection for both directions.
        auto_subscribe: receive every track that is not refused.
        dynacast: honour the server's word on which layers nobody receives.
        random: gives numbers from 0 to 1, to spread retries.
    """

    def __init__(
        self,
        *,
        single: bool,
        auto_subscribe: bool,
        dynacast: bool = False,
        policy: ReconnectPolicy | None = None,
        random: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.single = single
        self.phase = Phase.JOINING
        self.view: RoomView | None = None
        self.join: m.JoinResponse | None = None
        self.negotiation = Negotiation()
        self.subscriptions = Subscriptions(auto_subscribe)
        self.requests = Requests()
        self.keepalive: Keepalive | None = None
        self._dynacast = dynacast
        self._recovery = Recovery(policy or ReconnectPolicy(), random)
        self._peers: dict[Target, str] = {}
        self._was_connected = False
        self._timers: Timers[str] = Timers()

    # -- time ------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `tick` is due, in the caller's seconds."""
        parts = [self._timers.deadline]
        if self.phase is not Phase.CLOSED:
            parts += [self.negotiation.deadline, self.subscriptions.deadline, self.requests.deadline]
            if self.keepalive is not None:
                parts.append(self.keepalive.deadline)
        return min((part for part in parts if part is not None), default=None)

    def tick(self, now: float) -> list[Output]:
        """The deadline has passed."""
        return list(self._tick(now))

    # -- what arrives ----------------------------------------------------------------------------------------------

    def received(self, now: float, message: m.SignalResponse) -> list[Output]:
        """A message of the server."""
        if self.phase is Phase.CLOSED:
            return []
        if self.keepalive is not None:
            self.keepalive.heard(now)
        return list(self._received(now, message))

    def socket_lost(self, now: float, detail: str) -> list[Output]:
        """The socket closed, or an attempt to open one failed."""
        return list(self._lost(now, detail or "the signalling connection was lost"))

    def refused(self, now: float, message: str, *, final: bool) -> list[Output]:
        """The server refused a reconnecting socket; `final` when trying again is of no use."""
        if final:
            return list(self._close(m.DisconnectReason.JOIN_FAILURE, message))
        self._recovery.escalate()
        return list(self._lost(now, message))

    def engine_event(self, now: float, target: Target, event: Event) -> list[Output]:
        """Something happened on a peer connection."""
        if self.phase is Phase.CLOSED:
            return []
        return list(self._engine_event(now, target, event))

    # -- what the program asks for ---------------------------------------------------------------------------------

    def bundle_offer(self, now: float, offer_id: int, sdp: str) -> m.SessionDescription:
        """Our first offer of a single connection, to be put into the join request."""
        return self.negotiation.bundled(now, offer_id, sdp)

    def send(self, message: m.SignalRequest) -> list[Output]:
        """Send a message, now or when the session is resumed."""
        return list(self._through([Send(message)]))

    def publish(self, now: float, key: int, request: m.AddTrackRequest) -> list[Output]:
        """Announce a local track; `Settle(key)` follows."""
        return list(self._through(self.requests.publish(now, key, request)))

    def publish_data_track(self, now: float, key: int, request: m.PublishDataTrackRequest) -> list[Output]:
        """Announce a local data track; `Settle(key)` follows."""
        return list(self._through(self.requests.publish_data_track(now, key, request)))

    def update_self(self, now: float, key: int, request: m.UpdateParticipantMetadata) -> list[Output]:
        """Change our own description; `Settle(key)` follows."""
        return list(self._through(self.requests.update(now, key, request)))

    def set_subscribed(self, now: float, sid: str, subscribed: bool) -> list[Output]:
        """Receive a remote track, or stop receiving it."""
        if self.view is None:
            return []
        return list(self._through(self.subscriptions.set_subscribed(now, self.view, sid, subscribed)))

    def sync_state(self, now: float, tracks: Iterable[m.TrackPublishedResponse]) -> list[Output]:
        """Tell a server that resumes us what we have: our own `tracks` and the program's choice of subscriptions."""
        state = m.SyncState(publish_tracks=list(tracks), subscription=self.subscriptions.difference())
        if self.negotiation.last_answer is not None:
            state.answer.CopyFrom(self.negotiation.last_answer)
        if self.negotiation.last_offer is not None:
            state.offer.CopyFrom(self.negotiation.last_offer)
        repeated = self.negotiation.repeat_offer(now)
        return [
            Send(m.SignalRequest(sync_state=state)),
            *repeated,
            CreateOffer(Target.PUBLISHER, ice_restart=True),
        ]

    def restart_complete(self) -> list[Output]:
        """After joining anew: local tracks are published again."""
        return list(self._reconnected(resumed=False))

    def leave(self, reason: int) -> list[Output]:
        """End the session on our side."""
        if self.phase is Phase.CLOSED:
            return []
        leave = m.LeaveRequest(reason=reason, action=_Action.DISCONNECT)  # type: ignore[arg-type]
        return [Send(m.SignalRequest(leave=leave)), *self._close(reason, "")]

    def fail(self, message: str) -> list[Output]:
        """End the session because something here cannot go on."""
        return list(self._close(m.DisconnectReason.MEDIA_FAILURE, message))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> Iterator[Output]:
        if self.phase is Phase.CLOSED:
            return
        expired = self._timers.expire(now)
        if "attempt" in expired:
            self._recovery.escalate()
            yield from self._lost(now, "reconnecting took too long")
            return
        if "interrupted" in expired:
            yield from self._lost(now, "the media connection was interrupted for too long")
        if self.negotiation.unanswered(now):
            yield from self._lost(now, "the server did not answer an offer", resume=False)
        if self.keepalive is not None:
            if self.keepalive.dead(now):
                yield from self._lost(now, "the server stopped answering")
            else:
                yield from self.keepalive.tick(now)
        yield from self._through(self.requests.tick(now))
        if self.view is not None:
            yield from self.subscriptions.tick(now, self.view)

    def _received(self, now: float, message: m.SignalResponse) -> Iterator[Output]:
        kind = message.WhichOneof("message")
        if kind == "join":
            yield from self._joined(now, message.join)
            return
        if kind == "leave":
            yield from self._told_to_leave(now, message.leave)
            return
        if kind == "reconnect":
            yield from self._resumed(now, message.reconnect)
            return
        if kind is None or self.view is None:
            return
        handler = _HANDLERS.get(kind)
        if handler is not None:
            yield from self._around(handler(self, self.view, now, message))

    def _joined(self, now: float, join: m.JoinResponse) -> Iterator[Output]:
        restarting = self.phase is Phase.RESTARTING
        self._recovery.stop_holding()
        self.join = join
        self.view = RoomView(join)
        self.keepalive = Keepalive(now, join.ping_interval, join.ping_timeout)
        yield from self.keepalive.tick(now)
        if not self.single:
            yield CreateOffer(Target.PUBLISHER)
        if not restarting:
            yield Joined()
            return
        for info in self.view.remotes.values():
            yield from self.view.announce(info)
        yield from self.subscriptions.restarted(self.view)

    def _told_to_leave(self, now: float, leave: m.LeaveRequest) -> Iterator[Output]:
        if leave.action == _Action.DISCONNECT and not leave.can_reconnect:
            yield from self._close(leave.reason, "the server ended the session")
            return
        if leave.action == _Action.RECONNECT:
            self._recovery.escalate()
        resume = leave.action == _Action.RESUME
        yield from self._lost(now, "the server asked to reconnect", resume=resume)

    def _resumed(self, now: float, reconnect: m.ReconnectResponse) -> Iterator[Output]:
        if self.phase is not Phase.RESUMING or self.view is None:
            return
        self.view.begin_reconcile()
        yield ResendData(reconnect.last_message_seq)

    def _engine_event(self, now: float, target: Target, event: Event) -> Iterator[Output]:
        match event:
            case Offer(offer_id=offer_id, sdp=sdp):
                if self.phase in (Phase.RESUMING, Phase.RESTARTING):
                    self._recovery.offered(offer_id)
                yield from self.negotiation.offer_made(now, offer_id, sdp)
            case Answer(offer_id=offer_id, sdp=sdp, sections=sections):
                yield from self.negotiation.answer_made(offer_id, sdp)
                yield from self._applied(now, target, self.negotiation.applied(target, offer_id, sections))
            case Negotiated(offer_id=offer_id, sections=sections):
                yield from self._applied(now, target, self.negotiation.applied(target, offer_id, sections))
                if self.phase is Phase.RESUMING:
                    self._recovery.negotiated(offer_id)
                    yield from self._maybe_resumed()
            case NegotiationFailed(message=detail):
                yield from self._lost(now, f"the descriptions do not fit: {detail}", resume=False)
            case PeerState(state=state):
                yield from self._peer_state(now, target, state)
            case _:
                return

    def _applied(self, now: float, target: Target, sections: dict[str, str]) -> Iterator[Output]:
        if self.view is not None:
            yield from self.subscriptions.sections_changed(now, self.view, target, sections)

    def _peer_state(self, now: float, target: Target, state: str) -> Iterator[Output]:
        self._peers[target] = state
        if state == "connected":
            if all(each == "connected" for each in self._peers.values()):
                self._timers.cancel("interrupted")
            if target is self._primary and not self._was_connected:
                self._was_connected = True
                if self.phase is Phase.JOINING:
                    self.phase = Phase.CONNECTED
                yield MediaConnected()
            yield from self._maybe_resumed()
        elif self.phase is Phase.CONNECTED:
            if state == "disconnected":
                self._timers.set_default("interrupted", now + INTERRUPTION_LIMIT)
            else:
                self._timers.set("interrupted", now + FAREWELL_LIMIT)

    @property
    def _primary(self) -> Target:
        subscriber = not self.single and self.join is not None and self.join.subscriber_primary
        return Target.SUBSCRIBER if subscriber else Target.PUBLISHER

    def _lost(self, now: float, reason: str, *, resume: bool = True) -> Iterator[Output]:
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.JOINING:
            yield from self._close(m.DisconnectReason.JOIN_FAILURE, reason)
            return
        if self.phase is Phase.CONNECTED:
            self._recovery.begin(resume=resume and self._may_resume())
        elif not resume:
            self._recovery.escalate()
        self.keepalive = None
        self.negotiation.interrupt()
        self._timers = Timers()
        retry = self._recovery.next(reason)
        if retry is None:
            yield from self._close(m.DisconnectReason.CONNECTION_TIMEOUT, reason)
            return
        restarts = not retry.resume and self.phase is not Phase.RESTARTING
        self.phase = Phase.RESUMING if retry.resume else Phase.RESTARTING
        self._timers.set("attempt", now + retry.delay + self._recovery.policy.attempt_timeout)
        yield retry
        if not retry.resume:
            self.negotiation.forget()
            self._peers.clear()
            self._was_connected = False
        if restarts:
            yield from self._forget_session()

    def _may_resume(self) -> bool:
        if self.join is None:
            return False
        return self.join.client_configuration.resume_connection != m.ClientConfigSetting.DISABLED

    def _forget_session(self) -> Iterator[Output]:
        self._recovery.forget_held()
        yield from self.requests.fail_all(PublishError("the session was restarted before the server answered"))
        yield from self.subscriptions.detach_all()
        if self.view is not None:
            yield from self._around(self.view.clear())

    def _maybe_resumed(self) -> Iterator[Output]:
        if self.phase is not Phase.RESUMING or not self._recovery.ice_restarted:
            return
        if self._peers.get(self._primary) == "connected" and self.view is not None:
            yield from self._around(self.view.end_reconcile())
            yield from self._reconnected(resumed=True)

    def _reconnected(self, *, resumed: bool) -> Iterator[Output]:
        if self.phase not in (Phase.RESUMING, Phase.RESTARTING):
            return
        self.phase = Phase.CONNECTED
        self._timers.cancel("attempt")
        for message in self._recovery.release():
            yield Send(message)
        yield Reconnected(resumed)

    def _close(self, reason: int, message: str) -> Iterator[Output]:
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._timers = Timers()
        self._recovery.forget_held()
        error: GreenroomError = DisconnectedError(message or "the room was left")
        yield from self.requests.fail_all(error)
        yield Closed(reason, message)

    def _around(self, outputs: Iterable[Output]) -> Iterator[Output]:
        """Put a track's subscription where it belongs: after its announcement, before its end."""
        for output in outputs:
            if isinstance(output, TrackUnpublished):
                yield from self.subscriptions.unpublished(output.sid)
            yield output
            if isinstance(output, TrackPublished) and self.view is not None:
                yield from self.subscriptions.published(self.view, output.track.sid)

    def _through(self, outputs: Iterable[Output]) -> Iterator[Output]:
        """Hold back what must wait until the session is resumed."""
        for output in outputs:
            if isinstance(output, Send):
                if self.phase is Phase.CLOSED or self._recovery.holds(output.message):
                    continue
            yield output


_Handler = Callable[[ClientSession, RoomView, float, m.SignalResponse], Iterable[Output]]


def _pong(session: ClientSession, view: RoomView, now: float, message: m.SignalResponse) -> Iterable[Output]:
    if session.keepalive is not None:
        session.keepalive.pong(now, message.pong_resp)
    return ()


def _stream_states(session: ClientSession, view: RoomView, now: float, message: m.SignalResponse) -> Iterable[Output]:
    for state in message.stream_state_update.stream_states:
        found = view.track(state.track_sid)
        if found is not None:
            yield StreamStateChanged(found[0], state.track_sid, state.state == m.StreamState.PAUSED)


def _qualities(session: ClientSession, view: RoomView, now: float, message: m.SignalResponse) -> Iterable[Output]:
    if not session._dynacast:
        return
    update = message.subscribed_quality_update
    codecs = update.subscribed_codecs
    qualities = codecs[0].qualities if codecs else update.subscribed_qualities
    enabled = {quality.quality for quality in qualities if quality.enabled}
    yield EnableLayers(update.track_sid, tuple(level in enabled for level in range(3)))


def _permission(session: ClientSession, view: RoomView, now: float, message: m.SignalResponse) -> Iterable[Output]:
    update = message.subscription_permission_update
    identity = view.identity_of(update.participant_sid)
    if identity is not None:
        yield SubscriptionAllowed(identity, update.track_sid, update.allowed)


def _subscription(session: ClientSession, view: RoomView, now: float, message: m.SignalResponse) -> Iterable[Output]:
    response = message.subscription_response
    error = m.SubscriptionError.Name(response.err)
    return session.subscriptions.failed(view, response.track_sid, f"the server cannot send the track: {error}")


def _moved(session: ClientSession, view: RoomView, now: float, message: m.SignalResponse) -> Iterable[Output]:
    moved = message.room_moved
    yield from view.clear()
    view.local = moved.participant
    yield from view.room_changed(moved.room)
    yield from view.participants_changed(moved.other_participants)
    yield TokenRefreshed(moved.token)
    yield Moved()


_HANDLERS: dict[str, _Handler] = {
    "answer": lambda session, view, now, message: session.negotiation.answer_received(message.answer),
    "offer": lambda session, view, now, message: session.negotiation.offer_received(message.offer),
    "trickle": lambda session, view, now, message: session.negotiation.candidate_received(message.trickle),
    "media_sections_requirement": lambda session, view, now, message: session.negotiation.sections_required(
        message.media_sections_requirement
    ),
    "update": lambda session, view, now, message: view.participants_changed(message.update.participants),
    "room_update": lambda session, view, now, message: view.room_changed(message.room_update.room),
    "speakers_changed": lambda session, view, now, message: view.speakers_changed(message.speakers_changed.speakers),
    "connection_quality": lambda session, view, now, message: view.quality_changed(message.connection_quality.updates),
    "track_published": lambda session, view, now, message: session.requests.published(message.track_published),
    "request_response": lambda session, view, now, message: session.requests.answered(message.request_response),
    "publish_data_track_response": lambda session, view, now, message: session.requests.data_track_published(
        message.publish_data_track_response.info
    ),
    "data_track_subscriber_handles": lambda session, view, now, message: (
        DataTrackHandles(message.data_track_subscriber_handles),
    ),
    "track_unpublished": lambda session, view, now, message: (
        LocalTrackUnpublished(message.track_unpublished.track_sid),
    ),
    "track_subscribed": lambda session, view, now, message: (LocalTrackSubscribed(message.track_subscribed.track_sid),),
    "mute": lambda session, view, now, message: (LocalTrackMuted(message.mute.sid, message.mute.muted),),
    "refresh_token": lambda session, view, now, message: (TokenRefreshed(message.refresh_token),),
    "pong_resp": _pong,
    "stream_state_update": _stream_states,
    "subscribed_quality_update": _qualities,
    "subscription_permission_update": _permission,
    "subscription_response": _subscription,
    "room_moved": _moved,
}

"""A client's session against a scripted server, without sockets, engine or clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from greenroom._engine import Answer, Negotiated, NegotiationFailed, Offer, PeerState
from greenroom.errors import DisconnectedError, PublishError, RequestError
from greenroom.protocol import client_io as io
from greenroom.protocol.client_io import Target
from greenroom.protocol.client_reconnect import ReconnectPolicy
from greenroom.protocol.client_session import ClientSession, Phase
from greenroom.wire import messages as m

PUBLISHER, SUBSCRIBER = Target.PUBLISHER, Target.SUBSCRIBER
ACTIVE = m.ParticipantInfo.State.ACTIVE
LEAVE = m.LeaveRequest.Action


@dataclass
class Part:
    """What a machine reads of an engine section."""

    mid: str
    receiving: bool = True
    stream_id: str = ""
    track_id: str = ""
    kind: str = "audio"
    sending: int = 0
    rids: list[str] = field(default_factory=list)
    codecs: list[str] = field(default_factory=list)


def person(identity: str, *tracks: str, version: int = 1) -> m.ParticipantInfo:
    info = m.ParticipantInfo(sid=f"PA_{identity}", identity=identity, version=version, state=ACTIVE)
    for track in tracks:
        info.tracks.add(sid=track)
    return info


class Server:
    """The other end: says what a server would say and keeps what the client sent."""

    def __init__(self, *, single: bool = True, auto_subscribe: bool = True, policy: ReconnectPolicy | None = None):
        self.now = 100.0
        self.session = ClientSession(single=single, auto_subscribe=auto_subscribe, dynacast=True, policy=policy)
        self.outputs: list[io.Output] = []
        self.offers = 0

    def take(self, outputs: list[io.Output]) -> list[io.Output]:
        self.outputs += outputs
        return outputs

    def say(self, **message: object) -> list[io.Output]:
        return self.take(self.session.received(self.now, m.SignalResponse(**message)))

    def engine(self, target: Target, event: object) -> list[io.Output]:
        return self.take(self.session.engine_event(self.now, target, event))

    def wait(self, seconds: float) -> list[io.Output]:
        self.now += seconds
        return self.take(self.session.tick(self.now))

    def sent(self, kind: str) -> list[m.SignalRequest]:
        messages = [output.message for output in self.outputs if isinstance(output, io.Send)]
        return [message for message in messages if message.WhichOneof("message") == kind]

    def join(self, *others: m.ParticipantInfo, **fields: object) -> list[io.Output]:
        join = m.JoinResponse(
            room=m.Room(sid="RM_1", name="lobby"),
            participant=person("me"),
            other_participants=others,
            ping_interval=5,
            ping_timeout=15,
            **fields,
        )
        return self.say(join=join)

    def negotiate(self, *parts: Part, **tracks: str) -> list[io.Output]:
        """One round on the publisher connection: our offer, the server's answer."""
        self.offers += 1
        self.engine(PUBLISHER, Offer(1, self.offers, "offer", []))
        answer = m.SessionDescription(type="answer", sdp="answer", id=self.offers, mid_to_track_id=tracks)
        self.say(answer=answer)
        return self.engine(PUBLISHER, Negotiated(1, self.offers, list(parts)))

    def connect(self, *others: m.ParticipantInfo) -> None:
        self.join(*others)
        self.engine(PUBLISHER, PeerState(1, "connected", ""))
        assert self.session.phase is Phase.CONNECTED

    def lose(self) -> list[io.Output]:
        return self.take(self.session.socket_lost(self.now, "gone"))


def only(outputs: list[io.Output], kind: type) -> list:
    return [output for output in outputs if isinstance(output, kind)]


# -- joining -----------------------------------------------------------------------------------------------------------


def test_a_single_connection_is_up_when_its_peer_is():
    server = Server()
    server.session.bundle_offer(server.now, 1, "offer")
    assert only(server.join(), io.Joined)
    answer = m.SessionDescription(type="answer", sdp="v=0", id=1)
    assert server.say(answer=answer) == [io.AcceptAnswer(PUBLISHER, 1, "v=0")]
    assert io.MediaConnected() in server.engine(PUBLISHER, PeerState(1, "connected", ""))


def test_with_two_connections_the_servers_offer_is_answered_and_the_subscriber_counts():
    server = Server(single=False)
    assert io.CreateOffer(PUBLISHER) in server.join(subscriber_primary=True)
    offer = m.SessionDescription(type="offer", sdp="theirs", id=77)
    assert server.say(offer=offer) == [io.AcceptOffer(SUBSCRIBER, 77, "theirs")]
    server.engine(SUBSCRIBER, Answer(2, 77, "ours", []))
    assert [message.answer.id for message in server.sent("answer")] == [77]
    assert io.MediaConnected() not in server.engine(PUBLISHER, PeerState(1, "connected", ""))
    assert io.MediaConnected() in server.engine(SUBSCRIBER, PeerState(2, "connected", ""))


def test_a_server_that_hangs_up_before_joining_ends_the_session():
    server = Server()
    (closed,) = only(server.lose(), io.Closed)
    assert closed.reason == m.DisconnectReason.JOIN_FAILURE


def test_an_answer_to_an_older_offer_is_ignored():
    server = Server()
    server.join()
    server.engine(PUBLISHER, Offer(1, 1, "one", []))
    server.engine(PUBLISHER, Offer(1, 2, "two", []))
    assert server.say(answer=m.SessionDescription(type="answer", sdp="x", id=1)) == []
    assert server.say(answer=m.SessionDescription(type="answer", sdp="x", id=2)) == [io.AcceptAnswer(PUBLISHER, 2, "x")]


def test_sections_are_offered_when_required_even_none():
    server = Server()
    server.connect()
    required = m.MediaSectionsRequirement(num_audios=2, num_videos=1)
    assert server.say(media_sections_requirement=required) == [io.CreateOffer(PUBLISHER, 2, 1)]
    assert server.say(media_sections_requirement=m.MediaSectionsRequirement()) == [io.CreateOffer(PUBLISHER)]


def test_an_unanswered_offer_restarts_the_session():
    server = Server()
    server.connect()
    server.engine(PUBLISHER, Offer(1, 1, "one", []))
    server.say(pong_resp=m.Pong())
    server.now += 10
    server.say(pong_resp=m.Pong())
    (retry,) = only(server.wait(6), io.Reconnect)
    assert not retry.resume


# -- tracks ------------------------------------------------------------------------------------------------------------


def test_media_is_matched_by_the_servers_map():
    server = Server()
    server.connect(person("ada", "TR_1"))
    told = server.negotiate(Part("3", stream_id="PA_ada|camera", track_id="?"), **{"3": "TR_1"})
    assert io.TrackSubscribed("ada", "TR_1", PUBLISHER, "3") in told


def test_media_is_matched_by_its_stream_id_without_a_map():
    server = Server()
    server.connect(person("ada", "TR_1"))
    told = server.negotiate(Part("3", stream_id="PA_ada|TR_1"), Part("4", stream_id="-", track_id="spare"))
    assert only(told, io.TrackSubscribed) == [io.TrackSubscribed("ada", "TR_1", PUBLISHER, "3")]


def test_media_that_comes_before_its_announcement_waits_for_it():
    server = Server()
    server.connect()
    assert not only(server.negotiate(Part("3", stream_id="PA_ada|TR_1")), io.TrackSubscribed)
    told = server.say(update=m.ParticipantUpdate(participants=[person("ada", "TR_1")]))
    assert [type(output).__name__ for output in told] == [
        "ParticipantConnected",
        "TrackPublished",
        "TrackSubscribed",
        "ParticipantActive",
    ]


def test_media_that_nobody_announces_is_given_up():
    server = Server()
    server.connect()
    server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    (failed,) = only(server.wait(5.1), io.SubscriptionFailed)
    assert failed.sid == "TR_1"


def test_an_unpublished_track_is_unsubscribed_first():
    server = Server()
    server.connect(person("ada", "TR_1"))
    server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    told = server.say(update=m.ParticipantUpdate(participants=[person("ada", version=2)]))
    assert told == [io.TrackUnsubscribed("ada", "TR_1"), io.TrackUnpublished("ada", "TR_1")]


def test_a_section_that_goes_quiet_or_carries_another_track_is_unsubscribed():
    server = Server()
    server.connect(person("ada", "TR_1", "TR_2"))
    server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    told = server.negotiate(Part("3", stream_id="PA_ada|TR_2"))
    assert only(told, io.TrackUnsubscribed) == [io.TrackUnsubscribed("ada", "TR_1")]
    assert only(told, io.TrackSubscribed) == [io.TrackSubscribed("ada", "TR_2", PUBLISHER, "3")]
    assert only(server.negotiate(Part("3", receiving=False)), io.TrackUnsubscribed)


def test_unsubscribing_is_told_at_once_and_asked_of_the_server():
    server = Server()
    server.connect(person("ada", "TR_1"))
    server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    told = server.take(server.session.set_subscribed(server.now, "TR_1", False))
    assert io.TrackUnsubscribed("ada", "TR_1") in told
    (request,) = server.sent("subscription")
    assert not request.subscription.subscribe and list(request.subscription.track_sids) == ["TR_1"]
    assert request.subscription.participant_tracks[0].participant_sid == "PA_ada"
    assert server.session.set_subscribed(server.now, "TR_1", False) == []


def test_what_is_wanted_again_waits_for_the_server_to_take_the_old_section_down():
    server = Server()
    server.connect(person("ada", "TR_1"))
    server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    server.take(server.session.set_subscribed(server.now, "TR_1", False))
    assert not only(server.session.set_subscribed(server.now, "TR_1", True), io.TrackSubscribed)
    assert not only(server.negotiate(Part("3", receiving=False)), io.TrackUnsubscribed)
    assert only(server.negotiate(Part("4", stream_id="PA_ada|TR_1")), io.TrackSubscribed)


def test_what_is_wanted_again_before_the_server_noticed_goes_on():
    server = Server()
    server.connect(person("ada", "TR_1"))
    server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    server.take(server.session.set_subscribed(server.now, "TR_1", False))
    server.take(server.session.set_subscribed(server.now, "TR_1", True))
    assert only(server.wait(1.1), io.TrackSubscribed) == [io.TrackSubscribed("ada", "TR_1", PUBLISHER, "3")]


def test_nothing_is_subscribed_by_itself_when_the_program_chooses():
    server = Server(auto_subscribe=False)
    server.connect(person("ada", "TR_1"))
    assert server.session.set_subscribed(server.now, "TR_1", False) == []
    server.take(server.session.set_subscribed(server.now, "TR_1", True))
    told = server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    assert io.TrackSubscribed("ada", "TR_1", PUBLISHER, "3") in told


def test_dynacast_names_the_layers_somebody_receives():
    server = Server()
    server.connect()
    low = m.SubscribedQuality(quality=m.VideoQuality.LOW, enabled=True)
    high = m.SubscribedQuality(quality=m.VideoQuality.HIGH, enabled=False)
    update = m.SubscribedQualityUpdate(track_sid="TR_me", subscribed_qualities=[low, high])
    assert server.say(subscribed_quality_update=update) == [io.EnableLayers("TR_me", (True, False, False))]


# -- requests ----------------------------------------------------------------------------------------------------------


def test_publishing_is_settled_by_the_servers_description():
    server = Server()
    server.connect()
    server.take(server.session.publish(server.now, 7, m.AddTrackRequest(cid="c")))
    assert server.sent("add_track")
    track = m.TrackInfo(sid="TR_me")
    told = server.say(track_published=m.TrackPublishedResponse(cid="c", track=track))
    assert told == [io.Settle(7, track=track)]


def test_a_refused_track_says_why():
    server = Server()
    server.connect()
    request = m.AddTrackRequest(cid="c")
    server.take(server.session.publish(server.now, 7, request))
    refusal = m.RequestResponse(reason=m.RequestResponse.NOT_ALLOWED, message="no camera", add_track=request)
    (settled,) = server.say(request_response=refusal)
    assert isinstance(settled.error, RequestError)
    assert settled.error.reason == "NOT_ALLOWED" and "no camera" in str(settled.error)


@pytest.mark.parametrize("reason", ["OK", "QUEUED"])
def test_a_track_that_is_only_acknowledged_is_not_settled_yet(reason):
    server = Server()
    server.connect()
    request = m.AddTrackRequest(cid="c")
    server.take(server.session.publish(server.now, 7, request))
    said = m.RequestResponse(reason=m.RequestResponse.Reason.Value(reason), add_track=request)
    assert server.say(request_response=said) == []
    (settled,) = only(server.wait(10), io.Settle)
    assert isinstance(settled.error, PublishError)


def test_changing_our_description_is_settled_by_number():
    server = Server()
    server.connect()
    server.take(server.session.update_self(server.now, 1, m.UpdateParticipantMetadata(name="a")))
    server.take(server.session.update_self(server.now, 2, m.UpdateParticipantMetadata(name="b")))
    first, second = (message.update_metadata.request_id for message in server.sent("update_metadata"))
    assert server.say(request_response=m.RequestResponse(request_id=second)) == [io.Settle(2)]
    refused = m.RequestResponse(request_id=first, reason=m.RequestResponse.NOT_ALLOWED)
    (settled,) = server.say(request_response=refused)
    assert settled.key == 1 and settled.error.reason == "NOT_ALLOWED"
    assert "no permission" in str(settled.error)


# -- liveness ----------------------------------------------------------------------------------------------------------


def test_pings_are_sent_and_measure_the_round_trip():
    server = Server()
    server.connect()
    (first,) = server.sent("ping_req")
    server.now += 0.25
    server.say(pong_resp=m.Pong(last_ping_timestamp=first.ping_req.timestamp))
    server.wait(4.75)
    assert server.sent("ping_req")[-1].ping_req.rtt == 250


def test_a_silent_server_is_left_for_another_attempt():
    server = Server()
    server.connect()
    for _ in range(2):
        server.wait(5)
    (retry,) = only(server.wait(5.01), io.Reconnect)
    assert retry.resume and retry.delay == 0


def test_a_long_interruption_of_media_counts_as_a_loss_and_a_short_one_does_not():
    server = Server()
    server.connect()
    server.engine(PUBLISHER, PeerState(1, "disconnected", ""))
    server.engine(PUBLISHER, PeerState(1, "connected", ""))
    assert not only(server.wait(6), io.Reconnect)
    server.engine(PUBLISHER, PeerState(1, "disconnected", ""))
    assert only(server.wait(5), io.Reconnect)


@pytest.mark.parametrize("state", ["closed", "failed"])
def test_media_that_ends_is_a_loss_unless_the_server_says_goodbye(state):
    server = Server()
    server.connect()
    assert server.engine(PUBLISHER, PeerState(1, state, "")) == []
    assert only(server.wait(1.1), io.Reconnect)
    server = Server()
    server.connect()
    server.engine(PUBLISHER, PeerState(1, state, ""))
    told = server.say(leave=m.LeaveRequest(reason=m.DisconnectReason.DUPLICATE_IDENTITY))
    assert [output.reason for output in only(told, io.Closed)] == [m.DisconnectReason.DUPLICATE_IDENTITY]
    assert not only(server.outputs, io.Reconnect)


# -- losing and reconnecting -------------------------------------------------------------------------------------------


def resume(server: Server, *people: m.ParticipantInfo) -> list[io.Output]:
    told = server.say(reconnect=m.ReconnectResponse(last_message_seq=3))
    assert told == [io.ResendData(3)]
    server.take(server.session.sync_state(server.now, [m.TrackPublishedResponse(cid="c")]))
    server.say(update=m.ParticipantUpdate(participants=[person("me"), *people]))
    return server.negotiate()


def test_a_lost_socket_is_resumed():
    server = Server()
    server.connect(person("ada"), person("bob"))
    (retry,) = only(server.lose(), io.Reconnect)
    assert (retry.resume, retry.delay) == (True, 0)
    held = server.take(server.session.send(m.SignalRequest(mute=m.MuteTrackRequest(sid="TR_me"))))
    assert held == []
    told = resume(server, person("bob", version=2))
    assert io.CreateOffer(PUBLISHER, ice_restart=True) in server.outputs
    assert only(told, io.ParticipantDisconnected) == [io.ParticipantDisconnected("ada", 0)]
    assert told[-1] == io.Reconnected(True)
    assert server.sent("mute") and server.session.phase is Phase.CONNECTED
    (state,) = server.sent("sync_state")
    assert state.sync_state.publish_tracks[0].cid == "c"


def test_what_the_program_chose_is_told_to_a_resuming_server():
    server = Server()
    server.connect(person("ada", "TR_1"))
    server.take(server.session.set_subscribed(server.now, "TR_1", False))
    server.lose()
    resume(server, person("ada", "TR_1"))
    (state,) = server.sent("sync_state")
    assert list(state.sync_state.subscription.track_sids) == ["TR_1"]
    assert state.sync_state.subscription.subscribe is False


def test_an_offer_under_way_is_sent_again_before_the_restart():
    server = Server()
    server.connect()
    server.engine(PUBLISHER, Offer(1, 1, "under way", []))
    server.lose()
    assert not only(server.wait(14), io.Closed)
    server.say(reconnect=m.ReconnectResponse())
    told = server.take(server.session.sync_state(server.now, []))
    sent = [output.message.WhichOneof("message") for output in only(told, io.Send)]
    assert sent == ["sync_state", "offer"] and told[1].message.offer.id == 1
    assert told[2] == io.CreateOffer(PUBLISHER, ice_restart=True)
    server.say(answer=m.SessionDescription(type="answer", sdp="x", id=1))
    assert not only(server.engine(PUBLISHER, Negotiated(1, 1, [])), io.Reconnected)
    server.offers = 1
    assert only(server.negotiate(), io.Reconnected)


def test_failed_attempts_wait_longer_and_end():
    server = Server(policy=ReconnectPolicy(attempts=4, first_delay=1, longest_delay=2))
    server.connect()
    delays = []
    while not (closed := only(outputs := server.lose(), io.Closed)):
        delays += [retry.delay for retry in only(outputs, io.Reconnect)]
    assert delays == [0, 0.75, 1.5, 1.5]
    assert closed[0].reason == m.DisconnectReason.CONNECTION_TIMEOUT


def test_a_session_that_cannot_be_resumed_begins_anew():
    server = Server()
    server.connect(person("ada", "TR_1"))
    server.negotiate(Part("3", stream_id="PA_ada|TR_1"))
    server.take(server.session.publish(server.now, 7, m.AddTrackRequest(cid="c")))
    server.lose()
    leave = m.LeaveRequest(action=LEAVE.RECONNECT, reason=m.DisconnectReason.STATE_MISMATCH)
    told = server.say(leave=leave)
    assert [type(output).__name__ for output in told] == [
        "Reconnect",
        "Settle",
        "TrackUnsubscribed",
        "TrackUnpublished",
        "ParticipantDisconnected",
    ]
    assert told[0].resume is False
    server.offers = 0
    server.session.bundle_offer(server.now, 1, "offer")
    told = server.join(person("ada", "TR_2"))
    assert [type(output).__name__ for output in only(told, io.ParticipantConnected) + only(told, io.TrackPublished)]
    assert io.MediaConnected() in server.engine(PUBLISHER, PeerState(1, "connected", ""))
    assert server.session.restart_complete() == [io.Reconnected(False)]


def test_tracks_can_be_published_while_beginning_anew():
    """Publishing again is part of a restart, so it must not wait for its end."""
    server = Server()
    server.connect()
    server.say(leave=m.LeaveRequest(action=LEAVE.RECONNECT))
    server.session.bundle_offer(server.now, 1, "offer")
    server.join()
    server.take(server.session.publish(server.now, 7, m.AddTrackRequest(cid="again")))
    assert [message.add_track.cid for message in server.sent("add_track")] == ["again"]


def test_an_attempt_that_hangs_is_given_up_for_a_new_join():
    server = Server()
    server.connect()
    server.lose()
    (retry,) = only(server.wait(15.1), io.Reconnect)
    assert not retry.resume


def test_being_told_to_leave_ends_everything():
    server = Server()
    server.connect()
    server.take(server.session.publish(server.now, 7, m.AddTrackRequest(cid="c")))
    told = server.say(leave=m.LeaveRequest(reason=m.DisconnectReason.PARTICIPANT_REMOVED))
    (settled,) = only(told, io.Settle)
    assert isinstance(settled.error, DisconnectedError)
    assert told[-1].reason == m.DisconnectReason.PARTICIPANT_REMOVED
    assert server.session.deadline is None
    assert server.say(pong_resp=m.Pong()) == [] and server.lose() == []


def test_leaving_says_goodbye_once():
    server = Server()
    server.connect()
    told = server.take(server.session.leave(m.DisconnectReason.CLIENT_INITIATED))
    assert told[0].message.leave.reason == m.DisconnectReason.CLIENT_INITIATED
    assert isinstance(told[-1], io.Closed)
    assert server.session.leave(m.DisconnectReason.CLIENT_INITIATED) == []


def test_a_final_refusal_ends_the_attempts():
    server = Server()
    server.connect()
    server.lose()
    (closed,) = only(server.session.refused(server.now, "token expired", final=True), io.Closed)
    assert "token expired" in closed.message


def test_descriptions_that_do_not_fit_begin_anew():
    server = Server()
    server.connect()
    (retry,) = only(server.engine(PUBLISHER, NegotiationFailed(1, 1, "no codec")), io.Reconnect)
    assert not retry.resume and "no codec" in retry.reason

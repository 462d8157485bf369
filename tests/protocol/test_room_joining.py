import pytest

from greenroom import _engine as engine
from greenroom.protocol import inputs, outputs
from greenroom.wire import messages as m
from greenroom.wire.join import JoinParameters
from greenroom.wire.tokens import Claims, VideoGrants


def announced(stage):
    return [each.event for each in stage.commands(outputs.Announce)]


def test_the_first_message_is_join_and_tells_what_clients_insist_on(stage):
    ada = stage.join("ada", connect=False)
    first = next(each for each in stage.log if isinstance(each, outputs.SendSignal))
    join = first.message.join
    assert first.connections == (ada.connection,)
    assert join.room.sid.startswith("RM_") and join.room.name == "lab"
    assert join.participant.sid.startswith("PA_") and join.participant.identity == "ada"
    assert join.server_info.version == "1.9.0"
    assert (join.ping_interval, join.ping_timeout) == (5, 15)
    assert not join.subscriber_primary and join.fast_publish


def test_a_join_with_an_offer_is_answered_with_the_same_id(stage):
    ada = stage.join("ada", connect=False, offer=True)
    assert stage.commands(outputs.AcceptOffer) == [outputs.AcceptOffer(ada.publisher, 0, "v=0")]
    stage.step(engine.Answer(ada.publisher, 0, "answer", []))
    assert [(each.id, each.sdp, each.type) for each in ada.told("answer")] == [(0, "answer", "answer")]


def test_two_offers_in_a_row_are_answered_in_order(stage):
    ada = stage.join("ada", connect=False, offer=True)
    ada.send(offer=m.SessionDescription(type="offer", sdp="two", id=2))
    assert [each.offer_id for each in stage.commands(outputs.AcceptOffer)] == [0, 2]


def test_dual_mode_opens_two_connections_and_offers_on_one(stage):
    ada = stage.join("ada", single=False, connect=False)
    link = ada.member.link
    assert stage.commands(outputs.OpenPeer) == [
        outputs.OpenPeer(link.publisher, offers=False),
        outputs.OpenPeer(link.subscriber, offers=True),
    ]
    assert stage.commands(outputs.CreateOffer) == [outputs.CreateOffer(link.subscriber)]
    assert ada.told("join")[0].subscriber_primary
    stage.step(engine.Offer(link.subscriber, 5, "offer", []))
    assert ada.told("offer")[0].id == 5
    ada.send(answer=m.SessionDescription(type="answer", sdp="ok", id=5))
    assert stage.commands(outputs.AcceptAnswer) == [outputs.AcceptAnswer(link.subscriber, 5, "ok")]


def test_the_primary_connection_makes_active(stage):
    ada = stage.join("ada", single=False, connect=False)
    stage.step(engine.PeerState(ada.member.link.publisher, "connected", ""))
    assert not ada.member.active
    stage.step(engine.PeerState(ada.member.link.subscriber, "connected", ""))
    assert ada.member.active
    assert announced(stage) == ["room_started", "participant_joined"]


def test_others_learn_who_is_there_and_who_comes_and_goes(stage):
    ada = stage.join("ada")
    bob = stage.join("bob")
    assert [each.identity for each in bob.told("join")[0].other_participants] == ["ada"]
    states = [update.participants[0].state for update in ada.told("update")]
    assert states == [m.ParticipantInfo.JOINED, m.ParticipantInfo.ACTIVE]
    sid = bob.sid
    bob.send(leave=m.LeaveRequest(reason=m.DisconnectReason.CLIENT_INITIATED))
    left = ada.told("update")[-1].participants[0]
    assert (left.sid, left.state) == (sid, m.ParticipantInfo.DISCONNECTED)
    assert left.disconnect_reason == m.DisconnectReason.CLIENT_INITIATED
    versions = [update.participants[0].version for update in ada.told("update")]
    assert versions == sorted(set(versions))


def test_client_protocol_and_capabilities_are_passed_on(stage):
    stage.join("ada")
    bob = stage.join("bob")
    info = bob.told("join")[0].other_participants[0]
    assert (info.client_protocol, list(info.capabilities)) == (2, [1])


def test_a_hidden_participant_sees_everybody_and_nobody_sees_it(stage):
    ada = stage.join("ada")
    eve = stage.join("eve", grants={"hidden": True})
    bob = stage.join("bob")
    assert [each.identity for each in eve.told("join")[0].other_participants] == ["ada"]
    assert [each.identity for each in bob.told("join")[0].other_participants] == ["ada"]
    eve.send(leave=m.LeaveRequest())
    assert all(each.participants[0].identity != "eve" for each in ada.told("update") + bob.told("update"))
    assert eve.told("update")[-1].participants[0].identity == "bob"


@pytest.mark.parametrize(("protocol", "told"), [(17, False), (11, True)])
def test_the_same_identity_replaces_its_older_session(stage, protocol, told):
    ada = stage.join("ada", protocol=protocol)
    old = stage.join("bob")
    old_sid = old.sid
    new = stage.join("bob")
    leave = old.told("leave")[0]
    assert (leave.reason, leave.action) == (m.DisconnectReason.DUPLICATE_IDENTITY, m.LeaveRequest.DISCONNECT)
    assert outputs.CloseSocket(old.connection) in stage.log
    assert new.sid != old_sid
    gone = [p for u in ada.told("update") for p in u.participants if p.state == m.ParticipantInfo.DISCONNECTED]
    assert bool(gone) == told


def test_an_agent_that_joins_again_stays_the_same_participant(stage):
    ada = stage.join("ada")
    old = stage.join("bot", kind="agent")
    sid = old.sid
    new = stage.join("bot", kind="agent")
    assert old.told("leave")[0].reason == m.DisconnectReason.DUPLICATE_IDENTITY
    assert new.sid == sid and new.told("join")[0].participant.sid == sid
    told = [each.participants[0] for each in ada.told("update")]
    assert {each.sid for each in told} == {sid}
    assert m.ParticipantInfo.DISCONNECTED not in [each.state for each in told]
    versions = [each.version for each in told]
    assert versions == sorted(set(versions))
    stage.wait(100)
    assert new.member is not None and new.member.active
    person = stage.join("bot")
    assert person.sid != sid


def test_a_full_room_refuses_people_but_not_agents(make_stage):
    stage = make_stage(m.RoomConfiguration(max_participants=1))
    stage.join("ada")
    bob = stage.join("bob", connect=False)
    assert bob.told("leave")[0].reason == m.DisconnectReason.JOIN_FAILURE
    assert not bob.told("join") and outputs.CloseSocket(bob.connection) in stage.log
    assert stage.join("bot", kind="agent").told("join")


def test_a_participant_whose_media_never_connects_is_removed(stage):
    ada = stage.join("ada", connect=False)
    stage.wait(59)
    assert ada.member is not None
    stage.wait(2)
    assert ada.member is None
    assert ada.told("leave")[0].reason == m.DisconnectReason.JOIN_FAILURE
    assert "participant_connection_aborted" in announced(stage)


def test_a_socket_that_closes_before_the_media_connected_ends_the_participant(stage):
    ada = stage.join("ada", connect=False)
    peers = ada.member.link.peers
    ada.close_socket()
    assert stage.room.member("ada") is None
    assert [each.peer for each in stage.commands(outputs.ClosePeer)] == list(peers)


def test_a_lost_socket_keeps_the_participant_and_a_resume_gets_everything(stage):
    ada = stage.join("ada")
    bob = stage.join("bob")
    eve = stage.join("eve")
    sid, eve_sid = ada.sid, eve.sid
    ada.close_socket()
    assert stage.room.member("ada").sid == sid
    eve.send(leave=m.LeaveRequest())
    again = stage.join("ada", connect=False, reconnect=True, sid=sid)
    assert again.told("reconnect")[0].server_info.version == "1.9.0"
    updates = again.told("update")
    assert [(p.sid, p.state) for p in updates[0].participants] == [(eve_sid, m.ParticipantInfo.DISCONNECTED)]
    assert {p.identity for p in updates[1].participants} == {"ada", "bob"}
    assert again.told("room_update") and not again.told("join")
    assert bob.told("update")[-1].participants[0].identity == "eve"


def test_a_resume_in_dual_mode_restarts_the_subscriber(stage):
    ada = stage.join("ada", single=False)
    subscriber, sid = ada.member.link.subscriber, ada.sid
    ada.close_socket()
    stage.join("ada", single=False, connect=False, reconnect=True, sid=sid)
    assert stage.commands(outputs.CreateOffer)[-1] == outputs.CreateOffer(subscriber, ice_restart=True)


@pytest.mark.parametrize("sid", ["PA_nobody", ""])
def test_a_resume_of_nobody_is_told_to_begin_anew(stage, sid):
    ada = stage.join("ada", connect=False, reconnect=True, sid=sid)
    leave = ada.told("leave")[0]
    assert (leave.action, leave.reason) == (m.LeaveRequest.RECONNECT, m.DisconnectReason.STATE_MISMATCH)
    assert outputs.CloseSocket(ada.connection) in stage.log
    assert not stage.room.state.members


def test_a_resume_while_the_old_socket_still_seems_open_takes_over(stage):
    ada = stage.join("ada")
    again = stage.join("ada", connect=False, reconnect=True, sid=ada.sid)
    assert outputs.CloseSocket(ada.connection) in stage.log
    assert not ada.told("leave")
    stage.step(inputs.SocketClosed(ada.connection))
    assert again.member.link.connection == again.connection


def test_sync_state_with_an_unknown_track_means_a_full_reconnect(stage):
    ada = stage.join("ada")
    known = ada.publish("c1")
    published = m.TrackPublishedResponse(cid="c1", track=m.TrackInfo(sid=known))
    ada.send(sync_state=m.SyncState(publish_tracks=[published]))
    assert not ada.told("leave")
    published = m.TrackPublishedResponse(cid="c2", track=m.TrackInfo(sid="TR_other"))
    ada.send(sync_state=m.SyncState(publish_tracks=[published]))
    assert ada.told("leave")[0].action == m.LeaveRequest.RECONNECT


def test_a_failed_connection_may_resume_for_five_seconds(stage):
    ada = stage.join("ada")
    stage.step(engine.PeerState(ada.publisher, "failed", "ICE"))
    assert ada.told("leave")[0].action == m.LeaveRequest.RESUME
    assert outputs.CloseSocket(ada.connection) in stage.log
    ada.close_socket()
    stage.wait(4)
    assert stage.room.member("ada") is not None
    stage.wait(2)
    assert stage.room.member("ada") is None
    left = stage.commands(outputs.Announce)[-1]
    assert left.participant.disconnect_reason == m.DisconnectReason.CONNECTION_TIMEOUT


def test_a_failed_connection_that_comes_back_stays(stage):
    ada = stage.join("ada")
    sid, publisher = ada.sid, ada.publisher
    stage.step(engine.PeerState(publisher, "failed", "ICE"))
    ada.close_socket()
    stage.join("ada", connect=False, reconnect=True, sid=sid)
    stage.step(engine.PeerState(publisher, "connected", ""))
    stage.wait(60)
    assert stage.room.member("ada").sid == sid


def test_an_old_client_is_told_to_leave_in_its_own_words(stage):
    ada = stage.join("ada", protocol=12)
    stage.step(inputs.RemoveParticipant("ada"))
    leave = ada.told("leave")[0]
    assert leave.reason == m.DisconnectReason.PARTICIPANT_REMOVED and not leave.can_reconnect


def test_a_room_nobody_joins_ends_and_one_that_was_left_ends_sooner(make_stage):
    stage = make_stage()
    stage.wait(299)
    assert not stage.room.state.ended
    stage.wait(2)
    assert isinstance(stage.log[-1], outputs.RoomEnded)

    stage = make_stage()
    ada = stage.join("ada")
    stage.join("bot", kind="agent")
    stage.wait(1000)
    assert not stage.room.state.ended
    ada.send(leave=m.LeaveRequest())
    stage.wait(19)
    assert not stage.room.state.ended
    found = stage.wait(2)
    leaves = [each.message.leave for each in found if isinstance(each, outputs.SendSignal)]
    assert leaves[0].reason == m.DisconnectReason.ROOM_CLOSED
    assert stage.room.deadline is None


def test_closing_a_room_takes_everybody_and_everything(stage):
    ada, bob = stage.join("ada"), stage.join("bob", single=False)
    peers = set(ada.member.link.peers) | set(bob.member.link.peers)
    ada.publish()
    stage.step(inputs.CloseRoom(m.DisconnectReason.ROOM_DELETED))
    for actor in (ada, bob):
        assert actor.told("leave")[0].reason == m.DisconnectReason.ROOM_DELETED
    assert {each.peer for each in stage.commands(outputs.ClosePeer)} == peers
    state = stage.room.state
    assert not (state.members or state.tracks or state.by_peer or state.by_track or state.by_connection)
    assert stage.room.deadline is None
    assert stage.step(inputs.CloseRoom(m.DisconnectReason.ROOM_DELETED)) == []
    late = stage.join("late", connect=False)
    assert late.told("leave")[0].reason == m.DisconnectReason.JOIN_FAILURE


def test_pings_are_answered_with_the_time(stage):
    ada = stage.join("ada")
    ada.send(ping_req=m.Ping(timestamp=42, rtt=3))
    ada.send(ping=42)
    assert ada.told("pong_resp")[0].last_ping_timestamp == 42
    assert ada.told("pong")[0] == ada.told("pong_resp")[0].timestamp == 1_800_000_000_000


def test_a_token_is_refreshed_after_joining(stage):
    ada = stage.join("ada")
    assert stage.commands(outputs.RefreshToken) == [outputs.RefreshToken(ada.sid)]


def test_what_the_client_says_about_itself_wins_over_the_token(stage):
    claims = Claims(
        identity="ada",
        name="Ada",
        metadata="token",
        attributes={"a": "token", "b": "token"},
        video=VideoGrants(room_join=True, room="lab"),
    )
    parameters = JoinParameters(single=True, client=m.ClientInfo(), metadata="mine", attributes={"a": "mine"})
    stage.step(inputs.Join(1, claims, parameters))
    profile = stage.room.member("ada").profile
    assert (profile.metadata, profile.attributes) == ("mine", {"a": "mine", "b": "token"})


def test_a_signal_of_a_connection_that_is_gone_is_ignored(stage):
    ada = stage.join("ada")
    ada.send(leave=m.LeaveRequest())
    assert ada.send(ping=1) == []


def test_a_failed_engine_ends_the_room(stage):
    ada = stage.join("ada")
    stage.step(engine.EngineFailed(0, "panic"))
    assert ada.told("leave") and stage.room.state.ended


def test_a_connection_that_failed_inside_the_engine_ends_only_its_participant(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    stage.step(engine.EngineFailed(ada.publisher, "panic"))
    assert ada.told("leave")[0].action == m.LeaveRequest.RECONNECT
    assert bob.member is not None and not stage.room.state.ended


def test_an_agent_alone_does_not_keep_a_room_open_but_one_unseen_does(make_stage):
    stage = make_stage()
    stage.join("bot", kind="agent")
    stage.wait(301)
    assert stage.room.state.ended
    stage = make_stage()
    stage.join("spy", grants={"hidden": True})
    stage.wait(1000)
    assert not stage.room.state.ended


def test_counts_are_told_once_for_many_who_join_at_once(stage):
    ada = stage.join("ada")
    for number in range(10):
        stage.join(f"p{number}")
    stage.wait(2)
    assert [each.room.num_participants for each in ada.told("room_update")] == [11]


def test_in_a_crowd_arrivals_and_departures_are_told_together(stage):
    ada = stage.join("ada")
    crowd = [stage.join(f"p{number}") for number in range(100)]
    stage.wait(1)
    before = len(ada.told("update"))
    sids = [each.sid for each in crowd[:10]]
    for actor in crowd[:10]:
        actor.send(leave=m.LeaveRequest())
    late = stage.join("late")
    assert len(ada.told("update")) == before
    stage.wait(1)
    (update,) = ada.told("update")[before:]
    states = {each.sid: each.state for each in update.participants}
    assert states == {late.sid: m.ParticipantInfo.ACTIVE, **dict.fromkeys(sids, m.ParticipantInfo.DISCONNECTED)}


def test_whoever_publishes_in_a_crowd_is_told_of_at_once(stage):
    ada = stage.join("ada")
    for number in range(60):
        stage.join(f"p{number}")
    stage.wait(1)
    bob = stage.join("bob")
    bob.publish()
    assert ada.told("update")[-1].participants[0].identity == "bob"
    stage.wait(1)
    assert ada.told("update")[-1].participants[0].version == bob.member.version


def test_the_trailer_of_injected_frames_is_one_per_room(stage):
    first, second = (stage.join(name).told("join")[0].sif_trailer for name in ("ada", "bob"))
    assert first and first == second

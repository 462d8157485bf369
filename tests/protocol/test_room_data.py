import struct

import pytest

from greenroom import _engine as engine
from greenroom.protocol import inputs, outputs
from greenroom.wire import messages as m

RELIABLE, LOSSY = "_reliable", "_lossy"


def user(payload=b"hi", **fields):
    return m.DataPacket(user=m.UserPacket(payload=payload), **fields)


def sent(stage):
    """(peers, label, packet) of everything that went out on data channels."""
    found = []
    for each in stage.commands(outputs.SendData):
        packet = m.DataPacket()
        packet.ParseFromString(each.payload)
        found.append((each.peers, each.label, packet))
    return found


def test_data_goes_to_everybody_but_its_sender_and_says_who_sent_it(stage):
    ada, bob, eve = stage.join("ada"), stage.join("bob"), stage.join("eve", single=False)
    ada.data(RELIABLE, user())
    ((peers, label, packet),) = sent(stage)
    assert set(peers) == {bob.data_peer, eve.data_peer} and label == RELIABLE
    assert (packet.participant_sid, packet.participant_identity) == (ada.sid, "ada")
    assert (packet.user.participant_sid, packet.user.participant_identity) == (ada.sid, "ada")


@pytest.mark.parametrize(("label", "kind"), [(RELIABLE, m.DataPacket.RELIABLE), (LOSSY, m.DataPacket.LOSSY)])
def test_the_channel_decides_the_kind_whatever_the_client_says(stage, label, kind):
    ada = stage.join("ada")
    stage.join("bob")
    ada.data(label, user(kind=m.DataPacket.LOSSY if kind == m.DataPacket.RELIABLE else m.DataPacket.RELIABLE))
    ((_, sent_label, packet),) = sent(stage)
    assert (sent_label, packet.kind) == (label, kind)


def test_a_sender_cannot_pretend_to_be_another(stage):
    ada = stage.join("ada")
    bob = stage.join("bob")
    packet = user(participant_identity="bob", participant_sid=bob.sid)
    packet.user.participant_identity = "bob"
    ada.data(RELIABLE, packet)
    ((_, _, out),) = sent(stage)
    assert out.participant_identity == out.user.participant_identity == "ada"
    assert out.participant_sid == ada.sid


def test_an_agent_may_speak_for_another_in_text_but_not_in_data(stage):
    bot = stage.join("bot", kind="agent")
    stage.join("ada")
    header = m.DataStream.Header(text_header=m.DataStream.TextHeader())
    bot.data(RELIABLE, m.DataPacket(participant_identity="ada", stream_header=header))
    bot.data(RELIABLE, m.DataPacket(participant_identity="ada", chat_message=m.ChatMessage(message="x")))
    bot.data(RELIABLE, user(participant_identity="ada"))
    stream, chat, data = (packet for _, _, packet in sent(stage))
    assert stream.participant_identity == chat.participant_identity == "ada"
    assert stream.stream_header.text_header.generated and chat.chat_message.generated
    assert data.participant_identity == "bot"


def test_destinations_by_identity_and_by_sid(stage):
    ada, bob, eve = stage.join("ada"), stage.join("bob"), stage.join("eve")
    ada.data(RELIABLE, user(destination_identities=["bob", "ada", "nobody"]))
    old = user()
    old.user.destination_sids.append(eve.sid)
    ada.data(RELIABLE, old)
    nested = user()
    nested.user.destination_identities.append("bob")
    ada.data(RELIABLE, nested)
    assert [peers for peers, _, _ in sent(stage)] == [(bob.data_peer,), (eve.data_peer,), (bob.data_peer,)]
    assert list(sent(stage)[0][2].user.destination_identities) == ["bob", "ada", "nobody"]
    assert list(sent(stage)[2][2].destination_identities) == ["bob"]


def test_sequence_numbers_pass_and_repeats_are_dropped(stage):
    ada = stage.join("ada")
    stage.join("bob")
    for sequence in (1, 2, 2, 1, 3):
        ada.data(RELIABLE, user(sequence=sequence))
    assert [packet.sequence for _, _, packet in sent(stage)] == [1, 2, 3]
    sid = ada.sid
    ada.close_socket()
    again = stage.join("ada", connect=False, reconnect=True, sid=sid)
    assert again.told("reconnect")[0].last_message_seq == 3


def test_without_the_grant_nothing_is_sent(stage):
    ada = stage.join("ada", grants={"can_publish_data": False})
    stage.join("bob")
    ada.data(RELIABLE, user())
    assert not sent(stage)


@pytest.mark.parametrize(
    "packet",
    [
        m.DataPacket(),
        m.DataPacket(speaker=m.ActiveSpeakerUpdate()),
        m.DataPacket(transcription=m.Transcription(track_id="x")),
    ],
)
def test_packets_that_only_others_may_send_are_dropped(stage, packet):
    ada = stage.join("ada")
    stage.join("bob")
    ada.data(RELIABLE, packet)
    assert not sent(stage)


def test_junk_is_dropped_and_unknown_fields_pass(stage):
    ada = stage.join("ada")
    stage.join("bob")
    stage.step(engine.Data(ada.publisher, RELIABLE, b"\xff\xff\xff"))
    assert not sent(stage)
    unknown = b"\xfa\x3f\x03abc"
    stage.step(engine.Data(ada.publisher, RELIABLE, user().SerializeToString() + unknown))
    assert unknown in stage.commands(outputs.SendData)[0].payload


def test_a_hidden_sender_stays_unknown(stage):
    spy = stage.join("spy", grants={"hidden": True})
    stage.join("bob")
    spy.data(RELIABLE, user())
    ((_, _, packet),) = sent(stage)
    assert (packet.participant_sid, packet.participant_identity, packet.user.participant_identity) == ("", "", "")


def test_bytes_on_a_channel_of_the_users_own_become_a_user_packet(stage):
    ada = stage.join("ada")
    stage.join("bob")
    stage.step(engine.Data(ada.publisher, "mine", b"raw"))
    ((_, label, packet),) = sent(stage)
    assert (label, packet.user.payload, packet.user.participant_identity) == (RELIABLE, b"raw", "ada")


def test_reliable_data_waits_for_a_joiner_whose_channels_are_not_open(stage):
    ada = stage.join("ada")
    bob = stage.join("bob", connect=False)
    ada.data(RELIABLE, user(b"1", sequence=1))
    ada.data(LOSSY, user(b"lossy"))
    ada.data(RELIABLE, user(b"2", sequence=2))
    assert not sent(stage)
    bob.connect()
    assert [(peers, packet.user.payload) for peers, _, packet in sent(stage)] == [
        ((bob.data_peer,), b"1"),
        ((bob.data_peer,), b"2"),
    ]


def test_what_waits_for_a_joiner_is_bounded(make_stage):
    stage = make_stage()
    ada = stage.join("ada")
    bob = stage.join("bob", connect=False)
    for _ in range(100):
        ada.data(RELIABLE, user(bytes(10_000)))
    assert sum(map(len, bob.member.link.held)) <= 100_000


def test_the_server_sends_data_to_whom_it_names(stage):
    stage.join("ada")
    bob = stage.join("bob")
    stage.step(inputs.SendServerData(user(b"from above", kind=m.DataPacket.LOSSY, destination_identities=["bob"])))
    ((peers, label, packet),) = sent(stage)
    assert (peers, label, packet.participant_identity) == ((bob.data_peer,), LOSSY, "")


# -- calls from the API ----------------------------------------------------------------------------------------------


def answered(stage):
    return [
        (each.request_id, each.payload, each.error and each.error.code) for each in stage.commands(outputs.RpcAnswered)
    ]


def call(stage, timeout=10.0):
    stage.step(inputs.CallRpc("call", "ada", "method", "payload", timeout))


def test_a_call_of_the_api_gets_its_answer_and_nobody_else_does(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    call(stage)
    ((peers, _, packet),) = sent(stage)
    assert peers == (ada.data_peer,) and packet.rpc_request.method == "method"
    ada.data(RELIABLE, m.DataPacket(rpc_ack=m.RpcAck(request_id="call"), destination_identities=["call"]))
    ada.data(RELIABLE, m.DataPacket(rpc_response=m.RpcResponse(request_id="call", payload="ok")))
    assert answered(stage) == [("call", "ok", None)]
    assert len(sent(stage)) == 1 and bob
    stage.wait(60)
    assert len(answered(stage)) == 1


def test_calls_of_the_api_fail_with_the_codes_clients_know(stage):
    stage.join("ada")
    call(stage)
    stage.wait(2.5)
    assert answered(stage)[-1] == ("call", "", 1501)
    call(stage)
    ada = stage.join("ada")
    ada.data(RELIABLE, m.DataPacket(rpc_ack=m.RpcAck(request_id="call")))
    stage.wait(11)
    assert answered(stage)[-1] == ("call", "", 1502)
    call(stage)
    error = m.RpcError(code=1400, message="no")
    ada.data(RELIABLE, m.DataPacket(rpc_response=m.RpcResponse(request_id="call", error=error)))
    assert answered(stage)[-1] == ("call", "", 1400)


def test_the_calls_of_participants_are_only_passed_on(stage):
    ada = stage.join("ada")
    bob = stage.join("bob")
    response = m.DataPacket(rpc_response=m.RpcResponse(request_id="theirs"), destination_identities=["bob"])
    ada.data(RELIABLE, response)
    assert [peers for peers, _, _ in sent(stage)] == [(bob.data_peer,)]


# -- data tracks -----------------------------------------------------------------------------------------------------


def frame(handle, payload=b"payload"):
    return struct.pack(">BBHHHI", 0b00011000, 0, handle, 1, 1, 0) + payload


def test_a_data_track_is_announced_subscribed_to_and_carried(stage):
    ada, bob, eve = stage.join("ada"), stage.join("bob"), stage.join("eve")
    ada.send(publish_data_track_request=m.PublishDataTrackRequest(pub_handle=7, name="points"))
    info = ada.told("publish_data_track_response")[0].info
    assert info.sid.startswith("DTR_") and (info.pub_handle, info.name) == (7, "points")
    assert bob.told("update")[-1].participants[0].data_tracks[0].sid == info.sid
    update = m.UpdateDataSubscription.Update(track_sid=info.sid, subscribe=True)
    bob.send(update_data_subscription=m.UpdateDataSubscription(updates=[update]))
    ((handle, entry),) = bob.told("data_track_subscriber_handles")[0].sub_handles.items()
    assert (entry.publisher_identity, entry.publisher_sid, entry.track_sid) == ("ada", ada.sid, info.sid)
    stage.step(engine.Data(ada.publisher, "_data_track", frame(7)))
    (command,) = stage.commands(outputs.SendData)
    assert command == outputs.SendData((bob.data_peer,), "_data_track", frame(handle))
    assert eve
    ada.send(unpublish_data_track_request=m.UnpublishDataTrackRequest(pub_handle=7))
    assert not bob.told("update")[-1].participants[0].data_tracks
    assert not bob.told("data_track_subscriber_handles")[-1].sub_handles


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([(0, "a")], m.RequestResponse.INVALID_HANDLE),
        ([(70_000, "a")], m.RequestResponse.INVALID_HANDLE),
        ([(1, "")], m.RequestResponse.INVALID_NAME),
        ([(1, "x" * 257)], m.RequestResponse.INVALID_NAME),
        ([(1, "a"), (1, "b")], m.RequestResponse.DUPLICATE_HANDLE),
        ([(1, "a"), (2, "a")], m.RequestResponse.DUPLICATE_NAME),
        ([(each, str(each)) for each in range(1, 102)], m.RequestResponse.LIMIT_EXCEEDED),
    ],
)
def test_data_tracks_that_cannot_be_are_refused_with_the_reason(stage, requests, reason):
    ada = stage.join("ada")
    for handle, name in requests:
        ada.send(publish_data_track_request=m.PublishDataTrackRequest(pub_handle=handle, name=name))
    assert ada.told("request_response")[-1].reason == reason
    assert len(ada.member.data_tracks) == len(requests) - 1


@pytest.mark.parametrize("packet", [b"", b"\x00" * 11, b"\xff" * 40, frame(8)])
def test_frames_of_nothing_published_go_nowhere(stage, packet):
    ada = stage.join("ada")
    ada.send(publish_data_track_request=m.PublishDataTrackRequest(pub_handle=7, name="points"))
    stage.step(engine.Data(ada.publisher, "_data_track", packet))
    assert not stage.commands(outputs.SendData)


def test_whoever_leaves_takes_its_data_tracks_and_subscriptions_along(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    ada.send(publish_data_track_request=m.PublishDataTrackRequest(pub_handle=7, name="points"))
    update = m.UpdateDataSubscription.Update(track_sid=ada.member.data_tracks[7].info.sid, subscribe=True)
    bob.send(update_data_subscription=m.UpdateDataSubscription(updates=[update]))
    track = ada.member.data_tracks[7]
    bob.send(leave=m.LeaveRequest())
    assert not track.handles
    carol = stage.join("carol")
    carol.send(update_data_subscription=m.UpdateDataSubscription(updates=[update]))
    ada.send(leave=m.LeaveRequest())
    assert not carol.told("data_track_subscriber_handles")[-1].sub_handles


def test_data_tracks_come_by_themselves_to_whoever_asked_for_that(stage):
    ada = stage.join("ada")
    early = stage.join("early", auto_subscribe_data_track=True)
    ada.send(publish_data_track_request=m.PublishDataTrackRequest(pub_handle=7, name="points"))
    late = stage.join("late", auto_subscribe_data_track=True)
    for actor in (early, late):
        assert len(actor.told("data_track_subscriber_handles")[-1].sub_handles) == 1


def test_a_message_of_the_server_that_is_repeated_is_sent_once(stage):
    stage.join("ada")
    for nonce in (b"n" * 16, b"n" * 16, b"m" * 16, b"", b""):
        packet = m.DataPacket(user=m.UserPacket(payload=b"x", nonce=nonce))
        stage.step(inputs.SendServerData(packet))
    assert len(sent(stage)) == 4

import pytest

from greenroom.protocol import inputs, outputs
from greenroom.wire import messages as m
from tests.protocol.conftest import section


def test_a_participant_changes_itself_and_everybody_is_told(stage):
    ada, bob = stage.join("ada", grants={"can_update_own_metadata": True}), stage.join("bob")
    before = len(stage.commands(outputs.RefreshToken))
    ada.send(
        update_metadata=m.UpdateParticipantMetadata(
            metadata="m", name="Ada", attributes={"a": "1", "b": "2"}, request_id=5
        )
    )
    ada.send(update_metadata=m.UpdateParticipantMetadata(attributes={"a": "", "c": "3"}, request_id=6))
    for actor in (ada, bob):
        info = actor.told("update")[-1].participants[0]
        assert (info.name, info.metadata, dict(info.attributes)) == ("Ada", "m", {"b": "2", "c": "3"})
    assert [(each.request_id, each.reason) for each in ada.told("request_response")] == [(5, 0), (6, 0)]
    assert len(stage.commands(outputs.RefreshToken)) == before + 2


def test_an_old_client_gets_no_answer_when_all_is_well(stage):
    ada = stage.join("ada", protocol=14, grants={"can_update_own_metadata": True})
    ada.send(update_metadata=m.UpdateParticipantMetadata(metadata="m", request_id=5))
    assert not ada.told("request_response") and ada.told("update")


def test_without_the_grant_a_participant_changes_nothing(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    before = len(bob.told("update"))
    ada.send(update_metadata=m.UpdateParticipantMetadata(metadata="m", request_id=5))
    response = ada.told("request_response")[0]
    assert (response.request_id, response.reason) == (5, m.RequestResponse.NOT_ALLOWED)
    assert len(bob.told("update")) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": "x" * (512 * 1024 + 1)},
        {"metadata": "ü" * (256 * 1024 + 1)},
        {"name": "x" * 257},
        {"attributes": {"a": "x" * 65_537}},
    ],
)
def test_what_is_too_large_is_refused(stage, fields):
    ada = stage.join("ada", grants={"can_update_own_metadata": True})
    ada.send(update_metadata=m.UpdateParticipantMetadata(request_id=1, **fields))
    assert ada.told("request_response")[0].reason == m.RequestResponse.LIMIT_EXCEEDED


def test_attributes_cannot_grow_beyond_the_limit_bit_by_bit(stage):
    ada = stage.join("ada", grants={"can_update_own_metadata": True})
    for number in range(20):
        update = m.UpdateParticipantMetadata(request_id=number, attributes={str(number): "x" * 5000})
        ada.send(update_metadata=update)
    reasons = {each.reason for each in ada.told("request_response")}
    assert m.RequestResponse.LIMIT_EXCEEDED in reasons
    assert sum(map(len, ada.member.profile.attributes.values())) <= 64 * 1024


def test_removing_a_participant_tells_it_and_the_others(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    stage.step(inputs.RemoveParticipant("ada"))
    leave = ada.told("leave")[0]
    assert (leave.action, leave.reason) == (m.LeaveRequest.DISCONNECT, m.DisconnectReason.PARTICIPANT_REMOVED)
    assert outputs.CloseSocket(ada.connection) in stage.log
    assert bob.told("update")[-1].participants[0].disconnect_reason == m.DisconnectReason.PARTICIPANT_REMOVED
    assert stage.step(inputs.RemoveParticipant("nobody")) == []


def test_muting_through_the_api_tells_the_client(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish()
    stage.step(inputs.MutePublishedTrack("ada", sid, True))
    assert (ada.told("mute")[0].sid, ada.told("mute")[0].muted) == (sid, True)
    assert bob.told("update")[-1].participants[0].tracks[0].muted


def test_taking_the_right_to_publish_takes_the_tracks(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sound = ada.publish("c1", mid="7")
    picture = ada.announce("c2", m.TrackType.VIDEO, m.TrackSource.CAMERA)
    ada.negotiate(section("7", "audio", "c1"), section("8", "video", "c2"))
    permission = m.ParticipantPermission(
        can_subscribe=True, can_publish=True, can_publish_sources=[m.TrackSource.CAMERA]
    )
    stage.step(inputs.UpdateParticipant(identity="ada", permission=permission))
    assert [each.track_sid for each in ada.told("track_unpublished")] == [sound]
    assert [each.sid for each in bob.told("update")[-1].participants[0].tracks] == [picture.sid]
    assert not ada.told("update")[-1].participants[0].permission.can_publish_data


def test_taking_and_giving_the_right_to_subscribe(stage):
    ada, bob = stage.join("ada"), stage.join("bob")
    sid = ada.publish()
    stage.step(inputs.UpdateParticipant(identity="bob", permission=m.ParticipantPermission(can_publish=True)))
    assert not bob.member.subscriptions.active and stage.commands(outputs.Unsubscribe)
    stage.step(inputs.UpdateParticipant(identity="bob", permission=m.ParticipantPermission(can_subscribe=True)))
    assert list(bob.member.subscriptions.active) == [sid]


def test_subscriptions_through_the_api(stage):
    ada = stage.join("ada")
    bob = stage.join("bob", auto_subscribe=False)
    sid = ada.publish()
    stage.step(inputs.UpdateSubscriptions("bob", (sid,), True))
    assert list(bob.member.subscriptions.active) == [sid]
    stage.step(inputs.UpdateSubscriptions("bob", (sid,), False))
    assert not bob.member.subscriptions.active


def test_the_rooms_metadata_and_settings(stage):
    ada = stage.join("ada")
    stage.step(inputs.UpdateRoomMetadata("first"))
    assert ada.told("room_update")[-1].room.metadata == "first"
    stage.step(inputs.ConfigureRoom(m.RoomConfiguration(max_participants=9, metadata="second")))
    info = ada.told("room_update")[-1].room
    assert (info.metadata, stage.room.info().max_participants, stage.room.info().empty_timeout) == ("second", 9, 300)


def test_agents_and_hidden_ones_are_not_counted(stage):
    ada = stage.join("ada")
    stage.join("bot", kind="agent")
    stage.join("spy", grants={"hidden": True})
    ada.publish()
    info = stage.room.info()
    assert (info.num_participants, info.num_publishers) == (1, 1)
    assert not info.active_recording
    stage.join("rec", grants={"recorder": True})
    assert stage.room.info().active_recording


def test_tokens_are_refreshed_every_five_minutes(stage):
    ada = stage.join("ada")
    before = len(stage.commands(outputs.RefreshToken))
    stage.wait(610)
    assert stage.commands(outputs.RefreshToken)[before:] == [outputs.RefreshToken(ada.sid)] * 2

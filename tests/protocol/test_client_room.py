"""The client's picture of a room follows the server's updates, and tells them in an order a program can rely on."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.protocol import client_io as io
from greenroom.protocol.client_room import RoomView
from greenroom.wire import messages as m

ACTIVE = m.ParticipantInfo.State.ACTIVE
GONE = m.ParticipantInfo.State.DISCONNECTED


def person(identity: str, sid: str = "", *, tracks: tuple[str, ...] = (), version: int = 1, **fields: object):
    info = m.ParticipantInfo(sid=sid or f"PA_{identity}", identity=identity, version=version, state=ACTIVE)
    for name, value in fields.items():
        if name == "attributes":
            info.attributes.update(value)
        else:
            setattr(info, name, value)
    for track in tracks:
        info.tracks.add(sid=track, name=track.lower())
    return info


def view(*others: m.ParticipantInfo) -> RoomView:
    join = m.JoinResponse(room=m.Room(sid="RM_1", name="lobby"), participant=person("me"), other_participants=others)
    return RoomView(join)


def update(room: RoomView, *infos: m.ParticipantInfo) -> list[io.Output]:
    return list(room.participants_changed(infos))


def kinds(outputs: list[io.Output]) -> list[str]:
    return [type(output).__name__ for output in outputs]


def test_those_already_there_are_known_without_events():
    room = view(person("ada", tracks=("TR_1",)))
    assert set(room.remotes) == {"ada"}
    assert room.track("TR_1")[0] == "ada"


def test_a_participant_is_told_before_its_tracks():
    told = update(view(), person("ada", tracks=("TR_1", "TR_2")))
    assert kinds(told) == ["ParticipantConnected", "TrackPublished", "TrackPublished", "ParticipantActive"]


def test_a_leaving_participant_loses_its_tracks_first():
    room = view(person("ada", tracks=("TR_1",)))
    gone = person("ada", state=GONE, disconnect_reason=4)
    assert update(room, gone) == [io.TrackUnpublished("ada", "TR_1"), io.ParticipantDisconnected("ada", 4)]
    assert room.remotes == {}


def test_a_second_farewell_is_not_told_again():
    room = view(person("ada"))
    update(room, person("ada", state=GONE))
    assert update(room, person("ada", state=GONE)) == []


def test_the_same_identity_with_a_new_sid_is_a_new_participant():
    room = view(person("ada", "PA_old", tracks=("TR_old",)))
    told = update(room, person("ada", "PA_new", tracks=("TR_new",)))
    assert kinds(told)[:3] == ["TrackUnpublished", "ParticipantDisconnected", "ParticipantConnected"]
    assert room.track("TR_new") is not None and room.track("TR_old") is None


def test_the_farewell_of_an_older_session_does_not_remove_the_new_one():
    room = view(person("ada", "PA_new"))
    assert update(room, person("ada", "PA_old", state=GONE)) == []
    assert "ada" in room.remotes


def test_an_older_description_is_ignored():
    room = view(person("ada", version=5, name="new"))
    assert update(room, person("ada", version=4, name="old")) == []
    assert room.remotes["ada"].name == "new"


def test_only_what_changed_is_told():
    room = view(person("ada", metadata="a", attributes={"x": "1", "y": "2", "z": "3"}))
    told = update(room, person("ada", version=2, metadata="b", attributes={"x": "1", "y": "5"}))
    assert told == [io.MetadataChanged("ada", "a", "b"), io.AttributesChanged("ada", {"y": "5", "z": ""})]


def test_mute_and_other_changes_of_a_track_are_told_apart():
    room = view(person("ada", tracks=("TR_1",)))
    muted = person("ada", tracks=("TR_1",), version=2)
    muted.tracks[0].muted = True
    assert update(room, muted) == [io.TrackUpdated("ada", muted.tracks[0]), io.TrackMuted("ada", "TR_1", True)]


def test_a_hidden_echo_of_ourselves_is_no_participant():
    room = view()
    told = update(room, person("me", version=2, name="Me"))
    assert told == [io.NameChanged("me", "", "Me")]
    assert room.remotes == {}


def test_who_is_not_named_while_resuming_has_left():
    room = view(person("ada"), person("bob"))
    room.begin_reconcile()
    update(room, person("bob", version=2))
    assert list(room.end_reconcile()) == [io.ParticipantDisconnected("ada", 0)]
    assert set(room.remotes) == {"bob"}


def test_the_loudest_speaker_is_last_and_silence_is_told():
    room = view(person("ada"), person("bob"))
    loud = [m.SpeakerInfo(sid="PA_ada", level=0.9, active=True), m.SpeakerInfo(sid="PA_bob", level=0.2, active=True)]
    (told,) = room.speakers_changed(loud)
    assert [identity for identity, _ in told.speakers] == ["bob", "ada"]
    (told,) = room.speakers_changed([m.SpeakerInfo(sid="PA_ada", active=False)])
    assert [identity for identity, _ in told.speakers] == ["bob"]
    assert told.levels == (("ada", 0.0),)


NAMES = ("ada", "bob", "cid")


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.sets(st.integers(0, 3)), st.booleans())))
@settings(max_examples=200)
def test_any_sequence_of_updates_is_told_consistently(steps):
    """Each participant before its tracks, each track once, nothing left behind: for any updates in any order."""
    room = view()
    present: dict[str, set[str]] = {}
    for version, (name, session, numbers, leaves) in enumerate(steps):
        tracks = tuple(f"TR_{name}{session}{number}" for number in numbers)
        info = person(name, f"PA_{name}{session}", tracks=tracks, version=version)
        if leaves:
            info.state = GONE
        for output in update(room, info):
            match output:
                case io.ParticipantConnected(info=joined):
                    assert joined.identity not in present
                    present[joined.identity] = set()
                case io.TrackPublished(identity=identity, track=track):
                    assert track.sid not in present[identity]
                    present[identity].add(track.sid)
                case io.TrackUnpublished(identity=identity, sid=sid):
                    present[identity].remove(sid)
                case io.ParticipantDisconnected(identity=identity):
                    assert present.pop(identity) == set()
        assert {name: {track.sid for track in info.tracks} for name, info in room.remotes.items()} == present


def test_every_track_of_a_shuffled_crowd_is_found():
    people = [person(f"p{number}", tracks=(f"TR_{number}",)) for number in range(50)]
    random.Random(1).shuffle(people)
    room = view()
    update(room, *people)
    assert all(room.track(f"TR_{number}")[0] == f"p{number}" for number in range(50))

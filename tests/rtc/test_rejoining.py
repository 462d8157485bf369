"""What a program published is there again after its room was joined anew, as the same objects."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import rtc

from .conftest import Studio, Tone, until

pytestmark = pytest.mark.loopback


async def rejoin(room: rtc.Room) -> None:
    back = asyncio.ensure_future(room.wait_for("reconnected", timeout=30))
    await asyncio.sleep(0)
    await room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
    await back


def announced(room: rtc.Room, identity: str) -> list[str]:
    """The tracks that a room knows of somebody."""
    one = room.remote_participants.get(identity)
    return list(one.track_publications) if one else []


async def test_a_data_track_is_published_again_under_a_new_sid(studio: Studio):
    ada, bob = await studio.pair()
    seen: list[rtc.RemoteDataTrack] = []
    bob.on("data_track_published", seen.append)
    mine = await ada.local_participant.publish_data_track(name="positions")
    gone = await ada.local_participant.publish_data_track(name="gone")
    await gone.unpublish()
    sid = mine.info.sid
    await until(lambda: "positions" in [track.info.name for track in seen])
    seen.clear()
    await rejoin(ada)
    assert mine.is_published() and mine.info.sid != sid
    await until(lambda: seen)
    (theirs,) = seen
    assert (theirs.info.name, theirs.info.sid) == ("positions", mine.info.sid)
    stream = theirs.subscribe()
    reading = asyncio.ensure_future(anext(stream))
    while not reading.done():
        mine.try_push(rtc.DataTrackFrame(b"here"))
        await asyncio.wait([reading], timeout=0.02)
    assert reading.result().payload == b"here"


async def test_a_track_that_was_published_again_is_muted_as_the_object_the_program_has(studio: Studio):
    ada, bob = await studio.pair()
    muted: list[object] = []
    ada.on("track_muted", lambda participant, publication: muted.append(publication))
    async with Tone() as tone:
        publication = await ada.local_participant.publish_track(tone.track)
        await rejoin(ada)
        tone.track.mute()
        assert muted == [publication] and publication.muted
        await until(lambda: "ada" in bob.remote_participants)
        theirs = bob.remote_participants["ada"].track_publications
        await until(lambda: publication.sid in theirs and theirs[publication.sid].muted)


async def test_what_is_unpublished_while_it_is_published_again_stays_away(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone() as tone:
        publication = await ada.local_participant.publish_track(tone.track)
        old_sid = publication.sid
        unpublished: list[object] = []
        ada.on("local_track_unpublished", unpublished.append)
        # The others are announced when the room is joined anew, before tracks are published again.
        ada.on("participant_connected", lambda _: asyncio.ensure_future(ada.local_participant.unpublish_track(old_sid)))
        await rejoin(ada)
        assert unpublished == [publication]
        assert dict(ada.local_participant.track_publications) == {}
        await ada.local_participant.publish_track(tone.track)
        await until(lambda: announced(bob, "ada") == list(ada.local_participant.track_publications))


async def test_tracks_survive_a_second_loss_while_they_are_published_again(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone() as first, Tone(880) as second:
        publications = [await ada.local_participant.publish_track(tone.track) for tone in (first, second)]
        again: list[object] = []
        ada.on("local_track_republished", lambda publication, _: again.append(publication))
        back = asyncio.ensure_future(ada.wait_for("reconnected", timeout=40))
        await asyncio.sleep(0)
        await ada.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await until(lambda: again)
        await ada.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await back
        await until(lambda: len(ada.local_participant.track_publications) == 2)
        assert set(ada.local_participant.track_publications.values()) == set(publications)
        await until(lambda: set(announced(bob, "ada")) == set(ada.local_participant.track_publications))


async def test_reconnecting_is_told_before_the_others_are_gone(studio: Studio):
    ada, _ = await studio.pair()
    events: list[str] = []
    for name in ("reconnecting", "participant_disconnected", "participant_connected", "reconnected"):
        ada.on(name, lambda *_, name=name: events.append(name))
    await rejoin(ada)
    assert events == ["reconnecting", "participant_disconnected", "participant_connected", "reconnected"]

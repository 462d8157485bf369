"""What a browser and Python learn of each other through our server, apart from media."""

from __future__ import annotations

import asyncio

import pytest

from tests.interop.browser.chromium import PageError
from tests.interop.browser.judge import joined, publishing, tone


async def event(room, name):
    """The arguments of the room's next event of that name."""
    happened = asyncio.get_running_loop().create_future()
    room.on(name, lambda *args: happened.done() or happened.set_result(args))
    return happened


async def test_both_learn_who_is_there_and_who_leaves(new_page, server, sdk):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"))
    async with joined(sdk, server.url, server.token("python", "room")) as room:
        assert list(room.remote_participants) == ["chromium"]
        await page.event("participant_connected", identity="python")
        left = await event(room, "participant_disconnected")
        await page.call("disconnect")
        (participant,) = await asyncio.wait_for(left, 10)
        assert participant.identity == "chromium"
    other = await new_page()
    await other.call("connect", server.url, server.token("second", "room"))
    await other.until("participants", accept=lambda there: there == [])


@pytest.mark.parametrize("reliable", [True, False])
async def test_data_goes_both_ways(new_page, server, sdk, single, reliable):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"), {"singlePeerConnection": single})
    async with joined(sdk, server.url, server.token("python", "room"), single=single) as room:
        received = await event(room, "data_received")
        await page.event("participant_active", identity="python")
        await page.call("sendText", "from the page", {"reliable": reliable, "topic": "greetings"})
        for _ in range(50):
            # What is lossy may be lost, above all while the channel that it goes through opens.
            if reliable or (await asyncio.wait([received], timeout=0.2))[0]:
                break
            await page.call("sendText", "from the page", {"reliable": reliable, "topic": "greetings"})
        (packet,) = await asyncio.wait_for(received, 10)
        assert (packet.data, packet.topic, packet.participant.identity) == (b"from the page", "greetings", "chromium")
        await room.local_participant.publish_data("from python", reliable=reliable, topic="answers")
        await page.event("data_received", text="from python", topic="answers", identity="python")


async def test_muting_is_told(new_page, server, sdk):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"))
    async with joined(sdk, server.url, server.token("python", "room")) as room:
        subscribed = await event(room, "track_subscribed")
        muted, unmuted = await event(room, "track_muted"), await event(room, "track_unmuted")
        await page.call("publishTone", 500)
        await asyncio.wait_for(subscribed, 20)
        await page.call("setMuted", "audio", True)
        participant, publication = await asyncio.wait_for(muted, 10)
        assert participant.identity == "chromium" and publication.muted
        await page.call("setMuted", "audio", False)
        await asyncio.wait_for(unmuted, 10)


async def test_unpublishing_ends_the_track(new_page, server, sdk):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"))
    async with joined(sdk, server.url, server.token("python", "room")) as room:
        async with publishing(sdk, room, colour=(90, 90, 90), frequency=440) as (audio, video):
            await page.until("sound", audio.sid, accept=tone(440))
            await room.local_participant.unpublish_track(audio.sid)
            await page.event("track_unsubscribed", sid=audio.sid)
            await page.event("track_unpublished", sid=audio.sid)
            (python,) = await page.call("participants")
            assert [track["sid"] for track in python["tracks"]] == [video.sid]


async def test_attributes_and_metadata_are_told(new_page, server, sdk):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"))
    token = server.token("python", "room")
    async with joined(sdk, server.url, token) as room:
        changed = await event(room, "participant_attributes_changed")
        await page.event("participant_connected", identity="python")
        await page.call("setAttributes", {"mood": "curious"})
        attributes, participant = await asyncio.wait_for(changed, 10)
        assert attributes == {"mood": "curious"} and participant.attributes["mood"] == "curious"
        await room.local_participant.set_metadata("about me")
        await page.event("participant_metadata_changed", metadata="about me", identity="python")


async def test_who_speaks_is_told(new_page, server, sdk):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"))
    async with joined(sdk, server.url, server.token("python", "room")) as room:
        async with publishing(sdk, room, colour=(90, 90, 90), frequency=440):
            await page.event("active_speakers_changed", identities=["python"])


async def test_the_same_identity_joins_once(new_page, server):
    first, second = await new_page(), await new_page()
    await first.call("connect", server.url, server.token("twin", "room"))
    await second.call("connect", server.url, server.token("twin", "room"))
    duplicate_identity = 2
    await first.event("disconnected", reason=duplicate_identity)
    assert await second.call("participants") == []


async def test_a_token_of_another_key_is_refused_with_the_reason(new_page, server):
    page = await new_page()
    header, payload, _ = server.token("nobody", "room").split(".")
    with pytest.raises(PageError, match=r"(?i)invalid|401|unauthorized"):
        await page.call("connect", server.url, f"{header}.{payload}.{'A' * 43}")

"""Our client and the official one through livekit-server: sound, pictures, subscriptions."""

# ruff: noqa: F401, F811 - fixtures are imported

import asyncio

import pytest

from tests.interop.livekit_server import OURS, PAIRS, Lab, colour, hear, lab, livekit, running, see, tone
from tests.interop.official import close

GREEN = (30, 180, 60)
RED = (200, 40, 40)
# The official publisher mixes stereo down on this server, and sends nothing when its program gives it only one picture.
OUR_PUBLISHERS = pytest.mark.parametrize(
    ("here", "there"), [("single", "official"), ("dual", "official"), ("single", "dual")]
)


@PAIRS
async def test_a_tone_is_heard_at_its_level(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        async with tone(ada, 440) as publication:
            [(frequency, level)] = await hear(bob, await bob.remote_track("tone"))
            await asyncio.wait_for(publication.wait_for_subscription(), 5)
    assert abs(frequency - 440) < 5
    assert 8_000 < level < 12_000


@OUR_PUBLISHERS
async def test_stereo_stays_apart(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        async with tone(ada, 440, 1000):
            [(left, _), (right, _)] = await hear(bob, await bob.remote_track("tone"), channels=2)
    assert abs(left - 440) < 15 and abs(right - 1000) < 15, (left, right)


@PAIRS
@pytest.mark.parametrize("red", [True, False], ids=["red", "plain"])
async def test_with_redundancy_and_without(lab, here, there, red):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        async with tone(ada, 700, red=red, dtx=not red):
            [(frequency, _)] = await hear(bob, await bob.remote_track("tone"))
            mime = bob.publication("ada", "tone").mime_type.lower()
    assert abs(frequency - 700) < 5
    assert mime == ("audio/red" if red else "audio/opus")


@PAIRS
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_colour_is_seen(lab, here, there, codec):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        async with colour(ada, GREEN, video_codec=codec, simulcast=False, size=(320, 240)):
            seen, size = await see(bob, await bob.remote_track("picture"))
            mime = bob.publication("ada", "picture").mime_type.lower()
    assert close(seen, GREEN), seen
    assert (size, mime) == ((320, 240), f"video/{codec.lower()}")


@PAIRS
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_subscriber_chooses_among_three_layers(lab, here, there, codec):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        async with colour(ada, GREEN, size=(1280, 720), video_codec=codec):
            track = await bob.remote_track("picture")
            await see(bob, track, size=(1280, 720))
            publication = bob.publication("ada", "picture")
            quality = bob.rtc.VideoQuality
            publication.set_video_quality(quality.VIDEO_QUALITY_LOW)
            small, _ = await see(bob, track, size=(320, 180))
            publication.set_video_quality(quality.VIDEO_QUALITY_HIGH)
            large, _ = await see(bob, track, size=(1280, 720))
    assert close(small, GREEN) and close(large, GREEN), (small, large)


@OUR_PUBLISHERS
async def test_whoever_comes_late_sees_a_still_picture(lab, here, there):
    async with lab.joined("ada", here) as ada, colour(ada, RED, still=True, simulcast=False), tone(ada, 700):
        async with lab.joined("bob", there) as bob:
            [(frequency, _)] = await hear(bob, await bob.remote_track("tone"))
            seen, _ = await see(bob, await bob.remote_track("picture"), frames=1)
    assert abs(frequency - 700) < 5
    assert close(seen, RED), seen


@PAIRS
async def test_muting_is_told_and_heard(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        async with tone(ada, 440) as publication:
            track = await bob.remote_track("tone")
            await hear(bob, track, seconds=0.3)
            publication.track.mute()
            await bob.wait("track_muted")
            assert bob.publication("ada", "tone").muted
            publication.track.unmute()
            await bob.wait("track_unmuted")
            [(frequency, _)] = await hear(bob, track)
    assert abs(frequency - 440) < 5


@PAIRS
async def test_tracks_come_and_go(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        for number in range(3):
            name, frequency = f"tone {number}", 440 + 200 * number
            async with tone(ada, frequency, name=name) as publication:
                [(heard, _)] = await hear(bob, await bob.remote_track(name), seconds=0.5)
                assert abs(heard - frequency) < 10
                await ada.me.unpublish_track(publication.sid)
            await bob.wait("track_unpublished", lambda each, _, name=name: each.name == name)
        assert not bob.room.remote_participants["ada"].track_publications


@PAIRS
async def test_subscribing_by_hand(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there, auto_subscribe=False) as bob:
        async with tone(ada, 440), tone(ada, 880, name="other"):
            await bob.until(lambda: len(bob.room.remote_participants["ada"].track_publications) == 2)
            assert not bob.events("track_subscribed")
            wanted = bob.publication("ada", "other")
            wanted.set_subscribed(True)
            [(frequency, _)] = await hear(bob, await bob.remote_track("other"))
            assert abs(frequency - 880) < 5
            wanted.set_subscribed(False)
            await bob.wait("track_unsubscribed")
            wanted.set_subscribed(True)
            again, _, _ = await bob.wait("track_subscribed", after=1)
            [(frequency, _)] = await hear(bob, again)
            assert abs(frequency - 880) < 5
            assert [arguments[0].name for arguments in bob.events("track_subscribed")] == ["other", "other"]


@PAIRS
async def test_both_sides_publish_at_the_same_moment(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        blocks = (tone(ada, 440, name="low"), tone(bob, 880, name="high"), colour(ada, RED))
        await asyncio.gather(*(each.__aenter__() for each in blocks))
        [(low, _)] = await hear(bob, await bob.remote_track("low"))
        [(high, _)] = await hear(ada, await ada.remote_track("high"))
        seen, _ = await see(bob, await bob.remote_track("picture"))
        for each in blocks:
            await each.__aexit__(None, None, None)
    assert abs(low - 440) < 5 and abs(high - 880) < 5 and close(seen, RED)


@OURS
@pytest.mark.parametrize("other", ["official", "single"])
async def test_where_udp_is_closed_media_goes_over_tcp(tmp_path, livekit, mode, other):
    with running(tmp_path, force_tcp=True) as server:
        lab = Lab(server)
        async with lab.joined("ada", mode) as ada, lab.joined("bob", other) as bob:
            async with tone(ada, 440), tone(bob, 880, name="other"):
                [(frequency, _)] = await hear(bob, await bob.remote_track("tone"))
                [(back, _)] = await hear(ada, await ada.remote_track("other"))
        await lab.api.aclose()
    assert abs(frequency - 440) < 5 and abs(back - 880) < 5

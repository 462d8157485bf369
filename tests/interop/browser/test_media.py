"""Sound and pictures between a browser and Python, through our server, judged at the far end by what they are."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import rtc
from tests.interop.browser.judge import hears, joined, near, publishing, sees, subscribed, tone

RED, BLUE = (200, 40, 40), (30, 90, 200)


async def test_python_receives_what_chromium_publishes(new_page, server, sdk, single):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"), {"singlePeerConnection": single})
    async with joined(sdk, server.url, server.token("python", "room"), single=single) as room:
        await page.call("publishTone", 660)
        video = await page.call("publishColour", RED)
        assert video["mime"].lower() == "video/vp8" and video["simulcast"]
        await hears(sdk, await subscribed(sdk, room, "audio"), 660)
        # Chromium says in a header extension which matrix its colours went through; without it they are a little off.
        width, height = await sees(sdk, await subscribed(sdk, room, "video"), RED, tolerance=50)
        assert width / height == pytest.approx(16 / 9, rel=0.01)


async def test_chromium_receives_what_python_publishes(new_page, server, sdk, single):
    page = await new_page()
    async with joined(sdk, server.url, server.token("python", "room"), single=single) as room:
        await page.call("connect", server.url, server.token("chromium", "room"), {"singlePeerConnection": single})
        async with publishing(sdk, room, colour=BLUE, frequency=880) as (audio, video):
            await page.event("track_subscribed", sid=audio.sid, kind="audio", name="tone", identity="python")
            await page.event("track_subscribed", sid=video.sid, kind="video", name="colour", source="camera")
            await page.until("sound", audio.sid, accept=tone(880))
            picture = await page.until("picture", video.sid, accept=near(BLUE, 25))
            assert picture["width"] / picture["height"] == pytest.approx(4 / 3, rel=0.01)


async def test_a_late_joiner_receives_what_was_already_there(new_page, server, sdk):
    async with joined(sdk, server.url, server.token("python", "room")) as room:
        async with publishing(sdk, room, colour=RED, frequency=520) as (audio, video):
            page = await new_page()
            await page.call("connect", server.url, server.token("chromium", "room"))
            await page.until("sound", audio.sid, accept=tone(520))
            await page.until("picture", video.sid, accept=near(RED, 25))


async def test_a_still_picture_of_ours_stays_and_the_next_one_follows(new_page, server):
    """Captured once and then repeated, also by frames that leave nothing behind in the browser's decoder."""
    async with joined(rtc, server.url, server.token("python", "room")) as room:
        source = rtc.VideoSource(640, 480)
        track = rtc.LocalVideoTrack.create_video_track("slide", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
        publication = await room.local_participant.publish_track(track, options)
        page = await new_page()
        await page.call("connect", server.url, server.token("chromium", "room"))
        for colour in (RED, BLUE):
            repeats = (await track.get_stats())[0].repeats
            picture = bytes((*colour, 255)) * (640 * 480)
            source.capture_frame(rtc.VideoFrame(640, 480, rtc.VideoBufferType.RGBA, picture))
            await page.until("picture", publication.sid, accept=near(colour, 25))
            async with asyncio.timeout(20):
                while (await track.get_stats())[0].repeats < repeats + 40:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.1)
            await page.until("picture", publication.sid, accept=near(colour, 25))


async def test_two_browsers_hear_and_see_each_other(new_page, server, single):
    pages = await asyncio.gather(new_page(), new_page())
    colours, tones = (RED, BLUE), (600, 900)
    sids = []
    for number, page in enumerate(pages):
        token = server.token(f"browser-{number}", "room")
        await page.call("connect", server.url, token, {"singlePeerConnection": single})
        audio = await page.call("publishTone", tones[number])
        video = await page.call("publishColour", colours[number], {"width": 960, "height": 540})
        sids.append((audio["sid"], video["sid"]))
    for number, page in enumerate(pages):
        audio, video = sids[1 - number]
        await page.until("sound", audio, accept=tone(tones[1 - number]))
        await page.until("picture", video, accept=near(colours[1 - number], 25))


async def test_chromiums_own_camera_and_microphone_arrive(new_page, server, sdk):
    page = await new_page()
    await page.call("connect", server.url, server.token("chromium", "room"))
    async with joined(sdk, server.url, server.token("python", "room")) as room:
        published = await page.call("publishDevices")
        assert {each["kind"] for each in published} == {"audio", "video"}
        # The fake camera's picture is green around a disc.
        await sees(sdk, await subscribed(sdk, room, "video"), (60, 200, 60), tolerance=80)


async def test_a_subscriber_gets_the_layer_it_asks_for(new_page, server, single):
    sender, receiver = await asyncio.gather(new_page(), new_page())
    options = {"singlePeerConnection": single}
    await sender.call("connect", server.url, server.token("sender", "room"), options)
    await receiver.call("connect", server.url, server.token("receiver", "room"), options)
    sid = (await sender.call("publishColour", RED, {"width": 1280, "height": 720}))["sid"]
    await receiver.event("track_subscribed", sid=sid)
    for quality, width in (("LOW", 320), ("HIGH", 1280), ("MEDIUM", 640)):
        await receiver.call("setQuality", sid, quality)
        await receiver.until(
            "picture", sid, accept=lambda seen, wanted=width: near(RED, 25)(seen) and seen["width"] == wanted
        )


async def test_subscribing_by_hand(new_page, server, sdk):
    page = await new_page()
    token = server.token("chromium", "room")
    await page.call("connect", server.url, token, {"autoSubscribe": False})
    async with joined(sdk, server.url, server.token("python", "room")) as room:
        async with publishing(sdk, room, colour=RED, frequency=700) as (audio, video):
            await page.event("track_published", sid=video.sid)
            assert not [event for event in await page.call("events") if event["name"] == "track_subscribed"]
            await page.call("setSubscribed", audio.sid, True)
            await page.until("sound", audio.sid, accept=tone(700))
            await page.call("setSubscribed", audio.sid, False)
            await page.event("track_unsubscribed", sid=audio.sid)
            await page.call("setSubscribed", video.sid, True)
            await page.until("picture", video.sid, accept=near(RED, 25))

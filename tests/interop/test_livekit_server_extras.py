"""Our client and the official one through livekit-server: encrypted media and data, data tracks."""

# ruff: noqa: F401, F811 - fixtures are imported

import asyncio

from greenroom import rtc as ours
from tests.interop.livekit_server import PAIRS, colour, hear, lab, livekit, official_rtc, see, tone
from tests.interop.official import PATIENCE, close

GREEN = (30, 180, 60)


def encryption(mode):
    rtc = official_rtc if mode == "official" else ours
    return rtc.E2EEOptions(key_provider_options=rtc.KeyProviderOptions(shared_key=b"a key that only they have"))


@PAIRS
async def test_encrypted_sound_pictures_and_data(lab, here, there):
    async with (
        lab.joined("ada", here, encryption=encryption(here)) as ada,
        lab.joined("bob", there, encryption=encryption(there)) as bob,
        tone(ada, 440),
        colour(ada, GREEN),
    ):
        [(frequency, _)] = await hear(bob, await bob.remote_track("tone"))
        seen, _ = await see(bob, await bob.remote_track("picture"))
        assert bob.publication("ada", "tone").encryption_type == bob.rtc.EncryptionType.GCM
        await ada.me.publish_data(b"secret", topic="t")
        (packet,) = await bob.wait("data_received")
    assert abs(frequency - 440) < 15 and close(seen, GREEN)
    assert (bytes(packet.data), packet.topic) == (b"secret", "t")


@PAIRS
async def test_data_tracks_carry_frames(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        published = asyncio.get_running_loop().create_future()
        bob.room.on("data_track_published", lambda track: published.done() or published.set_result(track))
        track = await ada.me.publish_data_track(name="points")
        async with asyncio.timeout(PATIENCE):
            remote = await published
            assert (remote.info.name, remote.publisher_identity) == ("points", "ada")
            stream = remote.subscribe()
            received = asyncio.create_task(anext(aiter(stream)))
            while not received.done():
                track.try_push(ada.rtc.DataTrackFrame(payload=bytes(range(250)) * 20))
                await asyncio.wait([received], timeout=0.05)
        assert bytes(received.result().payload) == bytes(range(250)) * 20
        await stream.aclose()
        await track.unpublish()

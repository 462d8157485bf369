"""Official clients with what goes beyond plain calls: encrypted media and data, data tracks."""

import asyncio

import pytest
from livekit import rtc

from tests.interop.official import PATIENCE, close, colour, hear, joined, see, tone

BOTH = pytest.mark.parametrize("single", [True, False])
GREEN = (30, 180, 60)


def encryption(key=b"a key that only they have"):
    return rtc.E2EEOptions(key_provider_options=rtc.KeyProviderOptions(shared_key=key))


@BOTH
async def test_encrypted_sound_and_pictures_pass_untouched(server, single):
    async with (
        joined(server, "ada", single=single, encryption=encryption()) as ada,
        joined(server, "bob", single=single, encryption=encryption()) as bob,
        tone(ada, 440),
        colour(ada, GREEN, size=(1280, 720)),
    ):
        frequency, _ = await hear(await bob.remote_track("tone"))
        seen, _ = await see(await bob.remote_track("picture"), size=(1280, 720))
        publications = bob.room.remote_participants["ada"].track_publications.values()
        assert all(each.encryption_type == rtc.EncryptionType.GCM for each in publications)
        await ada.room.local_participant.publish_data(b"secret", topic="t")
        (packet,) = await bob.wait("data_received")
    assert abs(frequency - 440) < 5 and close(seen, GREEN)
    assert (packet.data, packet.topic) == (b"secret", "t")


@BOTH
async def test_data_tracks_carry_frames(server, single):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob", single=single) as bob:
        published = asyncio.get_running_loop().create_future()
        bob.room.on("data_track_published", lambda track: published.done() or published.set_result(track))
        track = await ada.room.local_participant.publish_data_track(name="points")
        async with asyncio.timeout(PATIENCE):
            remote = await published
            assert (remote.info.name, remote.publisher_identity) == ("points", "ada")
            stream = remote.subscribe()
            received = asyncio.create_task(anext(aiter(stream)))
            while not received.done():
                track.try_push(rtc.DataTrackFrame(payload=bytes(range(250)) * 20))
                await asyncio.wait([received], timeout=0.05)
        assert bytes(received.result().payload) == bytes(range(250)) * 20
        await stream.aclose()
        await track.unpublish()

"""Encrypted calls between our client and the official one, through our server."""

from __future__ import annotations

import contextlib

import pytest
from livekit import rtc as official

from greenroom import rtc
from tests.interop.official import close, hear, joined, see, tone, until
from tests.interop.official import colour as picture
from tests.rtc.conftest import Picture, Tone
from tests.rtc.test_e2ee import Ear, States, arrived, sees
from tests.rtc.test_media import subscribed

KEY = b"a key that only they have"
GREEN = (30, 180, 60)
RED = (200, 40, 40)
DERIVATIONS = [rtc.KeyDerivationFunction.PBKDF2, rtc.KeyDerivationFunction.HKDF]
CODECS = [rtc.VideoCodec.VP8, rtc.VideoCodec.H264]


def encryption(kit, key=KEY, derivation=0, **options):
    return kit.E2EEOptions(
        key_provider_options=kit.KeyProviderOptions(shared_key=key, key_derivation_function=int(derivation), **options)
    )


@contextlib.asynccontextmanager
async def call(server, *, ours=KEY, theirs=KEY, derivation=0, **options):
    """Our client, "ada", and the official one, "oscar", in one room."""
    room = rtc.Room()
    mine = encryption(rtc, ours, derivation, **options)
    await room.connect(server.url, server.token("ada", "lab"), rtc.RoomOptions(encryption=mine))
    try:
        async with joined(server, "oscar", encryption=encryption(official, theirs, derivation, **options)) as oscar:
            await until(lambda: "oscar" in room.remote_participants)
            yield room, oscar
    finally:
        await room.disconnect()


@pytest.mark.parametrize("derivation", DERIVATIONS, ids=["pass phrase", "raw key"])
@pytest.mark.parametrize("codec", CODECS, ids=["vp8", "h264"])
async def test_ours_reaches_theirs(server, derivation, codec):
    async with call(server, derivation=derivation) as (ada, oscar), Tone(440) as sound, Picture(RED) as camera:
        local = ada.local_participant
        await local.publish_track(sound.track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, video_codec=codec)
        await local.publish_track(camera.track, options)
        frequency, _ = await hear(await oscar.remote_track("tone"))
        seen, _ = await see(await oscar.remote_track("picture"))
        await local.publish_data(b"secret", topic="t")
        (packet,) = await oscar.wait("data_received")
    assert abs(frequency - 440) < 5 and close(seen, RED)
    assert (packet.data, packet.topic) == (b"secret", "t")


@pytest.mark.parametrize("derivation", DERIVATIONS, ids=["pass phrase", "raw key"])
@pytest.mark.parametrize("codec", CODECS, ids=["vp8", "h264"])
async def test_theirs_reaches_ours(server, derivation, codec):
    async with call(server, derivation=derivation) as (ada, oscar):
        received = []
        ada.on("data_received", received.append)
        async with tone(oscar, 660), picture(oscar, GREEN, video_codec=int(codec)):
            sound = await subscribed(ada, rtc.TrackKind.KIND_AUDIO)
            ear = Ear(sound.track)
            await ear.hears(660)
            await ear.close()
            await sees((await subscribed(ada, rtc.TrackKind.KIND_VIDEO)).track, GREEN)
            assert sound.encryption_type is rtc.EncryptionType.GCM
            await oscar.room.local_participant.publish_data(b"secret", topic="t")
            await until(lambda: received)
    assert (received[0].data, received[0].topic) == (b"secret", "t")


async def test_their_sound_with_another_key_is_never_heard(server):
    async with call(server, theirs=b"another key") as (ada, oscar):
        states = States(ada)
        async with tone(oscar, 660):
            publication = await subscribed(ada, rtc.TrackKind.KIND_AUDIO)
            ear = Ear(publication.track)
            await states.until("oscar", rtc.EncryptionState.DECRYPTION_FAILED)
            await arrived(publication.track, 100)
            assert ear.frames == []
            ada.e2ee_manager.key_provider.set_shared_key(b"another key", 0)
            await ear.hears(660)
            await ear.close()


async def test_theirs_follows_the_ratchet_of_ours(server):
    async with call(server) as (ada, oscar), Tone(440) as sound:
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await ada.local_participant.publish_track(sound.track, options)
        heard = await oscar.remote_track("tone")
        assert abs((await hear(heard))[0] - 440) < 5
        ada.e2ee_manager.key_provider.ratchet_shared_key(0)
        assert abs((await hear(heard))[0] - 440) < 5


async def test_ours_follows_the_ratchet_of_theirs(server):
    async with call(server) as (ada, oscar), tone(oscar, 660):
        states = States(ada)
        ear = Ear((await subscribed(ada, rtc.TrackKind.KIND_AUDIO)).track)
        await ear.hears(660)
        new = oscar.room.e2ee_manager.key_provider.ratchet_shared_key(0)
        await states.until("oscar", rtc.EncryptionState.KEY_RATCHETED)
        await ear.hears(660)
        await ear.close()
        keys = ada.e2ee_manager.key_provider
        assert (keys.export_key("oscar", 0), keys.ratchet_shared_key(0)) == (new, new)


async def test_switching_off_and_on_is_followed_by_theirs(server):
    async with call(server) as (ada, oscar), Tone(440) as sound:
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await ada.local_participant.publish_track(sound.track, options)
        heard = await oscar.remote_track("tone")
        for enabled in (True, False, True):
            ada.e2ee_manager.set_enabled(enabled)
            oscar.room.e2ee_manager.set_enabled(enabled)
            assert abs((await hear(heard))[0] - 440) < 5

"""Encryption between clients of ours: keys, their ratchet, switching it off and on, and what does not decrypt."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import rtc
from greenroom.errors import ConfigError, StateError

from .conftest import Picture, Studio, Tone, colour, frequency, loudness, until
from .test_media import CAMERA, MICROPHONE, subscribed

pytestmark = pytest.mark.loopback

KEY = b"a key that only they have"
RED = (200, 40, 40)
STATE = rtc.EncryptionState


def encryption(key: bytes | None = KEY, **options: object) -> rtc.E2EEOptions:
    return rtc.E2EEOptions(rtc.KeyProviderOptions(shared_key=key, **options))


def hkdf(key: bytes | None = KEY, **options: object) -> rtc.E2EEOptions:
    return encryption(key, key_derivation_function=rtc.KeyDerivationFunction.HKDF, **options)


class States:
    """What `e2ee_state_changed` told of each participant."""

    def __init__(self, room: rtc.Room) -> None:
        self.seen: list[tuple[str, rtc.EncryptionState]] = []
        room.on("e2ee_state_changed", lambda participant, state: self.seen.append((participant.identity, state)))

    async def until(self, identity: str, state: rtc.EncryptionState, after: int = 0) -> None:
        await until(lambda: (identity, state) in self.seen[after:])


class Ear:
    """The frames of a track that are loud."""

    def __init__(self, track: rtc.RemoteTrack) -> None:
        self.frames: list[rtc.AudioFrame] = []
        self._stream = rtc.AudioStream(track, sample_rate=48000, num_channels=1)
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self._stream:
            if loudness(event.frame) > 1000:
                self.frames.append(event.frame)

    async def hears(self, pitch: float) -> None:
        """Wait for a second of this tone from now on."""
        self.frames.clear()
        await until(lambda: sum(frame.samples_per_channel for frame in self.frames) > 48000)
        assert frequency(self.frames[-50:]) == pytest.approx(pitch, abs=4)

    async def close(self) -> None:
        await self._stream.aclose()
        await self._task


async def sees(track: rtc.RemoteTrack, wanted: tuple[int, int, int]) -> None:
    stream = rtc.VideoStream(track)
    async with asyncio.timeout(20):
        async for event in stream:
            if colour(event.frame) == pytest.approx(wanted, abs=14):
                break
    await stream.aclose()


async def arrived(track: rtc.RemoteTrack, packets: int) -> None:
    """Wait until this many packets of the track have come in."""
    async with asyncio.timeout(20):
        while (await track.get_stats())[0].packets < packets:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("options", [encryption(), hkdf()], ids=["pass phrase", "raw key"])
@pytest.mark.parametrize("codec", [rtc.VideoCodec.VP8, rtc.VideoCodec.H264])
async def test_sound_pictures_and_data_arrive(studio: Studio, options: rtc.E2EEOptions, codec: rtc.VideoCodec):
    ada, bob = await studio.pair(encryption=options)
    states, received = States(bob), []
    bob.on("data_received", received.append)
    async with Tone(440) as tone, Picture(RED) as picture:
        published = await ada.local_participant.publish_track(tone.track, MICROPHONE)
        camera = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, video_codec=codec)
        await ada.local_participant.publish_track(picture.track, camera)
        sound = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        video = await subscribed(bob, rtc.TrackKind.KIND_VIDEO)
        ear = Ear(sound.track)
        await ear.hears(440)
        await sees(video.track, RED)
        await ear.close()
        await ada.local_participant.publish_data(b"secret", topic="t")
        await until(lambda: received)
        assert (received[0].data, received[0].topic, received[0].participant.identity) == (b"secret", "t", "ada")
        assert published.encryption_type == sound.encryption_type == rtc.EncryptionType.GCM
        await states.until("ada", STATE.OK)
        assert {state for _, state in states.seen} == {STATE.OK}
        assert {each.track_sid for each in bob.e2ee_manager.frame_cryptors()} == {sound.sid, video.sid}


async def test_streams_and_calls_are_encrypted_too(studio: Studio):
    ada, bob = await studio.pair(encryption=hkdf())
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def read(reader: rtc.TextStreamReader, _: str) -> None:
        texts.put_nowait(await reader.read_all())

    bob.register_text_stream_handler("notes", read)
    bob.local_participant.register_rpc_method("double", lambda call: call.payload * 2)
    long = "words " * 20_000
    async with asyncio.timeout(20):
        await ada.local_participant.send_text(long, topic="notes")
        assert await texts.get() == long
        answer = await ada.local_participant.perform_rpc(destination_identity="bob", method="double", payload="ab")
    assert answer == "abab"


@pytest.mark.parametrize("theirs", [hkdf(b"another key"), hkdf(None), None], ids=["wrong", "missing", "none"])
async def test_without_the_key_there_is_an_event_and_not_one_frame(studio: Studio, theirs: rtc.E2EEOptions | None):
    ada = await studio.join("ada", encryption=hkdf())
    bob = await studio.join("bob", encryption=theirs)
    states, received, frames = States(bob), [], []
    bob.on("data_received", received.append)
    async with Tone(440) as tone, Picture(RED) as picture:
        await ada.local_participant.publish_track(tone.track, MICROPHONE)
        await ada.local_participant.publish_track(picture.track, CAMERA)
        sound = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        video = await subscribed(bob, rtc.TrackKind.KIND_VIDEO)
        ear, stream = Ear(sound.track), rtc.VideoStream(video.track)

        async def watch() -> None:
            async for event in stream:
                frames.append(event)

        watching = asyncio.create_task(watch())
        told = STATE.DECRYPTION_FAILED if theirs and theirs.key_provider_options.shared_key else STATE.MISSING_KEY
        await states.until("ada", told)
        await ada.local_participant.publish_data(b"secret")
        # Frames must have come before their absence says anything.
        await arrived(sound.track, 60)
        await arrived(video.track, 20)
        assert (ear.frames, frames, received) == ([], [], [])
        assert {state for _, state in states.seen} == {told}
        if bob.e2ee_manager.key_provider is not None:
            bob.e2ee_manager.key_provider.set_shared_key(KEY, 0)
            await ear.hears(440)
            await until(lambda: frames)
            assert states.seen[-1] == ("ada", STATE.OK)
        await stream.aclose()
        await watching
        await ear.close()


async def test_a_receiver_follows_the_senders_ratchet(studio: Studio):
    ada, bob = await studio.pair(encryption=hkdf())
    states = States(bob)
    async with Tone(440) as tone:
        await ada.local_participant.publish_track(tone.track, MICROPHONE)
        ear = Ear((await subscribed(bob, rtc.TrackKind.KIND_AUDIO)).track)
        await ear.hears(440)
        old = ada.e2ee_manager.key_provider.export_shared_key(0)
        ada.e2ee_manager.key_provider.ratchet_shared_key(0)
        new = ada.e2ee_manager.key_provider.ratchet_shared_key(0)
        await states.until("ada", STATE.KEY_RATCHETED)
        await ear.hears(440)
        assert states.seen[-1] == ("ada", STATE.OK)
        assert (old, len(new)) == (KEY, 32)
        assert bob.e2ee_manager.key_provider.export_key("ada", 0) == new
        assert bob.e2ee_manager.key_provider.export_shared_key(0) == KEY
        await ear.close()


async def test_encryption_is_switched_off_and_on(studio: Studio):
    ada, bob = await studio.pair(encryption=hkdf())
    states = States(bob)
    async with Tone(440) as tone, Picture(RED) as picture:
        await ada.local_participant.publish_track(tone.track, MICROPHONE)
        await ada.local_participant.publish_track(picture.track, CAMERA)
        ear = Ear((await subscribed(bob, rtc.TrackKind.KIND_AUDIO)).track)
        video = (await subscribed(bob, rtc.TrackKind.KIND_VIDEO)).track
        await ear.hears(440)
        ada.e2ee_manager.set_enabled(False)
        await states.until("ada", STATE.DECRYPTION_FAILED)
        bob.e2ee_manager.set_enabled(False)
        await ear.hears(440)
        await sees(video, RED)
        ada.e2ee_manager.set_enabled(True)
        bob.e2ee_manager.set_enabled(True)
        await ear.hears(440)
        await sees(video, RED)
        assert ada.e2ee_manager.enabled and all(each.enabled for each in bob.e2ee_manager.frame_cryptors())
        await ear.close()


async def test_participants_may_have_their_own_keys_and_change_the_index(studio: Studio):
    ada, bob = await studio.pair(encryption=hkdf(None))
    for room in (ada, bob):
        room.e2ee_manager.key_provider.set_key("ada", b"first", 0)
        room.e2ee_manager.key_provider.set_key("ada", b"second", 5)
    async with Tone(440) as tone:
        await ada.local_participant.publish_track(tone.track, MICROPHONE)
        ear = Ear((await subscribed(bob, rtc.TrackKind.KIND_AUDIO)).track)
        await ear.hears(440)
        ada.e2ee_manager.frame_cryptors()[0].set_key_index(5)
        bob.e2ee_manager.key_provider.set_key("ada", b"no longer", 0)
        await ear.hears(440)
        await ear.close()


async def test_keys_are_checked(studio: Studio):
    room = await studio.join("ada", encryption=hkdf(None, key_ring_size=4))
    keys = room.e2ee_manager.key_provider
    assert (keys.export_shared_key(0), keys.export_key("bob", 3)) == (b"", b"")
    for call in (
        lambda: keys.set_shared_key(b"x", 4),
        lambda: keys.set_key("bob", b"x", 256),
        lambda: keys.ratchet_key("bob", 0),
        lambda: keys.ratchet_shared_key(-1),
    ):
        with pytest.raises(ConfigError, match="key"):
            call()
    with pytest.raises(StateError, match="no key"):
        await room.local_participant.publish_data(b"secret")


async def test_a_room_without_encryption_has_nothing_to_switch_on(studio: Studio):
    room = await studio.join("ada")
    assert (room.e2ee_manager.enabled, room.e2ee_manager.key_provider) == (False, None)
    with pytest.raises(StateError, match="without encryption"):
        room.e2ee_manager.set_enabled(True)
    with pytest.raises(StateError):
        _ = rtc.Room().e2ee_manager


async def test_encryption_goes_on_after_joining_anew(studio: Studio):
    ada, bob = await studio.pair(encryption=hkdf())
    states = States(bob)
    async with Tone(440) as tone:
        await ada.local_participant.publish_track(tone.track, MICROPHONE)
        ear = Ear((await subscribed(bob, rtc.TrackKind.KIND_AUDIO)).track)
        await ear.hears(440)
        await ear.close()
        again = asyncio.ensure_future(bob.wait_for("track_subscribed", timeout=30))
        await ada.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        track, publication, _ = await again
        assert publication.encryption_type is rtc.EncryptionType.GCM
        ear = Ear(track)
        await ear.hears(440)
        await ear.close()
    assert [each.track_sid for each in ada.e2ee_manager.frame_cryptors()] == [publication.sid]
    assert {state for _, state in states.seen} == {STATE.OK}


async def test_who_is_encrypted_is_told_when_it_changes(studio: Studio):
    plain = await studio.join("bob")
    ada = await studio.join("ada", encryption=hkdf())
    told: list[tuple[str, str, bool]] = []
    for name, room in (("bob", plain), ("ada", ada)):
        for event in ("track_published", "local_track_published"):
            room.on(event, lambda *_, name=name: told.append((name, "published", True)))
        room.on(
            "participant_encryption_status_changed",
            lambda participant, encrypted, name=name: told.append((name, participant.identity, encrypted)),
        )
    async with Tone(440) as tone, Tone(880) as clear:
        publication = await ada.local_participant.publish_track(tone.track, MICROPHONE)
        await until(lambda: len(told) == 4)
        assert [each for each in told if each[0] == "ada"] == [("ada", "published", True), ("ada", "ada", True)]
        assert [each for each in told if each[0] == "bob"] == [("bob", "published", True), ("bob", "ada", True)]
        assert plain.remote_participants["ada"].is_encrypted and ada.local_participant.is_encrypted
        await plain.local_participant.publish_track(clear.track, MICROPHONE)
        await until(lambda: len(told) == 6)
        assert not ada.remote_participants["bob"].is_encrypted

        late: list[tuple[str, bool]] = []
        carol = rtc.Room()
        carol.on("participant_encryption_status_changed", lambda who, encrypted: late.append((who.identity, encrypted)))
        await studio.join("carol", carol)
        assert late == []
        await until(lambda: late == [("ada", True)])

        await ada.local_participant.unpublish_track(publication.sid)
        await until(lambda: not carol.remote_participants["ada"].track_publications)
        assert late == [("ada", True)] and carol.remote_participants["ada"].is_encrypted

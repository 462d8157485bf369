"""Audio and video from source to stream, locally and through the server, and how each ends."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import rtc
from greenroom.errors import ConfigError, RequestError, StateError
from greenroom.rtc.participant import PublishTrackError, UnpublishTrackError
from greenroom.wire.tokens import VideoGrants

from .conftest import Picture, Studio, Tone, colour, frequency, loudness, until

pytestmark = pytest.mark.loopback

modes = pytest.mark.parametrize("single", [True, False], ids=["one connection", "two connections"])
MICROPHONE = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
CAMERA = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)


async def subscribed(room: rtc.Room, kind: rtc.TrackKind) -> rtc.RemoteTrackPublication:
    """The first track of this kind that arrives, or has arrived."""
    for participant in room.remote_participants.values():
        for publication in participant.track_publications.values():
            if publication.track is not None and publication.kind is kind:
                return publication
    found = await room.wait_for("track_subscribed", lambda track, *_: track.kind is kind, timeout=30)
    return found[1]


async def loud(stream: rtc.AudioStream, count: int) -> list[rtc.AudioFrame]:
    """The next frames, from the first that is not silent."""
    frames: list[rtc.AudioFrame] = []
    async with asyncio.timeout(30):
        async for event in stream:
            if frames or loudness(event.frame) > 100:
                frames.append(event.frame)
            if len(frames) == count:
                return frames
    raise AssertionError("the stream ended before enough sound came")


async def ends(stream: rtc.AudioStream | rtc.VideoStream) -> int:
    """How many items come until the stream ends."""
    async with asyncio.timeout(20):
        return len([None async for _ in stream])


# -- without a room ----------------------------------------------------------------------------------------------------


async def test_a_local_audio_track_can_be_heard_without_a_room():
    async with Tone(660) as tone:
        frames = await loud(rtc.AudioStream(tone.track), 100)
    assert frequency(frames) == pytest.approx(660, abs=2)
    assert all((each.sample_rate, each.num_channels, each.samples_per_channel) == (48000, 1, 480) for each in frames)


@pytest.mark.parametrize(
    ("rate", "channels", "size", "samples"),
    [(16000, 1, None, 160), (24000, 2, None, 240), (48000, 1, 50, 2400), (22050, 1, 25, 551), (8000, 2, 20, 160)],
)
async def test_audio_comes_as_asked_for(rate: int, channels: int, size: int | None, samples: int):
    async with Tone(440) as tone:
        stream = rtc.AudioStream(tone.track, sample_rate=rate, num_channels=channels, frame_size_ms=size)
        frames = await loud(stream, 1 + rate // (2 * samples))
        await stream.aclose()
    frame = frames[-1]
    assert (frame.sample_rate, frame.num_channels, frame.samples_per_channel) == (rate, channels, samples)
    assert frequency(frames) == pytest.approx(440, abs=4)


async def test_a_local_video_track_can_be_seen_without_a_room():
    async with Picture((40, 200, 40)) as picture:
        stream = rtc.VideoStream(picture.track, format=rtc.VideoBufferType.BGRA)
        async with asyncio.timeout(20):
            async for event in stream:
                if max(colour(event.frame)) > 100:
                    break
        await stream.aclose()
    assert event.frame.type is rtc.VideoBufferType.BGRA and event.rotation == rtc.VideoRotation.VIDEO_ROTATION_0
    assert colour(event.frame) == pytest.approx((40, 200, 40), abs=4)


async def test_every_encoding_can_be_asked_for():
    async with Picture() as picture:
        for wanted in rtc.VideoBufferType:
            stream = rtc.VideoStream(picture.track, format=wanted)
            async with asyncio.timeout(20):
                event = await anext(stream)
            assert event.frame.type is wanted
            await stream.aclose()


async def test_the_wrong_stream_for_a_track_is_refused():
    audio = rtc.LocalAudioTrack.create_audio_track("a", rtc.AudioSource(48000, 1))
    video = rtc.LocalVideoTrack.create_video_track("v", rtc.VideoSource(320, 240))
    with pytest.raises(ConfigError, match="AudioStream"):
        rtc.VideoStream(audio)
    with pytest.raises(ConfigError, match="VideoStream"):
        rtc.AudioStream(video)


@pytest.mark.parametrize("values", [{"sample_rate": 0}, {"num_channels": 3}, {"frame_size_ms": 0}, {"capacity": -1}])
async def test_stream_values_that_cannot_work_are_refused(values: dict[str, int]):
    track = rtc.LocalAudioTrack.create_audio_track("a", rtc.AudioSource(48000, 1))
    with pytest.raises(ValueError, match="must"):
        rtc.AudioStream(track, **values)


async def test_closing_a_stream_ends_a_waiting_reader():
    track = rtc.LocalVideoTrack.create_video_track("v", rtc.VideoSource(320, 240))
    stream = rtc.VideoStream(track)
    reading = asyncio.ensure_future(ends(stream))
    await asyncio.sleep(0)
    await stream.aclose()
    await stream.aclose()
    await reading
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


class Louder(rtc.FrameProcessor[rtc.AudioFrame]):
    def __init__(self, *, fails: bool = False) -> None:
        self.enabled_now, self.fails, self.closed = True, fails, False

    @property
    def enabled(self) -> bool:
        return self.enabled_now

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self.enabled_now = value

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        if self.fails:
            raise RuntimeError("cannot")
        return rtc.AudioFrame(b"\x01\x00" * 480, 48000, 1, 480)

    def _close(self) -> None:
        self.closed = True


async def test_a_processor_changes_frames_and_is_closed_with_the_stream():
    processor = Louder()
    async with Tone() as tone:
        stream = rtc.AudioStream(tone.track, noise_cancellation=processor)
        assert set((await anext(stream)).frame.data) == {1}
        processor.enabled = False
        assert len(await loud(stream, 3)) == 3
        await stream.aclose()
    assert processor.closed


async def test_a_failing_processor_costs_a_warning_and_no_audio(caplog):
    processor = Louder(fails=True)
    async with Tone() as tone:
        stream = rtc.AudioStream.from_track(track=tone.track, noise_cancellation=processor)
        await loud(stream, 5)
        await stream.aclose()
    assert caplog.text.count("passed on unchanged") == 1 and not processor.closed


# -- through the server ------------------------------------------------------------------------------------------------


@modes
async def test_audio_and_video_reach_the_others(studio: Studio, single: bool):
    ada, bob = await studio.pair(single_peer_connection=single)
    published = []
    ada.on("local_track_published", lambda publication, track: published.append((publication, track)))
    async with Tone(440) as tone, Picture((200, 40, 40)) as picture:
        audio = await ada.local_participant.publish_track(tone.track, MICROPHONE)
        video = await ada.local_participant.publish_track(picture.track, CAMERA)
        assert published == [(audio, tone.track), (video, picture.track)]
        assert audio.sid == tone.track.sid and audio.sid in ada.local_participant.track_publications
        async with asyncio.timeout(30):
            await asyncio.gather(audio.wait_for_subscription(), video.wait_for_subscription())
        heard = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        seen = await subscribed(bob, rtc.TrackKind.KIND_VIDEO)
        assert (heard.sid, heard.name, heard.source) == (audio.sid, "tone", rtc.TrackSource.SOURCE_MICROPHONE)
        assert (seen.width, seen.height, seen.source) == (320, 240, rtc.TrackSource.SOURCE_CAMERA)
        sound, pictures = rtc.AudioStream(heard.track), rtc.VideoStream(seen.track)
        assert frequency(await loud(sound, 100)) == pytest.approx(440, abs=3)
        async with asyncio.timeout(30):
            async for event in pictures:
                if colour(event.frame) == pytest.approx((200, 40, 40), abs=12):
                    break
        assert (event.frame.width, event.frame.height) == (320, 240)
        assert (await tone.track.get_stats())[0].packets > 0
        assert (await heard.track.get_stats())[0].packets > 0
        figures = await bob.get_rtc_stats()
        assert {each.type for each in figures.subscriber_stats} >= {"inbound_rtp"}
        await asyncio.gather(ada.disconnect(), ends(sound), ends(pictures))


@pytest.mark.parametrize("ending", ["unpublish", "publisher leaves", "reader leaves", "unsubscribe"])
async def test_streams_end_with_what_they_read(studio: Studio, ending: str):
    ada, bob = await studio.pair()
    events: list[str] = []
    for name in ("track_unsubscribed", "track_unpublished", "participant_disconnected"):
        bob.on(name, lambda *_, name=name: events.append(name))
    async with Tone() as tone, Picture() as picture:
        audio = await ada.local_participant.publish_track(tone.track)
        video = await ada.local_participant.publish_track(picture.track)
        heard = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        seen = await subscribed(bob, rtc.TrackKind.KIND_VIDEO)
        readers = [asyncio.ensure_future(ends(rtc.AudioStream(heard.track)))]
        readers += [asyncio.ensure_future(ends(rtc.VideoStream(seen.track)))]
        await asyncio.sleep(0)
        match ending:
            case "unpublish":
                await ada.local_participant.unpublish_track(audio.sid)
                await ada.local_participant.unpublish_track(video.sid)
                assert audio.track is None and tone.track.sid == "TR_unknown"
            case "publisher leaves":
                await ada.disconnect()
            case "reader leaves":
                await bob.disconnect()
            case "unsubscribe":
                heard.set_subscribed(False)
                seen.set_subscribed(False)
                assert heard.track is None and not heard.subscribed
        await asyncio.gather(*readers)
    expected = {
        "unpublish": ["track_unsubscribed", "track_unpublished"] * 2,
        "publisher leaves": ["track_unsubscribed", "track_unpublished"] * 2 + ["participant_disconnected"],
        "reader leaves": [],
        "unsubscribe": ["track_unsubscribed"] * 2,
    }[ending]
    await until(lambda: len(events) >= len(expected))
    assert events == expected


async def test_a_stream_of_a_track_that_is_over_is_empty(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        track = (await subscribed(bob, rtc.TrackKind.KIND_AUDIO)).track
        await bob.disconnect()
        assert await ends(rtc.AudioStream(track)) == 0
        with pytest.raises(StateError, match="not published or subscribed"):
            await track.get_stats()


async def test_subscribing_again_gives_a_new_track_with_sound(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        publication = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        first = publication.track
        publication.set_subscribed(False)
        assert publication.track is None
        again = asyncio.ensure_future(bob.wait_for("track_subscribed", timeout=30))
        await asyncio.sleep(0)
        publication.set_subscribed(True)
        track, same, _ = await again
        assert same is publication and track is not first
        assert frequency(await loud(rtc.AudioStream(publication.track), 50)) == pytest.approx(440, abs=5)


async def test_nothing_is_received_until_it_is_asked_for(studio: Studio):
    ada = await studio.join("ada")
    async with Tone() as tone, Picture() as picture:
        audio = await ada.local_participant.publish_track(tone.track, MICROPHONE)
        bob = await studio.join("bob", auto_subscribe=False)
        video = await ada.local_participant.publish_track(picture.track, CAMERA)
        publications = bob.remote_participants["ada"].track_publications
        await until(lambda: video.sid in publications)
        assert not any(each.subscribed for each in publications.values())
        publications[audio.sid].set_subscribed(True)
        heard = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        assert frequency(await loud(rtc.AudioStream(heard.track), 50)) == pytest.approx(440, abs=5)
        assert not publications[video.sid].subscribed


async def test_a_stream_follows_a_participant_across_publications(studio: Studio):
    ada, bob = await studio.pair()
    stream = rtc.AudioStream.from_participant(
        participant=bob.remote_participants["ada"], track_source=rtc.TrackSource.SOURCE_MICROPHONE
    )
    for pitch in (440, 880):
        async with Tone(pitch) as tone:
            publication = await ada.local_participant.publish_track(tone.track, MICROPHONE)
            async with asyncio.timeout(30):
                while frequency(await loud(stream, 50)) != pytest.approx(pitch, abs=5):
                    pass
            await ada.local_participant.unpublish_track(publication.sid)
    reading = asyncio.ensure_future(ends(stream))
    await ada.disconnect()
    await reading


async def test_muting_is_told_and_silences(studio: Studio):
    ada, bob = await studio.pair()
    seen: list[tuple[str, bool]] = []
    for event in ("track_muted", "track_unmuted"):
        bob.on(event, lambda participant, publication, event=event: seen.append((event, publication.muted)))
    async with Tone() as tone:
        mine = await ada.local_participant.publish_track(tone.track, MICROPHONE)
        publication = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        stream = rtc.AudioStream(publication.track)
        await loud(stream, 10)
        tone.track.mute()
        assert mine.muted and tone.track.muted
        await until(lambda: seen == [("track_muted", True)])
        assert publication.track.muted
        tone.track.unmute()
        await until(lambda: seen[1:] == [("track_unmuted", False)])
        await loud(stream, 10)


async def test_a_track_muted_before_publishing_is_published_muted(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone() as tone:
        tone.track.mute()
        publication = await ada.local_participant.publish_track(tone.track)
        assert publication.muted
        await until(lambda: publication.sid in bob.remote_participants["ada"].track_publications)
        assert bob.remote_participants["ada"].track_publications[publication.sid].muted


async def test_layers_can_be_chosen_for_simulcast_only(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone() as tone, Picture(width=640, height=480) as picture:
        await ada.local_participant.publish_track(tone.track)
        await ada.local_participant.publish_track(picture.track, CAMERA)
        audio = await subscribed(bob, rtc.TrackKind.KIND_AUDIO)
        video = await subscribed(bob, rtc.TrackKind.KIND_VIDEO)
        with pytest.raises(ValueError, match="simulcast"):
            audio.set_video_quality(rtc.VideoQuality.VIDEO_QUALITY_LOW)
        assert video.simulcasted
        stream = rtc.VideoStream(video.track)
        for quality, width in ((rtc.VideoQuality.VIDEO_QUALITY_LOW, 480), (rtc.VideoQuality.VIDEO_QUALITY_HIGH, 640)):
            video.set_video_quality(quality)
            async with asyncio.timeout(30):
                async for event in stream:
                    if event.frame.width == width:
                        break


async def test_refused_and_repeated_publications_say_why(studio: Studio):
    room = rtc.Room()
    studio.rooms.append(room)
    grants = VideoGrants(room_join=True, room="lobby", can_publish_sources=("microphone",))
    await room.connect(studio.url, studio.server.token("ada", "lobby", grants=grants))
    async with Tone() as tone, Picture() as picture:
        with pytest.raises(PublishTrackError, match="NOT_ALLOWED") as refused:
            await room.local_participant.publish_track(picture.track, CAMERA)
        assert isinstance(refused.value.__cause__, RequestError)
        await room.local_participant.publish_track(tone.track, MICROPHONE)
        with pytest.raises(PublishTrackError, match="already published"):
            await room.local_participant.publish_track(tone.track, MICROPHONE)
        with pytest.raises(UnpublishTrackError, match="TR_nothing"):
            await room.local_participant.unpublish_track("TR_nothing")


async def test_publishing_again_and_again_reuses_and_never_stalls(studio: Studio):
    ada, bob = await studio.pair()
    for _ in range(5):
        async with Tone() as tone:
            subscribed_now = asyncio.ensure_future(bob.wait_for("track_subscribed", timeout=30))
            await asyncio.sleep(0)
            publication = await ada.local_participant.publish_track(tone.track)
            track, _, _ = await subscribed_now
            stream = rtc.AudioStream(track)
            await loud(stream, 5)
            await ada.local_participant.unpublish_track(publication.sid)
            await ends(stream)
    assert ada.local_participant.track_publications == {}


@pytest.mark.parametrize("red", [True, False])
async def test_redundant_audio_is_sent_only_when_its_publisher_wants_it(studio: Studio, red: bool):
    ada, bob = await studio.pair()
    answers: list[str] = []
    negotiation = ada._connection.session.negotiation
    take = negotiation.answer_received
    negotiation.answer_received = lambda answer: answers.append(answer.sdp) or take(answer)
    async with Tone(440) as tone:
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, red=red)
        publication = await ada.local_participant.publish_track(tone.track, options)
        sending = answers[-1].split("m=")[-1]
        assert ("red/48000" in sending) is red and "opus/48000" in sending
        stream = rtc.AudioStream((await subscribed(bob, rtc.TrackKind.KIND_AUDIO)).track)
        frames = [(await anext(stream)).frame for _ in range(60)]
        assert frequency(frames[30:]) == pytest.approx(440, abs=10)
        assert publication._info.disable_red is not red
        await stream.aclose()

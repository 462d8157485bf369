"""What someone new does wrong gets one exception of ours, at once, that says what would be right."""

from __future__ import annotations

import asyncio
import logging

import pytest

from greenroom import rtc
from greenroom.errors import ConfigError, FrameError
from greenroom.media.video_types import VideoBufferType
from greenroom.rtc.participant import PublishTrackError
from greenroom.server import Server


def picture() -> rtc.VideoFrame:
    return rtc.VideoFrame(2, 2, VideoBufferType.RGBA, bytes(16))


@pytest.mark.parametrize(
    ("make", "right"),
    [
        (lambda: rtc.AudioSource(500, 1), "sample_rate in Hz must be 1000 to 768000"),
        (lambda: rtc.AudioSource(48_000, 3), "1 to 2"),
        (lambda: rtc.AudioSource(48_000, 1, 10**12), "0 to 600000"),
        (lambda: rtc.VideoSource(0, 5), "width in pixels must be 1 to"),
        (lambda: rtc.LocalAudioTrack.create_audio_track("mic", rtc.VideoSource(2, 2)), "must be an AudioSource"),
        (lambda: rtc.LocalVideoTrack.create_video_track("cam", None), "must be a VideoSource"),
        (lambda: rtc.AudioResampler(0, 48_000), "1000..=768000"),
        (lambda: Server(port="7880"), "port must be a number"),
        (lambda: Server(keys="devkey"), "a mapping like"),
        (lambda: Server(host="localhost"), "IP address, like 127.0.0.1"),
        (lambda: Server(advertise="203.0.113.7"), "list of IP addresses"),
        (lambda: Server(empty_timeout=-1), "0 or more"),
        (lambda: Server(colour="red"), "colour"),
    ],
)
def test_a_constructor_refuses_what_cannot_work(make, right):
    with pytest.raises((ConfigError, FrameError), match=right):
        make()


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({"sample_rate": 0}, "sample_rate in Hz must be 1000 to 768000"),
        ({"sample_rate": 10_000_000}, "sample_rate in Hz must be 1000 to 768000"),
        ({"frame_size_ms": 0}, "1 to 60000"),
        ({"frame_size_ms": 10**9}, "1 to 60000"),
        ({"num_channels": 9}, "1 to 2"),
        ({"capacity": -1}, "capacity in frames must be"),
        ({"capacity": 2**70}, "capacity in frames must be"),
    ],
)
async def test_an_audio_stream_refuses_what_cannot_work(options, right):
    track = rtc.LocalAudioTrack.create_audio_track("mic", rtc.AudioSource(48_000, 1))
    with pytest.raises(ConfigError, match=right):
        rtc.AudioStream(track, **options)


async def test_streams_read_tracks_of_their_own_kind():
    video = rtc.LocalVideoTrack.create_video_track("cam", rtc.VideoSource(2, 2))
    with pytest.raises(ConfigError, match="with a VideoStream"):
        rtc.AudioStream(video)
    with pytest.raises(ConfigError, match="must be the track that a stream reads"):
        rtc.AudioStream(None)
    with pytest.raises(ConfigError, match="NV12"):
        rtc.VideoStream(video, format=77)


async def test_a_rotation_that_is_none_is_refused():
    source = rtc.VideoSource(2, 2)
    with pytest.raises(FrameError, match="VIDEO_ROTATION_90"):
        source.capture_frame(picture(), rotation=45)
    await source.aclose()


@pytest.mark.parametrize("url", ["", "localhost:7880", "ftp://host", "ws://", None, 5])
async def test_what_is_no_url_is_refused(url):
    with pytest.raises(ConfigError, match="ws://localhost:7880"):
        await rtc.Room().connect(url, "token")


def test_an_event_that_a_room_does_not_have_is_told_of(caplog):
    with caplog.at_level(logging.WARNING):
        rtc.Room().on("track_subscribd", print)
    assert "track_subscribed" in caplog.text
    caplog.clear()
    rtc.Room().on("track_subscribed", print)
    assert not caplog.text


@pytest.mark.loopback
async def test_publishing_what_cannot_be_published(studio):
    participant = (await studio.join("ada")).local_participant
    with pytest.raises(PublishTrackError, match="create_audio_track"):
        await participant.publish_track(rtc.AudioSource(48_000, 1))
    track = rtc.LocalVideoTrack.create_video_track("cam", rtc.VideoSource(2, 2))
    with pytest.raises(PublishTrackError, match="99 cannot be published; choose one of"):
        await participant.publish_track(track, rtc.TrackPublishOptions(video_codec=99))


@pytest.mark.loopback
async def test_a_track_is_published_once_however_often_it_is_asked_for(studio):
    ada = (await studio.join("ada")).local_participant
    track = rtc.LocalAudioTrack.create_audio_track("mic", rtc.AudioSource(48_000, 1))
    outcomes = await asyncio.gather(*(ada.publish_track(track) for _ in range(3)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "LocalTrackPublication",
        *["PublishTrackError"] * 2,
    ]
    assert len(ada.track_publications) == 1

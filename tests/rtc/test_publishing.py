"""Which encodings a local track is published with."""

from __future__ import annotations

import pytest

from greenroom import rtc
from greenroom.errors import ConfigError
from greenroom.rtc._publishing import add_track_request, negotiated_codec, plan
from greenroom.wire import messages as m


def video(width: int, height: int) -> rtc.LocalVideoTrack:
    return rtc.LocalVideoTrack.create_video_track("v", rtc.VideoSource(width, height))


def audio(channels: int = 1) -> rtc.LocalAudioTrack:
    return rtc.LocalAudioTrack.create_audio_track("a", rtc.AudioSource(48000, channels))


def layers(width: int, height: int, **options: object) -> list[tuple]:
    chosen = plan(video(width, height), rtc.TrackPublishOptions(**options))
    return [(layer.rid, layer.width, layer.height, layer.bitrate, layer.fps) for layer in chosen.layers]


def test_a_small_picture_has_one_layer():
    assert layers(320, 240) == [("", 320, 240, 140_000, 20)]


def test_a_640_by_480_camera_has_two_layers():
    assert layers(640, 480) == [("q", 480, 360, 225_000, 20), ("h", 640, 480, 450_000, 25)]


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280)])
def test_a_720p_camera_has_three_layers(size):
    chosen = layers(*size)
    assert [layer[0] for layer in chosen] == ["q", "h", "f"]
    assert chosen[-1][1:] == (*size, 1_700_000, 30)
    assert [max(layer[1:3]) for layer in chosen] == [320, 640, 1280]


@pytest.mark.parametrize("size", [(641, 479), (1000, 700), (333, 1001), (1920, 1080), (3840, 2160)])
def test_lower_layers_are_smaller_even_and_of_the_same_shape(size):
    chosen = layers(*size)
    widths = [layer[1] for layer in chosen]
    assert widths == sorted(widths) and len(set(widths)) == len(widths)
    for _, width, height, _, _ in chosen[:-1]:
        assert width % 2 == 0 and height % 2 == 0
        assert width / height == pytest.approx(size[0] / size[1], rel=0.02)


def test_simulcast_can_be_left_out_and_limits_are_kept():
    encoding = rtc.VideoEncoding(max_bitrate=100_000, max_framerate=10)
    assert layers(1280, 720, simulcast=False, video_encoding=encoding) == [("", 1280, 720, 100_000, 10)]
    limited = layers(1280, 720, video_encoding=encoding)
    assert all(bitrate <= 100_000 and fps <= 10 for *_, bitrate, fps in limited)


def test_a_shared_screen_has_one_slow_lower_layer():
    chosen = layers(1920, 1080, source=rtc.TrackSource.SOURCE_SCREENSHARE)
    assert len(chosen) == 2 and chosen[0][1:3] == (960, 540) and chosen[0][4] == 3


def test_a_codec_that_cannot_be_sent_is_refused_at_once():
    with pytest.raises(ConfigError, match="AV1 cannot be published; choose one of VP8, H264"):
        plan(video(320, 240), rtc.TrackPublishOptions(video_codec=rtc.VideoCodec.AV1))


def test_the_server_may_choose_another_codec():
    chosen = plan(video(320, 240), rtc.TrackPublishOptions())
    info = m.TrackInfo(codecs=[m.SimulcastCodecInfo(mime_type="video/H264")])
    assert negotiated_codec(info, chosen) == "h264"
    with pytest.raises(ConfigError, match="av1"):
        negotiated_codec(m.TrackInfo(codecs=[m.SimulcastCodecInfo(mime_type="video/AV1")]), chosen)


def test_audio_defaults_are_on_unless_said():
    chosen = plan(audio(), rtc.TrackPublishOptions())
    assert (chosen.codec, chosen.bitrate, chosen.dtx, chosen.red) == ("opus", 48_000, True, True)
    said = plan(audio(), rtc.TrackPublishOptions(dtx=False, red=False, audio_encoding=rtc.AudioEncoding(max_bitrate=9)))
    assert (said.bitrate, said.dtx, said.red) == (9, False, False)


def test_a_video_is_announced_with_its_layers_by_quality():
    track, options = video(640, 480), rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
    request = add_track_request(track, options, plan(track, options), "cid")
    assert (request.cid, request.name, request.width, request.height) == ("cid", "v", 640, 480)
    assert [(layer.quality, layer.rid) for layer in request.layers] == [(0, "q"), (1, "h")]
    assert request.simulcast_codecs[0].codec == "vp8" and request.stream == "camera"
    single = plan(track, rtc.TrackPublishOptions(simulcast=False))
    (only,) = add_track_request(track, options, single, "cid").layers
    assert only.quality == m.VideoQuality.HIGH


def test_audio_is_announced_with_its_features():
    track = audio(2)
    options = rtc.TrackPublishOptions(dtx=False, preconnect_buffer=True)
    request = add_track_request(track, options, plan(track, options), "cid")
    features = m.AudioTrackFeature
    assert request.stereo and request.disable_dtx and not request.disable_red
    assert set(request.audio_features) == {features.TF_STEREO, features.TF_NO_DTX, features.TF_PRECONNECT_BUFFER}

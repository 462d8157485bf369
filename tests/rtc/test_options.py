"""Options behave like dataclasses and answer what programs ask protobuf messages."""

from __future__ import annotations

import copy
import pickle

import pytest

from greenroom import rtc


def test_publish_options_know_what_was_given():
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
    assert options.HasField("dtx") and options.HasField("source")
    assert not options.HasField("red") and options.red is False
    options.red = False
    assert options.HasField("red")
    options.ClearField("red")
    assert not options.HasField("red")


def test_composite_fields_take_every_way_of_setting_them():
    assigned, nested, passed = rtc.TrackPublishOptions(), rtc.TrackPublishOptions(), None
    encoding = rtc.VideoEncoding(max_bitrate=500_000, max_framerate=15)
    assigned.video_encoding = encoding
    nested.video_encoding.max_bitrate = 500_000
    nested.video_encoding.max_framerate = 15
    passed = rtc.TrackPublishOptions(video_encoding=encoding)
    copied = rtc.TrackPublishOptions()
    copied.video_encoding.CopyFrom(encoding)
    assert assigned == nested == passed == copied
    assert all(each.HasField("video_encoding") for each in (assigned, nested, passed, copied))
    assert not rtc.TrackPublishOptions().HasField("video_encoding")


def test_copies_do_not_share():
    source = rtc.IceServer(urls=["stun:a"])
    copied = rtc.IceServer()
    copied.CopyFrom(source)
    copied.urls.append("stun:b")
    assert source.urls == ["stun:a"]
    assert rtc.IceServer().urls == []


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_options_survive_copying(duplicate):
    options = rtc.TrackPublishOptions(simulcast=False, stream="s")
    again = duplicate(options)
    assert again == options and again.HasField("simulcast") and not again.HasField("dtx")


def test_unknown_fields_are_refused_by_name():
    with pytest.raises(ValueError, match="no field 'bitrate'"):
        rtc.VideoEncoding(bitrate=1)
    with pytest.raises(AttributeError, match="no field 'bitrate'"):
        rtc.VideoEncoding().bitrate = 1
    with pytest.raises(AttributeError, match="no field 'x'"):
        rtc.VideoEncoding().HasField("x")


def test_enums_are_numbers_with_names():
    assert rtc.TrackKind.Name(1) == "KIND_AUDIO"
    assert rtc.TrackKind.Value("KIND_VIDEO") is rtc.TrackKind.KIND_VIDEO == 2
    assert dict(rtc.ConnectionState.items())["CONN_RECONNECTING"] == 2
    assert rtc.TrackSource.keys()[0] == "SOURCE_UNKNOWN" and list(rtc.TrackSource.values())[-1] == 4
    assert rtc.DisconnectReason.ValueType is rtc.DisconnectReason
    with pytest.raises(ValueError, match="no member"):
        rtc.TrackKind.Value("KIND_SMELL")


def test_a_number_from_a_newer_server_is_unknown_and_not_an_error():
    assert rtc.DisconnectReason(999) is rtc.DisconnectReason.UNKNOWN_REASON
    assert rtc.TrackSource(99) is rtc.TrackSource.SOURCE_UNKNOWN

"""Every public name of the official SDK is here with the same members, parameters and numbers, but for a short list."""

from __future__ import annotations

import enum
import inspect
from pathlib import Path

import pytest

from greenroom import rtc

official = pytest.importorskip("livekit.rtc")

#: Not offered, and why.
LEFT_OUT = {
    **dict.fromkeys(
        ("EncodedRateControl", "EncodedVideoFrame", "EncodedVideoSource", "EncodedVideoSourceFeedback"),
        "encoded pictures cannot be published",
    ),
    **dict.fromkeys(
        ("AudioDeviceInfo", "MediaDevices", "PlatformAudio", "PlatformAudioError", "PlatformAudioOptions"), "no devices"
    ),
    "PlatformAudioSource": "no devices",
    "__version__": "greenroom.__version__",
}
LEFT_OUT_MEMBERS: set[str] = set()
#: Programs get objects of these from the SDK and never make one.
MADE_BY_THE_SDK = (
    *("E2EEManager", "FrameCryptor", "KeyProvider"),
    *("Track", "Publication", "Participant", "Reader", "DataTrack", "Stream"),
)


def names() -> list[str]:
    return [name for name in official.__all__ if name not in LEFT_OUT]


def classes() -> list[str]:
    return [
        name
        for name in names()
        if inspect.isclass(getattr(official, name)) and not hasattr(getattr(official, name), "DESCRIPTOR")
    ]


def test_no_name_is_missing_by_accident():
    assert [name for name in names() if not hasattr(rtc, name)] == []
    assert sorted(set(LEFT_OUT) & set(rtc.__all__)) == []
    documented = (Path(__file__).parents[2] / "docs/rtc.md").read_text()
    assert [name for name in LEFT_OUT if name != "__version__" and f"`{name}`" not in documented] == []


@pytest.mark.parametrize("name", classes())
def test_members_and_parameters_are_the_same(name: str):
    theirs, ours = getattr(official, name), getattr(rtc, name)
    for member in dir(theirs):
        if member.startswith("_") or f"{name}.{member}" in LEFT_OUT_MEMBERS or issubclass(theirs, Exception):
            continue
        assert hasattr(ours, member), f"{name}.{member} is missing"
        expected, found = (_function(inspect.getattr_static(each, member)) for each in (theirs, ours))
        if expected is None or found is None:
            continue
        assert _parameters(found)[: len(_parameters(expected))] == _parameters(expected), f"{name}.{member}"
        assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(expected), f"{name}.{member}"


@pytest.mark.parametrize("name", [name for name in classes() if not name.endswith(MADE_BY_THE_SDK)])
def test_constructors_take_the_same_parameters(name: str):
    theirs, ours = getattr(official, name), getattr(rtc, name)
    if issubclass(theirs, enum.Enum) or theirs.__init__ is object.__init__:
        return
    expected = [each for each in _parameters(theirs.__init__) if each != "kwargs"]
    if expected[1:2] in (["owned_info"], ["info"], ["room_queue"]):
        return
    assert _parameters(ours.__init__)[: len(expected)] == expected


def _enums() -> list[str]:
    return [name for name in names() if hasattr(getattr(official, name), "items") and hasattr(rtc, name)]


@pytest.mark.parametrize("name", _enums())
def test_numbers_are_the_same(name: str):
    assert {key: int(value) for key, value in getattr(rtc, name).items()} == dict(getattr(official, name).items())


def _messages() -> list[str]:
    return [name for name in names() if hasattr(getattr(official, name), "SerializeToString")]


@pytest.mark.parametrize("name", _messages())
def test_option_fields_are_the_same(name: str):
    fields = [field.name for field in getattr(official, name).DESCRIPTOR.fields]
    assert _parameters(getattr(rtc, name).__init__)[1:] == fields


def test_every_event_is_known():
    from typing import get_args

    from livekit.rtc.room import EventTypes

    assert set(get_args(rtc.room.EventTypes)) == set(get_args(EventTypes))


def _function(thing: object):
    thing = thing.__func__ if isinstance(thing, staticmethod | classmethod) else thing
    return thing if inspect.isfunction(thing) else None


def _parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)

"""Sources, tracks and streams belong to one event loop of one process, and say so elsewhere."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from greenroom import rtc
from greenroom.errors import ConfigError, EngineClosedError, GreenroomError, StateError


def picture() -> rtc.VideoFrame:
    return rtc.VideoFrame(2, 2, rtc.VideoBufferType.RGBA, bytes(16))


def in_a_child(use) -> str:
    """What `use` says in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            use()
            said = "nothing"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_objects_of_before_a_fork_raise_one_of_our_errors_in_the_child():
    audio, video = rtc.AudioSource(48000, 1), rtc.VideoSource(2, 2)
    track = rtc.LocalAudioTrack.create_audio_track("a", audio)
    stream = rtc.AudioStream(track)

    async def next_frame():
        async with asyncio.timeout(5):
            await anext(stream)

    async def playout():
        async with asyncio.timeout(5):
            await audio.wait_for_playout()

    async def listen():
        rtc.AudioStream(track)

    uses = [
        lambda: video.capture_frame(picture()),
        lambda: asyncio.run(audio.capture_frame(rtc.AudioFrame.create(48000, 1, 480))),
        lambda: asyncio.run(playout()),
        lambda: asyncio.run(next_frame()),
        lambda: asyncio.run(listen()),
    ]
    for use in uses:
        said = in_a_child(use)
        assert said.startswith("EngineClosedError") and "before the process was forked" in said
    for close in (audio.aclose, video.aclose, stream.aclose):
        assert in_a_child(lambda close=close: asyncio.run(close())) == "nothing"
    assert issubclass(EngineClosedError, GreenroomError)
    await stream.aclose()


def on_another_loop(use) -> str:
    said = []

    async def run():
        try:
            use()
        except GreenroomError as error:
            said.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
    return said[0] if said else "nothing"


async def test_a_track_of_another_loop_is_refused_rather_than_silent():
    track = rtc.LocalAudioTrack.create_audio_track("a", rtc.AudioSource(48000, 1))
    said = await asyncio.to_thread(on_another_loop, lambda: rtc.AudioStream(track))
    assert said.startswith("ConfigError") and "another event loop" in said


def test_what_outlives_its_loop_says_so():
    async def make():
        return rtc.AudioSource(48000, 1)

    async def use(source):
        await source.capture_frame(rtc.AudioFrame.create(48000, 1, 480))
        rtc.AudioStream(rtc.LocalAudioTrack.create_audio_track("a", source))

    source = asyncio.run(make())
    with pytest.raises((EngineClosedError, ConfigError), match="event loop"):
        asyncio.run(use(source))


async def test_a_source_that_is_made_without_a_loop_belongs_to_the_first_that_uses_it():
    source = await asyncio.to_thread(rtc.AudioSource, 48000, 1)
    stream = rtc.AudioStream(rtc.LocalAudioTrack.create_audio_track("a", source))
    await source.capture_frame(rtc.AudioFrame.create(48000, 1, 480))
    assert (await anext(stream)).frame.samples_per_channel == 480
    await stream.aclose()
    await source.aclose()


def test_without_a_loop_what_needs_one_says_so():
    source, picture_source = rtc.AudioSource(48000, 1), rtc.VideoSource(2, 2)
    track = rtc.LocalAudioTrack.create_audio_track("a", source)
    for use in (lambda: rtc.AudioStream(track), lambda: picture_source.capture_frame(picture())):
        with pytest.raises(StateError, match="no event loop runs here"):
            use()

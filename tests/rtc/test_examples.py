"""The programs in examples/, each against somebody at the far end who checks the content."""

from __future__ import annotations

import asyncio
import importlib.util
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from greenroom import rtc

from .conftest import Picture, Studio, Tone, colour, frequency, loudness, until
from .test_media import CAMERA, MICROPHONE, subscribed

pytestmark = pytest.mark.loopback

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(studio: Studio, name: str, *args: object) -> AsyncIterator[asyncio.Task[None]]:
    """The program as the participant "program", until the block ends."""
    token = studio.server.token("program", "lobby")
    task = asyncio.create_task(example(name).main(studio.url, token, *args))
    try:
        yield task
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_receive_prints_what_arrives_and_what_ends(studio: Studio, capsys):
    ada = await studio.join("ada")
    async with running(studio, "receive"), Tone() as tone, Picture() as picture:
        audio = await ada.local_participant.publish_track(tone.track, MICROPHONE)
        video = await ada.local_participant.publish_track(picture.track, CAMERA)
        out = ""
        while "ada: audio" not in out or "ada: video" not in out:
            await asyncio.sleep(0.05)
            out += capsys.readouterr().out
        await ada.local_participant.unpublish_track(audio.sid)
        await ada.local_participant.unpublish_track(video.sid)
        while "tone ended" not in out or "picture ended" not in out:
            await asyncio.sleep(0.05)
            out += capsys.readouterr().out
    assert "samples_per_channel=480" in out and "width=320" in out


async def test_manual_subscription_takes_microphones_only(studio: Studio, capsys):
    ada = await studio.join("ada")
    async with Tone() as early, Tone() as late, Picture() as picture:
        await ada.local_participant.publish_track(early.track, MICROPHONE)
        unwanted = await ada.local_participant.publish_track(picture.track, CAMERA)
        async with running(studio, "manual_subscription"):
            heard: list[str] = []
            ada.on("local_track_subscribed", lambda track: heard.append(track.sid))
            await until(lambda: early.track.sid in heard)
            await ada.local_participant.publish_track(late.track, MICROPHONE)
            await until(lambda: late.track.sid in heard)
            assert unwanted.sid not in heard
    assert capsys.readouterr().out.count("receiving tone of ada") == 2


async def test_convert_saves_the_picture(studio: Studio, tmp_path: Path):
    ada = await studio.join("ada")
    path = tmp_path / "picture.ppm"
    async with Picture((20, 90, 200)) as picture:
        await ada.local_participant.publish_track(picture.track, CAMERA)
        async with running(studio, "convert", str(path)) as program, asyncio.timeout(30):
            await program
    head, pixels = path.read_bytes().split(b"255\n", 1)
    assert head == b"P6 320 240 " and len(pixels) == 320 * 240 * 3
    middle = pixels[(120 * 320 + 160) * 3 :][:3]
    assert list(middle) == pytest.approx([20, 90, 200], abs=8)


async def test_sine_is_a_quiet_440_hertz_tone(studio: Studio):
    ear = await studio.join("ear")
    async with running(studio, "sine"):
        publication = await subscribed(ear, rtc.TrackKind.KIND_AUDIO)
        assert (publication.name, publication.source) == ("example-track", rtc.TrackSource.SOURCE_MICROPHONE)
        stream = rtc.AudioStream(publication.track)
        frames: list[rtc.AudioFrame] = []
        async with asyncio.timeout(30):
            async for event in stream:
                if loudness(event.frame) > 100 or frames:
                    frames.append(event.frame)
                if len(frames) == 200:
                    break
        await stream.aclose()
    settled = frames[50:]
    assert frequency(settled) == pytest.approx(440, abs=2)
    assert max(map(loudness, settled)) == pytest.approx(255, abs=60)


async def test_finite_audio_is_heard_to_the_last_sample(studio: Studio, tmp_path: Path):
    rate, seconds = 48000, 1.2345
    time = np.arange(round(rate * seconds)) / rate
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((12000 * np.sin(2 * np.pi * 500 * time)).astype(np.int16).tobytes())
    ear = await studio.join("ear")
    async with running(studio, "finite_audio", str(path)) as program:
        publication = await subscribed(ear, rtc.TrackKind.KIND_AUDIO)
        heard: list[int] = []
        async with asyncio.timeout(30):
            async for event in rtc.AudioStream(publication.track):
                heard.extend(event.frame.data)
            await program
    loud = np.flatnonzero(np.abs(np.array(heard)) > 2000)
    assert (loud[-1] - loud[0]) / rate == pytest.approx(seconds, abs=0.03)


@pytest.mark.parametrize(
    ("type", "seen"), [(rtc.VideoBufferType.ARGB, (254, 1, 1)), (rtc.VideoBufferType.RGBA, (253, 255, 2))]
)
async def test_still_colour_is_seen_by_who_joins_late(studio: Studio, type: rtc.VideoBufferType, seen: tuple):
    async with running(studio, "still_colour", type):
        first = await studio.join("first")
        await subscribed(first, rtc.TrackKind.KIND_VIDEO)
        late = await studio.join("late")
        publication = await subscribed(late, rtc.TrackKind.KIND_VIDEO)
        async with asyncio.timeout(30):
            async for event in rtc.VideoStream(publication.track):
                if colour(event.frame) == pytest.approx(seen, abs=6) and event.frame.width == 640:
                    break

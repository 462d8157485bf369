"""A stream gives the rate, channels and frames that were asked for, whatever is published, and adds no noise."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from greenroom import rtc, testing

from .conftest import Recorder, Speaker, arrival, gaps, heard, impurity, path_delay, strength, windows

pytestmark = pytest.mark.loopback

WANTED = [
    (8000, 1, 10),
    (16_000, 1, 20),
    (22_050, 1, 20),
    (24_000, 2, 60),
    (44_100, 2, 10),
    (48_000, 2, 5),
    (48_000, 1, 100),
]
#: The share of 10 ms windows that may have something else than the tone: concealment on a busy machine.
DISTURBED = 0.03


def channel_tones(sent: int, received: int, channel: int) -> dict[float, float]:
    """The amplitude of each tone, in a call where left has 440 Hz and right 660 Hz, both at 0.25."""
    if sent == 1:
        return {440.0: 0.25}
    if received == 1:
        return {440.0: 0.125, 660.0: 0.125}
    return {(440.0, 660.0)[channel]: 0.25}


@pytest.mark.parametrize(
    ("rate", "channels"), [(16_000, 1), (24_000, 1), (44_100, 2), (48_000, 2)], ids=lambda value: str(value)
)
async def test_any_format_comes_out_of_any_other_with_its_level_and_without_clicks(
    stage: testing.Stage, rate: int, channels: int
):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    speaker = Speaker(rate, channels)
    await speaker.publish(ada)
    track = await arrival(bob)
    recorders = [Recorder(track, *wanted) for wanted in WANTED]
    async with speaker.sounding(440, 660):
        await recorders[-1].hear()
        await recorders[-1].more(1.8)
        for recorder, (wanted_rate, wanted_channels, frame_ms) in zip(recorders, WANTED, strict=True):
            frame = wanted_rate * frame_ms // 1000
            shapes = {(f.samples_per_channel, f.sample_rate, f.num_channels) for f in recorder.frames}
            assert shapes == {(frame, wanted_rate, wanted_channels)}
            wave = recorder.samples(recorder.seconds - 1.3)
            for channel in range(wanted_channels):
                judge(wave[:, channel], wanted_rate, channel_tones(channels, wanted_channels, channel))
    lengths = [recorder.seconds for recorder in recorders]
    assert max(lengths) - min(lengths) <= 0.3, "every stream has as much as every other"
    await asyncio.gather(*(recorder.close() for recorder in recorders))


def judge(wave: np.ndarray, rate: int, tones: dict[float, float]) -> None:
    """The wave is these tones and nothing else."""
    middle = wave[rate // 2 : rate]
    for frequency, level in tones.items():
        amplitude = np.median([strength(part, rate, frequency)[0] for part in windows(middle, rate, 100)])
        assert amplitude == pytest.approx(level, rel=0.06)
    if len(tones) == 1:
        wrong = impurity(wave, rate, next(iter(tones)))
        assert np.median(wrong) < 0.05
        assert np.mean(wrong > 0.3) <= DISTURBED


async def test_the_rate_is_exact_over_seconds(stage: testing.Stage):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    speaker = Speaker(44_100)
    await speaker.publish(ada)
    track = await arrival(bob)
    recorders = [Recorder(track, 22_050, 1, 20), Recorder(track, 48_000, 1, 10)]
    beep, rest = speaker.sine(0.1, 1000), np.zeros(round(0.4 * 44_100))
    for _ in range(6):
        await speaker.play(np.concatenate([beep, rest]))
    await speaker.source.wait_for_playout()
    await recorders[1].more(0.3)
    for recorder in recorders:
        found = heard(recorder.samples()[:, 0], recorder.rate, 1000)
        # While the delay settles, a beep may have a seam.
        starts = [start for index, (start, _) in enumerate(found) if index == 0 or start - found[index - 1][0] > 0.2]
        assert len(starts) == 6
        # Where the delay changes on a busy machine, one beep is nearer to the one before.
        assert np.median(np.diff(starts)) == pytest.approx(0.5, abs=0.006)


async def test_a_track_published_again_at_another_rate_brings_no_noise(stage: testing.Stage):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    source = rtc.TrackSource.SOURCE_MICROPHONE
    stream = rtc.AudioStream.from_participant(participant=bob.room.remote_participants["ada"], track_source=source)
    pieces: list[np.ndarray] = []

    async def listen() -> None:
        async for event in stream:
            pieces.append(np.frombuffer(event.frame.data, np.int16) / 32768)

    listening = asyncio.create_task(listen())
    for rate, channels in ((48_000, 1), (16_000, 1), (44_100, 2), (24_000, 1)):
        speaker = Speaker(rate, channels)
        publication = await speaker.publish(ada)
        track = await arrival(bob)
        ear = Recorder(track)
        await speaker.play(np.concatenate([speaker.sine(0.5, 440), np.zeros(rate // 5)]))
        await ear.hear()
        await speaker.source.wait_for_playout()
        await ear.more(0.1)
        unsubscribed = bob.room.wait_for("track_unsubscribed", timeout=10)
        waiting = asyncio.create_task(unsubscribed)
        await ada.room.local_participant.unpublish_track(publication.sid)
        await waiting
        await ear.close()
        await speaker.source.aclose()
    await stream.aclose()
    await listening
    wave = np.concatenate(pieces)
    assert np.abs(wave).max() < 0.32, "nothing is louder than the tone"
    loud = windows(wave, 48_000)[np.sqrt(np.mean(windows(wave, 48_000) ** 2, axis=1)) > 0.01]
    assert len(loud) == pytest.approx(4 * 50, abs=24)
    # Each beginning and end, and what a busy machine conceals.
    assert np.sum(impurity(loud.ravel(), 48_000, 440) > 0.3) <= 16


async def test_a_hundred_quick_mutes_add_no_delay(stage: testing.Stage):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    speaker = Speaker()
    publication = await speaker.publish(ada)
    recorder = Recorder(await arrival(bob))
    await speaker.play(speaker.sine(0.3, 440))
    await recorder.hear()
    before = await path_delay(speaker, recorder, 2)
    track = publication.track
    assert isinstance(track, rtc.LocalAudioTrack)
    async with speaker.sounding(440):
        for _ in range(100):
            track.mute()
            await asyncio.sleep(0.01)
            track.unmute()
            await asyncio.sleep(0.02)
    assert await path_delay(speaker, recorder, 2) <= before + 0.02
    await recorder.close()


async def test_pauses_in_speech_are_silent_and_every_word_comes_whole(stage: testing.Stage):
    ada, bob = await stage.join("ada"), await stage.join("bob")
    speaker = Speaker()
    await speaker.publish(ada, dtx=True)
    recorder = Recorder(await arrival(bob))
    time = np.arange(round(0.4 * 48_000)) / 48_000
    word = sum(np.sin(2 * np.pi * 150 * harmonic * time) / harmonic for harmonic in range(1, 12))
    word = word * 0.12 * np.clip(np.minimum(time, 0.4 - time) / 0.03, 0, 1)
    for _ in range(4):
        await speaker.play(np.concatenate([word, np.zeros(round(0.7 * 48_000))]))
    await recorder.until(4.4)
    wave = recorder.samples()[:, 0]
    pauses = [length for start, length in gaps(wave, 48_000, 0.003) if start > 0.2 and length > 0.1]
    assert len(pauses) == 4
    assert all(length == pytest.approx(0.7, abs=0.08) for length in pauses[:3])
    assert np.abs(wave).max() < 0.45
    await recorder.close()

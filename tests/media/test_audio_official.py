"""The official client's audio helpers beside ours: what programs written for them rely on."""

import numpy as np
import pytest

from greenroom.media.audio import AudioFrame, combine_audio_frames
from greenroom.media.audio_processing import AudioProcessingModule
from greenroom.media.audio_resampler import AudioResampler, AudioResamplerQuality

official = pytest.importorskip("livekit.rtc")
pytestmark = pytest.mark.interop


def failure(make) -> Exception:
    with pytest.raises(Exception) as caught:
        make()
    return caught.value


@pytest.mark.parametrize("data", [bytes(range(8)), bytearray(range(8)), memoryview(bytes(range(8)))])
def test_frames_are_alike(data):
    ours, theirs = AudioFrame(data, 16000, 2, 2), official.AudioFrame(data, 16000, 2, 2)
    for name in ("sample_rate", "num_channels", "samples_per_channel", "duration", "userdata"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert (ours.data.tolist(), ours.data.format, ours.data.readonly) == (
        theirs.data.tolist(),
        theirs.data.format,
        theirs.data.readonly,
    )
    assert repr(ours) == repr(theirs) and ours.to_wav_bytes() == theirs.to_wav_bytes()


@pytest.mark.parametrize("arguments", [(bytes(7), 16000, 2, 2), (bytes(9), 16000, 2, 2)])
def test_errors_begin_alike(arguments):
    ours = failure(lambda: AudioFrame(*arguments))
    theirs = failure(lambda: official.AudioFrame(*arguments))
    assert isinstance(ours, type(theirs)) and str(ours).startswith(str(theirs))


@pytest.mark.parametrize("formats", [[], [(48000, 1), (16000, 1)], [(48000, 1), (48000, 2)]])
def test_combining_fails_alike(formats):
    ours = failure(lambda: combine_audio_frames([AudioFrame.create(*f, 3) for f in formats]))
    theirs = failure(lambda: official.combine_audio_frames([official.AudioFrame.create(*f, 3) for f in formats]))
    assert isinstance(ours, type(theirs)) and str(ours) == str(theirs)


def test_qualities_are_named_alike():
    theirs = {quality.name: quality.value for quality in official.AudioResamplerQuality}
    assert {quality.name: quality.value for quality in AudioResamplerQuality} == theirs


@pytest.mark.parametrize("quality", ["medium", "high", "very_high"])
@pytest.mark.parametrize(("rate", "target"), [(48000, 16000), (16000, 48000), (8000, 48000), (48000, 24000)])
def test_resampling_gives_the_same_sound(rate, target, quality):
    at = np.arange(rate) / rate
    tone = sum(5000 * np.sin(2 * np.pi * frequency * at) for frequency in (200, 950, 2700))
    data = np.rint(tone).astype(np.int16).tobytes()
    ours = AudioResampler(rate, target, quality=AudioResamplerQuality(quality))
    theirs = official.AudioResampler(rate, target, quality=official.AudioResamplerQuality(quality))
    joined = []
    for resampler in (ours, theirs):
        frames = resampler.push(bytearray(data)) + resampler.flush()
        joined.append(np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames]).astype(int))
    assert joined[0].size == joined[1].size == target
    middle = slice(target // 4, target * 3 // 4)
    assert np.abs(joined[0] - joined[1])[middle].max() <= 2


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 4, 479, 1001])
@pytest.mark.parametrize(("rate", "target"), [(44100, 48000), (48000, 44100), (48000, 8000), (48000, 16000)])
def test_resampling_gives_the_same_count(rate, target, samples):
    counts = []
    for resampler in (AudioResampler(rate, target), official.AudioResampler(rate, target)):
        frames = resampler.push(bytearray(2 * samples)) + resampler.flush()
        counts.append(sum(frame.samples_per_channel for frame in frames))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("choice", ["echo_cancellation", "noise_suppression", "high_pass_filter", "auto_gain_control"])
def test_processing_does_as_much(choice):
    """Within 3 dB of what libwebrtc makes of the same echo, noise, rumble and quiet speech."""
    rate, rng = 16000, np.random.default_rng(1)
    at = np.arange(rate * 8) / rate
    syllables = np.maximum(0, np.sin(2 * np.pi * 2.1 * at)) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.31 * at))
    voice = 0.2 * syllables * sum(np.sin(k * 2 * np.pi * (140 * at + np.sin(at))) / k for k in range(1, 24))
    near = {
        "echo_cancellation": 0.4 * np.concatenate([np.zeros(500), voice[:-500]]) + 1e-4 * rng.normal(size=at.size),
        "noise_suppression": 0.01 * rng.normal(size=at.size),
        "high_pass_filter": 0.3 * np.sin(2 * np.pi * 20 * at),
        "auto_gain_control": 0.05 * voice,
    }[choice]
    levels = []
    for kit, module in (
        (AudioFrame, AudioProcessingModule(**{choice: True})),
        (official.AudioFrame, official.AudioProcessingModule(**{choice: True})),
    ):
        out = []
        for start in range(0, at.size, rate // 100):
            far, heard = (
                kit(bytearray((signal[start : start + 160] * 32767).astype(np.int16).tobytes()), rate, 1, 160)
                for signal in (voice, near)
            )
            module.process_reverse_stream(far)
            if choice == "echo_cancellation":
                module.set_stream_delay_ms(0)
            module.process_stream(heard)
            out.append(np.frombuffer(heard.data, np.int16).astype(float))
        levels.append(20 * np.log10(np.sqrt(np.mean(np.concatenate(out)[at.size // 2 :] ** 2)) + 1e-3))
    assert abs(levels[0] - levels[1]) < 3

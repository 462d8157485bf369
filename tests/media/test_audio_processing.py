import numpy as np
import pytest

from greenroom.errors import ConfigError, FrameError
from greenroom.media.audio import AudioFrame
from greenroom.media.audio_filter import AudioFilter
from greenroom.media.audio_processing import AudioProcessingModule, NoiseSuppressor


def voice(rate: int, seconds: int, pitch: float) -> np.ndarray:
    at = np.arange(rate * seconds) / rate
    syllables = np.maximum(0, np.sin(2 * np.pi * 2.1 * at)) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.31 * at))
    phase = 2 * np.pi * pitch * at + 4 * np.sin(2 * np.pi * 0.7 * at)
    return 0.2 * syllables * sum(np.sin(k * phase) / k for k in range(1, 24))


def gain_by(module: AudioProcessingModule, rate: int, near: np.ndarray, far: np.ndarray | None = None) -> float:
    """dB that the second half of `near` gained."""
    block, out = rate // 100, []
    for start in range(0, near.size - block + 1, block):
        if far is not None:
            module.process_reverse_stream(AudioFrame.from_ndarray(far[start : start + block], rate))
            module.set_stream_delay_ms(0)
        frame = AudioFrame.from_ndarray(near[start : start + block], rate)
        module.process_stream(frame)
        out.append(frame.to_ndarray("float64")[:, 0])
    done = np.concatenate(out)
    half = done.size // 2
    return float(10 * np.log10(np.mean(done[half:] ** 2) / np.mean(near[half : done.size] ** 2)))


@pytest.mark.parametrize("rate", [16000, 48000])
def test_echo_is_removed_and_the_voice_kept(rate):
    rng = np.random.default_rng(1)
    far = voice(rate, 8, 120)
    path = np.zeros(int(0.12 * rate))
    tail = np.arange(path.size - int(0.03 * rate))
    path[-tail.size :] = rng.normal(size=tail.size) * np.exp(-tail / (0.02 * rate))
    echo = np.convolve(far, path / np.sqrt(np.sum(path**2)) / 2)[: far.size]
    assert gain_by(AudioProcessingModule(echo_cancellation=True), rate, echo, far) < -25
    near = voice(rate, 8, 190)
    assert gain_by(AudioProcessingModule(echo_cancellation=True), rate, near, np.zeros(near.size)) > -3
    both = gain_by(AudioProcessingModule(echo_cancellation=True), rate, near + echo, far)
    kept = both + 10 * np.log10(np.mean((near + echo) ** 2) / np.mean(near**2))
    assert -6 < kept < 3


def test_noise_goes_and_speech_stays():
    noise = np.random.default_rng(2).normal(size=16000 * 8) * 0.01
    assert gain_by(AudioProcessingModule(noise_suppression=True), 16000, noise) < -8
    assert gain_by(AudioProcessingModule(noise_suppression=True), 16000, voice(16000, 8, 150)) > -3


def test_rumble_goes_and_quiet_speech_is_raised():
    rumble = 0.3 * np.sin(2 * np.pi * 20 * np.arange(96000) / 48000)
    assert gain_by(AudioProcessingModule(high_pass_filter=True), 48000, rumble) < -20
    assert gain_by(AudioProcessingModule(auto_gain_control=True), 16000, 0.05 * voice(16000, 8, 150)) > 6


def test_nothing_chosen_changes_nothing():
    values = np.arange(-480, 480, dtype=np.int16)
    frame = AudioFrame.from_ndarray(values.copy(), 48000)
    AudioProcessingModule().process_stream(frame)
    assert np.array_equal(frame.to_ndarray()[:, 0], values)


def test_frames_are_processed_in_place():
    rng = np.random.default_rng(3)
    module = AudioProcessingModule(high_pass_filter=True)
    values = (rng.normal(size=960) * 5000).astype(np.int16)
    before = values.copy()
    module.process_stream(AudioFrame.from_ndarray(values, 48000))
    assert not np.array_equal(values, before)
    read_only = AudioFrame(before.tobytes(), 48000, 1, 960)
    module.process_stream(read_only)
    assert not read_only.data.readonly and read_only.data != before.data
    far = AudioFrame(before.tobytes(), 48000, 1, 960)
    module.process_reverse_stream(far)
    assert far.data == before.data


def test_formats_follow_or_are_refused():
    module = AudioProcessingModule(noise_suppression=True, echo_cancellation=True)
    for rate, channels in ((16000, 1), (48000, 2), (44100, 1), (8000, 1), (96000, 1)):
        for samples in (rate // 100, rate // 50):
            module.process_reverse_stream(AudioFrame.create(rate, channels, samples))
            module.process_stream(AudioFrame.create(rate, channels, samples))
    module.process_stream(AudioFrame.create(48000, 1, 0))
    with pytest.raises(FrameError, match=r"481 samples are not a multiple of 10 ms \(480"):
        module.process_stream(AudioFrame.create(48000, 1, 481))
    for rate, channels in ((22050, 1), (11025, 1), (48000, 9), (10**10, 1)):
        with pytest.raises(FrameError):
            module.process_stream(AudioFrame.create(rate, channels, 0))
        with pytest.raises(FrameError):
            module.process_reverse_stream(AudioFrame.create(rate, channels, 0))
    for delay in (-1, 0, 10**6):
        module.set_stream_delay_ms(delay)


def test_noise_suppressor_is_a_processor():
    suppressor = NoiseSuppressor()
    noise = np.random.default_rng(4).normal(size=48000 * 4) * 0.01
    levels = []
    for start in range(0, noise.size, 480):
        out = suppressor._process(AudioFrame.from_ndarray(noise[start : start + 480], 48000))
        levels.append(np.mean(out.to_ndarray("float64") ** 2))
    assert np.mean(levels[-100:]) < np.mean(noise**2) / 6
    assert suppressor.enabled
    suppressor.enabled = False
    assert not suppressor.enabled
    suppressor._close()


def test_native_plug_ins_are_refused_with_advice():
    with pytest.raises(ConfigError, match=r"'krisp' \(/x.so\) cannot be loaded.*NoiseSuppressor"):
        AudioFilter("krisp", "/x.so")

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.errors import FrameError
from greenroom.media.audio import AudioFrame, combine_audio_frames
from greenroom.media.audio_resampler import AudioConverter, AudioResampler, AudioResamplerQuality

RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
QUALITIES = tuple(AudioResamplerQuality)


def tone(frequency: float, rate: int, samples: int, amplitude: float = 30000.0) -> np.ndarray:
    return np.rint(amplitude * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)).astype(np.int16)


def through(resampler: AudioResampler, data: np.ndarray, chunk: int) -> np.ndarray:
    out = []
    flat = data.reshape(-1)
    for start in range(0, flat.size, chunk):
        out += resampler.push(bytearray(flat[start : start + chunk].tobytes()))
    out += resampler.flush()
    return np.concatenate([frame.to_ndarray() for frame in out]) if out else np.zeros((0, 1), np.int16)


def snr(out: np.ndarray, frequency: float, rate: int) -> float:
    """dB of the wanted sine over everything else, with its phase, gain and delay taken as exact."""
    inside = np.arange(out.size // 4, out.size * 3 // 4)
    wanted = 30000.0 * np.sin(2 * np.pi * frequency * inside / rate)
    return float(10 * np.log10(np.mean(wanted**2) / np.mean((out[inside] - wanted) ** 2)))


@pytest.mark.parametrize("quality", [AudioResamplerQuality.HIGH, AudioResamplerQuality.VERY_HIGH])
@pytest.mark.parametrize("rate", RATES)
def test_sweep_keeps_80_db(rate, quality):
    for target in RATES:
        low = min(rate, target)
        for frequency in (20.0, 1000.0, 0.25 * low, 0.45 * low):
            out = through(AudioResampler(rate, target, quality=quality), tone(frequency, rate, rate // 4), 441)
            assert snr(out[:, 0], frequency, target) >= 80.0, (rate, target, frequency)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.sampled_from(QUALITIES),
    st.integers(1, 3),
    st.integers(0, 3000),
    st.lists(st.sampled_from([1, 7, 160, 441, 480, 961]), min_size=1, max_size=4),
)
def test_bits_and_counts_do_not_depend_on_chunking(rate, target, quality, channels, samples, chunks):
    data = np.random.default_rng(samples).integers(-32768, 32767, (samples, channels), np.int16, endpoint=True)
    whole = through(AudioResampler(rate, target, num_channels=channels, quality=quality), data, 10**9)
    assert len(whole) == int(samples * target / rate + 0.5)
    for chunk in chunks:
        parts = through(AudioResampler(rate, target, num_channels=channels, quality=quality), data, chunk)
        assert np.array_equal(parts, whole)


def test_counts_like_the_official_ones():
    frame = AudioFrame.create(48000, 1, 480)
    resampler = AudioResampler(48000, 16000)
    pushed = [out for _ in range(10) for out in resampler.push(frame)]
    assert all((out.sample_rate, out.num_channels) == (16000, 1) for out in pushed)
    assert sum(out.samples_per_channel for out in pushed + resampler.flush()) == 1600
    assert resampler.flush() == []


def test_output_comes_steadily_and_late_by_the_delay():
    resampler = AudioResampler(48000, 16000)
    counts = [sum(f.samples_per_channel for f in resampler.push(AudioFrame.create(48000, 1, 480))) for _ in range(9)]
    assert counts[1:] == [160] * 8
    assert abs((160 - counts[0]) / 16000 - resampler.delay) <= 1 / 16000
    assert resampler.delay < 0.0025
    assert AudioResampler(8000, 8000).delay == 0.0


def test_a_flushed_resampler_starts_over():
    resampler = AudioResampler(44100, 16000, quality=AudioResamplerQuality.HIGH)
    data = tone(300, 44100, 5000)
    first = through(resampler, data, 480)
    assert np.array_equal(through(resampler, data, 480), first)


def test_what_can_be_pushed():
    data = tone(440, 48000, 480)
    frame = AudioFrame.from_ndarray(data, 48000)
    results = []
    for pushed in (frame, data.tobytes(), bytearray(data.tobytes()), memoryview(data), data.data):
        resampler = AudioResampler(48000, 24000)
        results.append(bytes(combine_audio_frames(resampler.push(pushed) + resampler.flush()).data))
    assert len(set(results)) == 1
    surplus = AudioFrame(data.tobytes() + bytes(100), 48000, 1, 480)
    resampler = AudioResampler(48000, 24000)
    assert bytes(combine_audio_frames(resampler.push(surplus) + resampler.flush()).data) == results[0]
    assert AudioResampler(48000, 24000).push(b"") == []


def test_what_cannot_be_is_refused():
    for args, channels in (((0, 48000), 1), ((48000, -1), 1), ((48000, 2**33), 1), ((48000, 16000), 0)):
        with pytest.raises(FrameError):
            AudioResampler(*args, num_channels=channels)
    with pytest.raises(ValueError, match="best"):
        AudioResampler(48000, 16000, quality="best")
    resampler = AudioResampler(48000, 16000)
    with pytest.raises(FrameError, match="takes 1 channels at 48000 Hz, not 2 at 48000 Hz"):
        resampler.push(AudioFrame.create(48000, 2, 480))
    with pytest.raises(FrameError, match="takes 1 channels at 48000 Hz, not 1 at 44100 Hz"):
        resampler.push(AudioFrame.create(44100, 1, 441))
    with pytest.raises(FrameError, match="3 bytes are not whole"):
        resampler.push(b"abc")
    with pytest.raises(TypeError):
        resampler.push([1, 2])


def test_threads_may_share_one():
    resampler = AudioResampler(48000, 16000)
    counts = []

    def push():
        for _ in range(50):
            counts.extend(frame.samples_per_channel for frame in resampler.push(AudioFrame.create(48000, 1, 480)))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) + sum(f.samples_per_channel for f in resampler.flush()) == 200 * 160


def test_converter_follows_changing_formats():
    converter = AudioConverter(48000, 2)
    out = bytearray()
    for rate, channels in ((48000, 1), (16000, 1), (44100, 2), (8000, 4)):
        data = np.repeat(tone(200, rate, rate // 10)[:, None], channels, axis=1)
        out += converter.push(AudioFrame.from_ndarray(np.ascontiguousarray(data), rate))
    out += converter.flush()
    both = np.frombuffer(out, np.int16).reshape(-1, 2)
    assert len(both) == 4 * 4800 and (both[:, 0] == both[:, 1]).all()
    with pytest.raises(FrameError):
        AudioConverter(48000, 0)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import FrameError
from greenroom.media.audio import AudioFrame
from greenroom.media.audio_framing import AudioByteStream
from greenroom.media.audio_levels import (
    SILENCE_DBFS,
    is_silent,
    level_dbfs,
    mix_audio_frames,
    peak_dbfs,
    silence,
    with_gain,
)

SAMPLES = st.lists(st.integers(-32768, 32767), max_size=200)


def frame_of(values, rate=48000, channels=1) -> AudioFrame:
    return AudioFrame.from_ndarray(np.array(values, np.int16), rate, num_channels=channels)


@given(SAMPLES)
def test_levels_are_those_of_numpy(values):
    array = np.array(values, np.float64)
    frame = frame_of(values)
    peak = np.abs(array).max(initial=0)
    rms = np.sqrt(np.mean(array**2)) if values else 0.0
    for got, wanted in ((level_dbfs(frame), rms), (peak_dbfs(frame), peak)):
        assert got == pytest.approx(20 * np.log10(wanted / 32768) if wanted else SILENCE_DBFS, abs=1e-3)
    assert is_silent(frame, -20.0) == (peak <= 3276)


def test_reference_levels():
    sine = AudioFrame.from_ndarray(np.sin(np.arange(48000) * 2 * np.pi * 0.01), 48000)
    assert level_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert is_silent(silence(0.5, 16000)) and silence(0.0333, 16000, 2).samples_per_channel == 533
    with pytest.raises(FrameError):
        silence(-1, 16000)


@given(SAMPLES, st.sampled_from([-20.0, -6.0, 0.0, 6.0, 40.0]))
def test_gain_is_that_of_numpy(values, db):
    frame = with_gain(frame_of(values), db)
    wanted = np.clip(np.array(values, np.float64) * 10 ** (db / 20), -32768, 32767)
    assert np.abs(frame.to_ndarray()[:, 0] - wanted).max(initial=0) <= 0.51


@given(st.lists(SAMPLES, min_size=1, max_size=5))
def test_mix_is_the_clipped_sum(parts):
    wanted = np.zeros(max(map(len, parts)))
    for values in parts:
        wanted[: len(values)] += values
    mixed = mix_audio_frames(frame_of(values) for values in parts)
    assert mixed.to_ndarray()[:, 0].tolist() == np.clip(wanted, -32768, 32767).tolist()


def test_mix_refuses():
    with pytest.raises(FrameError, match="no frame"):
        mix_audio_frames([])
    with pytest.raises(FrameError, match=r"\[\(16000, 1\), \(48000, 1\)\]"):
        mix_audio_frames([frame_of([1]), frame_of([1], rate=16000)])


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_byte_stream_loses_nothing(pieces, samples, channels, progressive):
    stream = AudioByteStream(8000, channels, samples, progressive)
    frames = [frame for piece in pieces for frame in stream.push(piece)]
    if not progressive:
        assert all(frame.samples_per_channel == samples for frame in frames)
    data = b"".join(pieces)
    left = len(data) - sum(len(frame.samples()) for frame in frames)
    assert left < samples * 2 * channels
    assert stream.buffered_duration == pytest.approx(left / (2 * channels) / 8000)
    frames += stream.flush()
    whole = len(data) // (2 * channels) * 2 * channels
    assert b"".join(frame.samples() for frame in frames) == data[:whole]
    assert stream.flush() == []


def test_byte_stream_sizes():
    assert [f.samples_per_channel for f in AudioByteStream(16000, 1).write(bytes(10000))] == [1600, 1600, 1600]
    stream = AudioByteStream(16000, 1, 3200, progressive=True)
    sizes = [frame.samples_per_channel for frame in stream.push(bytes(2 * 12800))]
    assert sizes == [320, 640, 1280, 2560, 3200, 3200]
    stream.clear()
    assert stream.buffered_duration == 0.0 and stream.push(bytes(640))[0].samples_per_channel == 320
    assert AudioByteStream(16000, 1, 10).push(silence(0.001, 16000))[0].samples_per_channel == 10
    for wrong in ((0, 1), (16000, 0), (16000, 1, 0), (5, 1)):
        with pytest.raises(FrameError):
            AudioByteStream(*wrong)

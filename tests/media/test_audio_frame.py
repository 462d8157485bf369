import array
import asyncio
import copy
import io
import pickle
import subprocess
import sys
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import FrameError, GreenroomError
from greenroom.media.audio import AudioFrame, AudioFrameEvent, combine_audio_frames, sine_wave_generator

CHANNELS = st.integers(1, 5)


def samples_of(frame: AudioFrame) -> list[int]:
    return list(frame.data)


def test_create_is_silent_and_writable():
    frame = AudioFrame.create(48000, 2, 480)
    assert (frame.sample_rate, frame.num_channels, frame.samples_per_channel) == (48000, 2, 480)
    assert len(frame.data) == 960 and frame.data.format == "h" and not any(frame.data)
    assert frame.duration == 0.01
    np.frombuffer(frame.data, dtype=np.int16)[:] = 7
    assert set(frame.data) == {7}


def test_the_callers_buffer_is_kept():
    owner = bytearray(8)
    frame = AudioFrame(owner, 8000, 1, 4)
    frame.data[1] = 300
    assert owner == b"\0\0" + (300).to_bytes(2, sys.byteorder) + b"\0\0\0\0"
    values = np.zeros(4, np.int16)
    for data in (values, values.data, memoryview(values).cast("B"), values.reshape(4, 1)):
        values[:] = 0
        AudioFrame(data, 8000, 1, 4).data[2] = -9
        assert values.tolist() == [0, 0, -9, 0]


def test_bytes_make_a_read_only_frame():
    frame = AudioFrame(b"\1\0\2\0", 8000, 2, 1)
    assert samples_of(frame) == [1, 2] and frame.data.readonly
    with pytest.raises(TypeError):
        frame.data[0] = 3


def test_what_a_frame_can_be_made_of():
    values = array.array("h", [1, 2, 3, 4])
    for data in (values, memoryview(values), values.tobytes(), bytearray(values.tobytes())):
        assert samples_of(AudioFrame(data, 8000, 2, 2)) == [1, 2, 3, 4]
    part = memoryview(values)[1:3]
    assert samples_of(AudioFrame(part, 8000, 1, 2)) == [2, 3]
    assert samples_of(AudioFrame(np.zeros((0, 2), np.int16), 8000, 2, 0)) == []


@pytest.mark.parametrize(
    ("data", "channels", "samples", "message"),
    [
        (bytes(7), 2, 2, r"data length must be >= num_channels \* samples_per_channel \* sizeof\(int16\)"),
        (b"", 1, 1, "0 bytes given, 2 needed"),
        (bytes(9), 2, 2, r"data length must be a multiple of sizeof\(int16\)"),
        (np.zeros(4, np.float32), 1, 4, "from_ndarray takes floats"),
        (np.zeros(4, np.uint16), 1, 4, "format 'H'"),
        (np.zeros(4, ">i2"), 1, 4, "format '>h'"),
        (np.zeros((2, 4), np.uint8), 1, 4, "2 dimensions"),
        (np.zeros(8, np.int16)[::2], 1, 4, "memoryview must be contiguous"),
        (np.zeros((4, 2), np.int16), 1, 4, r"shape \(4, 2\) is neither"),
        (np.zeros((4, 2), np.int16).T, 4, 2, "contiguous"),
        (bytes(8), 0, 4, "num_channels must be positive, got 0"),
        (bytes(8), -1, 4, "num_channels must be positive, got -1"),
        (bytes(8), 1, -1, "samples_per_channel must not be negative, got -1"),
    ],
)
def test_data_that_does_not_fit_is_refused(data, channels, samples, message):
    with pytest.raises(FrameError, match=message) as caught:
        AudioFrame(data, 8000, channels, samples)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, GreenroomError)


def test_huge_and_wrong_numbers_do_no_harm():
    with pytest.raises(FrameError, match="data length must be >="):
        AudioFrame(bytes(8), 2**70, 2**40, 2**70)
    with pytest.raises(FrameError, match="sample_rate must be positive"):
        AudioFrame.create(0, 1, 1)
    with pytest.raises(TypeError):
        AudioFrame(bytes(8), 8000, 1, 4.0)
    for no_buffer in ([1, 2], "text", None, 5):
        with pytest.raises(TypeError, match="expected bytes, bytearray, memoryview"):
            AudioFrame(no_buffer, 8000, 1, 1)


def test_more_data_than_declared_is_kept_and_not_counted():
    frame = AudioFrame(bytes(range(12)), 8000, 1, 4)
    assert len(frame.data) == 6 and frame.samples_per_channel == 4 and len(frame.samples()) == 8
    assert len(frame.to_wav_bytes()) == 44 + 12
    assert frame.to_ndarray().shape == (4, 1)
    assert len(combine_audio_frames([frame, frame]).data) == 8


def test_repr_userdata_event():
    frame = AudioFrame.create(48000, 1, 480)
    assert repr(frame) == "rtc.AudioFrame(sample_rate=48000, num_channels=1, samples_per_channel=480, duration=0.010)"
    assert frame.userdata == {} and frame.userdata is not AudioFrame.create(48000, 1, 1).userdata
    mine = {"a": 1}
    assert AudioFrame(bytes(2), 8000, 1, 1, userdata=mine).userdata is mine
    assert AudioFrameEvent(frame=frame).frame is frame


def test_frames_can_be_copied_and_pickled():
    frame = AudioFrame(b"\1\0\2\0", 8000, 1, 2, userdata={"a": 1})
    for other in (copy.copy(frame), copy.deepcopy(frame), pickle.loads(pickle.dumps(frame))):
        assert samples_of(other) == [1, 2] and other.sample_rate == 8000 and other.userdata == {"a": 1}


@given(st.lists(st.integers(-32768, 32767), max_size=60), CHANNELS)
def test_arrays_round_trip(values, channels):
    values = values[: len(values) // channels * channels]
    flat = np.array(values, np.int16)
    frame = AudioFrame.from_ndarray(flat, 16000, num_channels=channels)
    assert samples_of(frame) == values
    shaped = frame.to_ndarray()
    assert shaped.shape == (len(values) // channels, channels)
    assert samples_of(AudioFrame.from_ndarray(shaped, 16000)) == values
    for dtype in ("float32", "float64"):
        floats = frame.to_ndarray(dtype)
        assert floats.dtype == dtype and np.abs(floats).max(initial=0) <= 1
        assert samples_of(AudioFrame.from_ndarray(floats, 16000)) == values


def test_arrays_alias_where_they_can():
    values = np.zeros((4, 2), np.int16)
    frame = AudioFrame.from_ndarray(values, 8000)
    frame.to_ndarray()[1, 1] = 5
    np.asarray(frame)[0, 0] = 6
    assert values[1, 1] == 5 and values[0, 0] == 6
    frame.to_ndarray("float32")[0, 0] = 1.0
    assert values[0, 0] == 6
    assert np.array(frame, copy=True) is not values and np.asarray(frame, dtype=np.int32).dtype == np.int32
    assert not AudioFrame(bytes(4), 8000, 1, 2).to_ndarray().flags.writeable
    transposed = AudioFrame.from_ndarray(np.arange(6, dtype=np.int16).reshape(2, 3).T, 8000)
    assert samples_of(transposed) == [0, 3, 1, 4, 2, 5]


def test_floats_are_scaled_rounded_and_clipped():
    floats = [0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -np.inf, np.nan, 0.4 / 32768, 0.6 / 32768]
    wanted = [0, 16384, -16384, 32767, -32768, 32767, -32768, 0, 0, 1]
    for dtype in (np.float16, np.float32, np.float64):
        frame = AudioFrame.from_ndarray(np.array(floats, dtype), 8000)
        if dtype is np.float16:
            assert samples_of(frame)[:8] == wanted[:8]
        else:
            assert samples_of(frame) == wanted


@pytest.mark.parametrize(
    ("values", "channels", "message"),
    [
        (np.zeros(5, np.int16), 2, "5 samples are not a multiple of 2 channels"),
        (np.zeros(5, np.int16), 0, "not a multiple of 0 channels"),
        (np.zeros((2, 2, 2), np.int16), None, "neither"),
        (np.zeros((2, 0), np.int16), None, "neither"),
        (np.int16(3), None, "neither"),
        (np.zeros((2, 2), np.int16), 3, "does not have 3 channels"),
        (np.zeros(4, np.int32), None, "not int32"),
        (np.zeros(4, np.complex64), None, "not complex64"),
        (np.array(["a"]), None, "not <U1"),
    ],
)
def test_arrays_that_are_no_samples_are_refused(values, channels, message):
    with pytest.raises(FrameError, match=message):
        AudioFrame.from_ndarray(values, 8000, num_channels=channels)
    with pytest.raises(FrameError, match="not int32"):
        AudioFrame.create(8000, 1, 1).to_ndarray("int32")


def test_wav_bytes_are_what_the_standard_library_writes():
    frame = AudioFrame.from_ndarray(np.arange(-300, 300, dtype=np.int16), 22050, num_channels=2)
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setnchannels(2)
            writer.setsampwidth(2)
            writer.setframerate(22050)
            writer.writeframes(frame.data)
        assert frame.to_wav_bytes() == file.getvalue()
    again = AudioFrame.from_wav(frame.to_wav_bytes())
    assert again.data == frame.data and repr(again) == repr(frame)


def test_remix_and_resample_keeps_the_duration():
    frame = AudioFrame.from_ndarray(np.full(441, 1000, np.int16), 44100)
    other = frame.remix_and_resample(48000, 2)
    assert (other.sample_rate, other.num_channels, other.samples_per_channel) == (48000, 2, 480)
    both = other.to_ndarray()
    assert (both[:, 0] == both[:, 1]).all() and abs(int(both[240, 0]) - 1000) <= 1
    same = frame.remix_and_resample(44100, 1)
    assert same.data == frame.data and same is not frame
    for rate, channels in ((0, 1), (48000, 0), (-5, 1), (2**40, 1), (48000, 1000)):
        with pytest.raises(FrameError):
            frame.remix_and_resample(rate, channels)


def test_combine():
    one, two = AudioFrame(b"\1\0\2\0", 48000, 2, 1), AudioFrame(b"\3\0\4\0", 48000, 2, 1)
    both = combine_audio_frames([one, two])
    assert samples_of(both) == [1, 2, 3, 4] and both.samples_per_channel == 2 and both.num_channels == 2
    both.data[0] = 9
    assert samples_of(one) == [1, 2]
    assert combine_audio_frames(one) is one
    assert samples_of(combine_audio_frames(frame for frame in (one, two))) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "buffer is empty"),
        ([(48000, 1), (16000, 1)], "Sample rate mismatch: expected 48000, got 16000"),
        ([(48000, 1), (48000, 2)], "Channel count mismatch: expected 1, got 2"),
    ],
)
def test_combine_refuses(frames, message):
    with pytest.raises(FrameError, match=f"^{message}$"):
        combine_audio_frames([AudioFrame.create(rate, channels, 1) for rate, channels in frames])


def test_sine_wave_generator_has_no_seam():
    async def collect():
        return [frame async for frame in sine_wave_generator(440, 0.25, 48000, 0.5)]

    frames = asyncio.run(collect())
    assert [frame.samples_per_channel for frame in frames] == [4800, 4800, 2400]
    joined = combine_audio_frames(frames).to_ndarray()[:, 0]
    wanted = np.rint(16384 * np.sin(2 * np.pi * 440 * np.arange(12000) / 48000))
    assert np.abs(joined - wanted).max() <= 1


def test_pydantic_models_hold_frames():
    pydantic = pytest.importorskip("pydantic")

    class Message(pydantic.BaseModel):
        frame: AudioFrame

    frame = AudioFrame(b"\1\0\2\0", 8000, 2, 1)
    message = Message(frame=frame)
    assert message.frame is frame
    text = message.model_dump_json()
    assert '"data":"AQACAA=="' in text
    again = Message.model_validate_json(text).frame
    assert samples_of(again) == [1, 2] and repr(again) == repr(frame)
    assert samples_of(Message.model_validate(message.model_dump()).frame) == [1, 2]
    bad = {"data": "AQACAA==", "sample_rate": 8000, "num_channels": 2, "samples_per_channel": 9}
    for value in (3, {"data": "%%"}, {**bad, "data": "?"}, bad):
        with pytest.raises(pydantic.ValidationError):
            Message.model_validate({"frame": value})


def test_frames_cost_no_numpy():
    program = "import sys, greenroom.media.audio as a; a.AudioFrame.create(8000, 1, 1).to_wav_bytes(); "
    program += "assert 'numpy' not in sys.modules and 'pydantic_core' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)

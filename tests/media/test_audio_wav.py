import io
import os
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import FrameError, StateError
from greenroom.media.audio import AudioFrame, combine_audio_frames
from greenroom.media.wav import WavReader, WavWriter, read_wav, write_wav

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def fmt(encoding: int, channels: int, rate: int, bits: int, stride: int | None = None, extra: bytes = b"") -> bytes:
    stride = channels * bits // 8 if stride is None else stride
    body = struct.pack("<HHIIHH", encoding, channels, rate, rate * stride & 0xFFFFFFFF, stride, bits)
    return chunk(b"fmt ", body + extra)


def riff(*chunks: bytes, kind: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack("<I", len(body)) + body


class Pipe(io.RawIOBase):
    """Gives its bytes a few at a time and cannot seek."""

    def __init__(self, data: bytes):
        self._data = io.BytesIO(data)

    def read(self, size=-1):
        return self._data.read(min(size, 5) if size >= 0 else 5)

    def seekable(self):
        return False


def values_of(frame: AudioFrame) -> list[int]:
    return list(frame.data)


INT16 = struct.pack("<4h", -32768, -1, 2, 32767)


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "pipe"])
def test_sources(kind, tmp_path):
    data = riff(fmt(PCM, 2, 44100, 16), chunk(b"data", INT16))
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    source = {"bytes": data, "path": path, "file": io.BytesIO(data), "pipe": Pipe(data)}[kind]
    frame = read_wav(source)
    assert values_of(frame) == [-32768, -1, 2, 32767] and (frame.sample_rate, frame.num_channels) == (44100, 2)
    if kind == "file":
        assert not source.closed
    assert AudioFrame.from_wav(str(path)).data == frame.data


@pytest.mark.parametrize(
    ("encoding", "bits", "body", "wanted"),
    [
        (PCM, 8, bytes([0, 128, 255]), [-32768, 0, 32512]),
        (PCM, 24, b"\0\0\x80" + b"\x7f\0\0" + b"\x80\0\0" + b"\xff\xff\x7f", [-32768, 0, 1, 32767]),
        (PCM, 32, struct.pack("<3i", -(2**31), 1 << 16, 2**31 - 1), [-32768, 1, 32767]),
        (FLOAT, 32, struct.pack("<5f", -1, 0.5, 1, 7, float("nan")), [-32768, 16384, 32767, 32767, 0]),
        (FLOAT, 64, struct.pack("<2d", -0.25, float("inf")), [-8192, 32767]),
    ],
)
def test_encodings(encoding, bits, body, wanted):
    assert values_of(read_wav(riff(fmt(encoding, 1, 8000, bits), chunk(b"data", body)))) == wanted
    guid = struct.pack("<HHIH", 22, bits, 0, encoding) + bytes.fromhex("0000001000800000aa00389b71")
    extensible = riff(fmt(EXTENSIBLE, 1, 8000, bits, extra=guid), chunk(b"data", body))
    assert values_of(read_wav(extensible)) == wanted


def test_other_chunks_are_passed_over():
    data = riff(
        chunk(b"JUNK", bytes(27)),
        fmt(PCM, 1, 8000, 16),
        chunk(b"LIST", b"INFOabc"),
        chunk(b"data", INT16),
        chunk(b"id3 ", b"later"),
    )
    assert values_of(read_wav(data)) == [-32768, -1, 2, 32767]
    assert values_of(read_wav(Pipe(data))) == [-32768, -1, 2, 32767]


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 9])
def test_sizes_that_claim_too_much_end_with_the_file(size):
    data = riff(fmt(PCM, 1, 8000, 16), chunk(b"data", INT16, size))
    for source in (data, Pipe(data)):
        assert values_of(read_wav(source)) == [-32768, -1, 2, 32767]


def test_rf64():
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, 4, 2, 0))
    data = riff(ds64, fmt(PCM, 1, 8000, 16), chunk(b"data", INT16, 0xFFFFFFFF), kind=b"RF64")
    assert values_of(read_wav(data)) == [-32768, -1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a WAV file: it begins with b''"),
        (b"RIFF\0\0\0\0WAV", "not a WAV file"),
        (b"OggS" + bytes(40), "not a WAV file"),
        (riff(), "it has no samples"),
        (riff(fmt(PCM, 1, 8000, 16)), "it has no samples"),
        (riff(chunk(b"data", INT16)), "samples come before their format"),
        (riff(chunk(b"fmt ", b"\1\0\1\0"), chunk(b"data", INT16)), "its format has 4 bytes, not 16"),
        (riff(chunk(b"fmt ", b"\1\0", 0xFFFFFFFF)), "its format has 2 bytes"),
        (riff(chunk(b"JUNK", b"", 0xFFFFFFFE), fmt(PCM, 1, 8000, 16), chunk(b"data", INT16)), "it has no samples"),
        (riff(fmt(7, 1, 8000, 8), chunk(b"data", INT16)), "encoding 7 with 8 bits is not understood"),
        (riff(fmt(PCM, 1, 8000, 12), chunk(b"data", INT16)), "encoding 1 with 12 bits"),
        (riff(fmt(PCM, 1, 8000, 0), chunk(b"data", INT16)), "encoding 1 with 0 bits"),
        (riff(fmt(EXTENSIBLE, 1, 8000, 16), chunk(b"data", INT16)), "encoding 65534"),
        (riff(fmt(PCM, 0, 8000, 16), chunk(b"data", INT16)), "0 channels at 8000 Hz"),
        (riff(fmt(PCM, 65535, 8000, 16, 2), chunk(b"data", INT16)), "65535 channels"),
        (riff(fmt(PCM, 1, 0, 16), chunk(b"data", INT16)), "1 channels at 0 Hz"),
        (riff(fmt(PCM, 1, 0xFFFFFFFF, 16), chunk(b"data", INT16)), "at 4294967295 Hz"),
        (riff(fmt(PCM, 2, 8000, 16, 0), chunk(b"data", INT16)), "2 channels of 16 bits are not 0 bytes"),
        (riff(fmt(PCM, 2, 8000, 16, 3), chunk(b"data", INT16)), "are not 3 bytes"),
    ],
)
def test_broken_files_are_refused(data, message):
    for source in (data, Pipe(data)):
        with pytest.raises(FrameError, match=message):
            read_wav(source)


@given(st.binary(max_size=120), st.integers(0, 60), st.binary(max_size=8))
def test_no_bytes_can_do_harm(tail, at, patch):
    good = riff(fmt(PCM, 2, 8000, 16), chunk(b"data", INT16))
    for data in (b"RIFF\0\0\0\0WAVE" + tail, good[:at] + patch + good[at + len(patch) :], good[:at]):
        try:
            frame = read_wav(data)
        except FrameError:
            continue
        assert len(frame.data) == frame.num_channels * frame.samples_per_channel <= len(data)


def test_iteration_gives_frames_and_a_shorter_last_one():
    values = np.arange(2 * 1050, dtype=np.int16)
    data = AudioFrame.from_ndarray(values, 8000, num_channels=2).to_wav_bytes()
    with WavReader(data, frame_ms=20) as reader:
        assert (reader.sample_rate, reader.num_channels) == (8000, 2)
        frames = list(reader)
        assert list(reader) == [] and reader.read().samples_per_channel == 0
    assert [frame.samples_per_channel for frame in frames] == [160] * 6 + [90]
    assert np.array_equal(combine_audio_frames(frames).data, values)
    frames[0].data[0] = 5
    reader = WavReader(data, frame_ms=0.001)
    assert reader.read(3).samples_per_channel == 3 and next(iter(reader)).samples_per_channel == 1
    assert reader.read(-1).samples_per_channel == 0 and reader.read().samples_per_channel == 1046
    for wrong in (0, -1, float("nan"), 10**6):
        with pytest.raises(FrameError, match="frames of"):
            WavReader(data, frame_ms=wrong)


def test_a_frame_cut_off_inside_a_sample_is_left_out():
    data = riff(fmt(PCM, 2, 8000, 16), chunk(b"data", INT16[:7]))
    assert values_of(read_wav(data)) == [-32768, -1]


def test_writer_makes_files_others_read(tmp_path):
    path = tmp_path / "a.wav"
    frames = [AudioFrame.from_ndarray(np.full((n, 2), n, np.int16), 22050) for n in (3, 5)]
    write_wav(path, iter(frames))
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (2, 2, 22050, 8)
        assert np.frombuffer(file.readframes(99), np.int16).tolist() == [3] * 6 + [5] * 10
    assert path.read_bytes() == combine_audio_frames(frames).to_wav_bytes()
    write_wav(path, frames[0])
    assert read_wav(path).samples_per_channel == 3


def test_writer_to_a_pipe_leaves_the_size_open():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file, WavWriter(file, 8000) as writer:
        writer.write(AudioFrame(b"\1\0\2\0", 8000, 1, 2))
    with os.fdopen(reading, "rb") as file:
        assert values_of(read_wav(file)) == [1, 2]


def test_writer_inside_a_larger_file():
    file = io.BytesIO(b"before")
    file.seek(6)
    with WavWriter(file, 8000) as writer:
        writer.write(AudioFrame(b"\1\0", 8000, 1, 1))
    assert file.tell() == 6 + 46 and not file.closed
    assert values_of(read_wav(file.getvalue()[6:])) == [1]


def test_writer_refuses(tmp_path):
    writer = WavWriter(tmp_path / "a.wav", 8000)
    with pytest.raises(FrameError, match="1 channels at 8000 Hz, not 2 at 8000 Hz"):
        writer.write(AudioFrame.create(8000, 2, 1))
    writer.close()
    writer.close()
    with pytest.raises(StateError):
        writer.write(AudioFrame.create(8000, 1, 1))
    with pytest.raises(FrameError, match="no frame"):
        write_wav(tmp_path / "b.wav", [])
    assert not (tmp_path / "b.wav").exists()
    for rate, channels in ((0, 1), (8000, 0), (10**7, 1)):
        with pytest.raises(FrameError, match="cannot be written"):
            WavWriter(tmp_path / "c.wav", rate, channels)
    assert not (tmp_path / "c.wav").exists()
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")

"""A frame's memory: lengths, layouts, views, who shares what with whom, and everything that must be refused."""

import array
import copy
import ctypes
import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from greenroom import _engine
from greenroom.errors import FrameError
from greenroom.media import ScaleFilter, VideoBufferType, VideoFrame, VideoRotation
from greenroom.media.video_buffer import layout_of

T = VideoBufferType
ALL = list(T)

# Bytes of a 5 x 3 picture and of each of its planes (none for packed types).
LAYOUTS = {
    T.RGBA: (60, []),
    T.ABGR: (60, []),
    T.ARGB: (60, []),
    T.BGRA: (60, []),
    T.RGB24: (45, []),
    T.I420: (27, [15, 6, 6]),
    T.I420A: (42, [15, 6, 6, 15]),
    T.I422: (33, [15, 9, 9]),
    T.I444: (45, [15, 15, 15]),
    T.I010: (54, [30, 12, 12]),
    T.NV12: (27, [15, 12]),
}


def numbered(type: T, width: int = 5, height: int = 3) -> VideoFrame:
    """A frame whose bytes count up (I010: with valid high bytes)."""
    frame = VideoFrame(1, 1, T.RGBA, bytes(4)).resize(width, height).convert(type)
    data = np.arange(frame.data.nbytes).astype(np.uint8)
    if type is T.I010:
        data[1::2] &= 3
    frame.data[:] = data.tobytes()
    return frame


def test_types_have_the_official_numbers_and_answer_like_protobuf_enums():
    names = "RGBA ABGR ARGB BGRA RGB24 I420 I420A I422 I444 I010 NV12".split()
    assert [member.name for member in T] == names and [int(member) for member in T] == list(range(11))
    assert T.Name(5) == "I420" and T.Value("NV12") is T.NV12 and T.keys() == names
    assert T.values() == ALL and dict(T.items())["BGRA"] == 3
    with pytest.raises(ValueError, match="no member 'YUY2'"):
        T.Value("YUY2")
    assert [int(rotation) for rotation in VideoRotation] == [0, 1, 2, 3]
    assert [rotation.degrees for rotation in VideoRotation] == [0, 90, 180, 270]


@pytest.mark.parametrize("type", ALL)
def test_length_and_planes(type):
    size, planes = LAYOUTS[type]
    frame = VideoFrame(5, 3, type, bytes(range(size)))
    assert (frame.width, frame.height, frame.type, frame.data.nbytes) == (5, 3, type, size)
    views = [frame.get_plane(index) for index in range(len(planes))]
    assert [view.nbytes for view in views] == planes
    if planes:
        assert b"".join(views) == bytes(range(size))
    assert frame.get_plane(len(planes)) is None and frame.get_plane(-1) is None
    assert repr(frame) == f"rtc.VideoFrame(width=5, height=3, type={type.name})"


@pytest.mark.parametrize("type", ALL)
@pytest.mark.parametrize("difference", [-1, 1, -1000000])
def test_a_wrong_length_is_refused_with_the_right_one(type, difference):
    size = LAYOUTS[type][0]
    with pytest.raises(FrameError, match=f"{type.name} of 5x3 needs {size} bytes, got {max(0, size + difference)}"):
        VideoFrame(5, 3, type, bytes(max(0, size + difference)))


@pytest.mark.parametrize("width, height", [(0, 1), (1, 0), (-1, 4), (4, -1), (16385, 1), (1, 1 << 31), (1 << 80, 1)])
def test_impossible_sizes_are_refused(width, height):
    with pytest.raises(FrameError):
        VideoFrame(width, height, T.RGBA, bytes(16))
    with pytest.raises(FrameError):
        VideoFrame(2, 2, T.RGBA, bytes(16)).resize(width, height)


@pytest.mark.parametrize("type", [-1, 11, 255, 1 << 70, "RGBA", None])
def test_unknown_types_are_refused(type):
    with pytest.raises(FrameError, match=r"not a video buffer type; these are: RGBA \(0\)"):
        VideoFrame(1, 1, type, bytes(4))
    with pytest.raises(FrameError):
        VideoFrame(1, 1, T.RGBA, bytes(4)).convert(type)


@pytest.mark.parametrize("width", [1.0, "1", None])
def test_sizes_are_integers(width):
    with pytest.raises(TypeError):
        VideoFrame(width, 1, T.RGBA, bytes(4))


def test_numpy_integers_are_sizes():
    frame = VideoFrame(np.int64(2), np.uint8(1), np.int32(4), bytes(6))
    assert (frame.width, frame.height, frame.type) == (2, 1, T.RGB24)


@pytest.mark.parametrize(
    "data",
    [
        array.array("B", range(8)),
        np.arange(8, dtype=np.uint8),
        np.arange(8, dtype=np.int8).reshape(1, 2, 4),
        memoryview(bytes(range(8))).cast("c"),
        (ctypes.c_ubyte * 8)(*range(8)),
        (ctypes.c_ubyte * 4 * 2)(*[(ctypes.c_ubyte * 4)(*range(4)), (ctypes.c_ubyte * 4)(*range(4, 8))]),
    ],
    ids=["array", "uint8", "int8-3d", "memoryview-c", "ctypes", "ctypes-2d"],
)
def test_any_contiguous_buffer_of_bytes_is_taken_without_a_copy(data):
    frame = VideoFrame(2, 1, T.RGBA, data)
    assert frame.data.tolist() == list(range(8))
    assert (frame.data.format, frame.data.ndim) == ("B", 1)
    if not frame.data.readonly:
        frame.data[7] = 99
        assert memoryview(data).tobytes()[7] == 99


def test_sixteen_bit_items_are_taken_for_i010_alone():
    samples = np.array([64, 512, 960], dtype=np.uint16)
    assert VideoFrame(1, 1, T.I010, samples).data.nbytes == 6
    with pytest.raises(FrameError, match="not of 'H'"):
        VideoFrame(1, 2, T.RGB24, samples)


@pytest.mark.parametrize(
    "data", [np.zeros(1, np.float32), np.zeros(2, np.bool_), array.array("d", [0.0]), memoryview(bytes(8)).cast("I")]
)
def test_other_items_are_refused_not_reinterpreted(data):
    with pytest.raises(FrameError, match="is made of B or b or c items"):
        VideoFrame(1, 1, T.RGBA, data)


@pytest.mark.parametrize("data", [None, "abcd", 4, [0, 0, 0, 0]])
def test_what_is_no_buffer_is_a_type_error(data):
    with pytest.raises(TypeError):
        VideoFrame(1, 1, T.RGBA, data)


@pytest.mark.parametrize(
    "data",
    [memoryview(bytes(8))[::2], np.zeros((2, 8), np.uint8)[:, :2], np.asfortranarray(np.zeros((2, 2), np.uint8))],
)
def test_gaps_are_refused(data):
    with pytest.raises(FrameError, match="not contiguous"):
        VideoFrame(1, 1, T.RGBA, data)


def test_the_callers_buffer_shows_through():
    data = bytearray(4)
    frame = VideoFrame(1, 1, T.RGBA, data)
    data[0] = 255
    assert frame.data[0] == 255
    frame.data[1] = 254
    assert data[1] == 254
    assert VideoFrame(1, 1, T.RGBA, bytes(4)).data.readonly
    with pytest.raises(BufferError):
        data.extend(b"more")


def test_convert_into_the_callers_memory():
    source, out = numbered(T.RGBA), bytearray(45)
    frame = source.convert(T.RGB24, out=out)
    assert bytes(out) == bytes(frame.data) == bytes(source.convert(T.RGB24).data)
    frame.data[0] ^= 255
    assert out[0] == frame.data[0]
    into_array = np.empty((3, 5, 3), np.uint8)
    source.convert(T.RGB24, out=into_array)
    assert into_array.tobytes() == bytes(source.convert(T.RGB24).data)


def test_unusable_targets_are_refused():
    source = numbered(T.RGBA)
    with pytest.raises(FrameError, match="read-only"):
        source.convert(T.RGB24, out=bytes(45))
    with pytest.raises(FrameError, match="RGB24 of 5x3 needs 45 bytes, got 44"):
        source.convert(T.RGB24, out=bytearray(44))
    with pytest.raises(FrameError, match="not contiguous"):
        source.convert(T.RGB24, out=np.zeros((3, 5, 4), np.uint8)[..., :3])
    with pytest.raises(FrameError, match="overlaps"):
        source.convert(T.BGRA, out=source.data)
    shared = bytearray(60 + 30)
    part = VideoFrame(5, 3, T.RGBA, memoryview(shared)[:60])
    with pytest.raises(FrameError, match="overlaps"):
        part.convert(T.BGRA, out=memoryview(shared)[30:])


@pytest.mark.parametrize("type", ALL)
def test_arrays_share_memory_and_come_back(type):
    for width, height in [(6, 4), (5, 3), (6, 3)]:
        frame = numbered(type, width, height)
        pixels = frame.to_ndarray()
        assert pixels.tobytes() == bytes(frame.data) and np.asarray(frame).tobytes() == bytes(frame.data)
        assert pixels.dtype == (np.uint16 if type is T.I010 else np.uint8)
        frame.data[0] ^= 0x55
        assert pixels.tobytes() == bytes(frame.data)
        again = VideoFrame.from_ndarray(pixels, type, width=width, height=height)
        assert np.shares_memory(np.asarray(again), pixels)
        if pixels.ndim > 1:
            inferred = VideoFrame.from_ndarray(pixels, type)
            assert (inferred.width, inferred.height) == (width, height)


def test_array_shapes():
    shapes = {type: numbered(type, 6, 4).to_ndarray().shape for type in ALL}
    packed = {type: (4, 6, 4) for type in (T.RGBA, T.ABGR, T.ARGB, T.BGRA)}
    rows = {T.I420: (6, 6), T.NV12: (6, 6), T.I010: (6, 6), T.I422: (8, 6), T.I420A: (10, 6)}
    assert shapes == packed | {T.RGB24: (4, 6, 3), T.I444: (3, 4, 6)} | rows
    assert numbered(T.I420, 5, 3).to_ndarray().shape == (27,)
    assert [plane.shape for plane in numbered(T.NV12, 5, 3).plane_arrays()] == [(3, 5), (2, 3, 2)]
    assert [plane.shape for plane in numbered(T.I420A, 5, 3).plane_arrays()] == [(3, 5), (2, 3), (2, 3), (3, 5)]


def test_an_array_with_gaps_is_copied():
    whole = np.arange(8 * 10 * 4, dtype=np.uint8).reshape(8, 10, 4)
    part = whole[2:5, 3:7]
    frame = VideoFrame.from_ndarray(part)
    assert (frame.width, frame.height) == (4, 3) and np.array_equal(frame.to_ndarray(), part)
    assert not np.shares_memory(frame.to_ndarray(), whole)


@pytest.mark.parametrize(
    "shape, dtype, type, message",
    [
        ((4, 4, 3), np.uint8, T.RGBA, r"\(height, width, 4\)"),
        ((4, 4), np.uint8, T.RGB24, r"\(height, width, 3\)"),
        ((5, 4), np.uint8, T.I420, r"height \* 3 // 2"),
        ((6, 5), np.uint8, T.NV12, "even size"),
        ((4, 4, 3), np.uint8, T.I444, r"\(3, height, width\)"),
        ((4, 4, 4), np.float32, T.RGBA, "dtype uint8, not float32"),
        ((6, 4), np.uint8, T.I010, "dtype uint16"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(shape, dtype, type, message):
    with pytest.raises(FrameError, match=message):
        VideoFrame.from_ndarray(np.zeros(shape, dtype), type)


def test_half_a_size_is_refused():
    with pytest.raises(FrameError, match="both width and height"):
        VideoFrame.from_ndarray(np.zeros(27, np.uint8), T.I420, width=5)


def test_dlpack():
    frame = numbered(T.BGRA)
    view = np.from_dlpack(frame)
    assert np.shares_memory(view, frame.to_ndarray()) and view.shape == (3, 5, 4)


@pytest.mark.parametrize("type", ALL)
def test_planes_with_strides(type):
    frame = numbered(type)
    planes = []
    for data, row in frame._strided_planes():
        padded = b"".join(data[start : start + row].tobytes() + b"\xee" * 7 for start in range(0, data.nbytes, row))
        planes.append((padded[:-7], row + 7))
    assert bytes(VideoFrame.from_planes(5, 3, type, planes).data) == bytes(frame.data)
    with pytest.raises(FrameError, match=f"{type.name} has {len(planes)} planes"):
        VideoFrame.from_planes(5, 3, type, [*planes, planes[0]])
    with pytest.raises(FrameError, match="needs"):
        VideoFrame.from_planes(5, 3, type, [(planes[0][0][:-1], planes[0][1]), *planes[1:]])
    with pytest.raises(FrameError, match="stride of 1 is too short"):
        VideoFrame.from_planes(5, 3, type, [(planes[0][0], 1), *planes[1:]])


@pytest.mark.parametrize("type", ALL)
def test_pyav_takes_and_gives_every_encoding(type):
    pytest.importorskip("av")
    for width, height in [(5, 3), (64, 33), (640, 2)]:
        frame = numbered(type, width, height)
        image = frame.to_av()
        assert (image.width, image.height) == (width, height)
        again = VideoFrame.from_av(image)
        assert again.type is type and bytes(again.data) == bytes(frame.data)


def test_pyav_formats_without_an_encoding_are_named():
    av = pytest.importorskip("av")
    with pytest.raises(FrameError, match=r"'gray'.*yuv420p"):
        VideoFrame.from_av(av.VideoFrame(4, 4, "gray"))


def test_pillow():
    image_module = pytest.importorskip("PIL.Image")
    frame = numbered(T.RGBA)
    assert frame.to_pil().tobytes() == bytes(frame.data)
    for type, mode in [(T.ARGB, "RGBA"), (T.I420A, "RGBA"), (T.RGB24, "RGB"), (T.NV12, "RGB")]:
        assert numbered(type).to_pil().mode == mode
    assert bytes(VideoFrame.from_pil(frame.to_pil()).data) == bytes(frame.data)
    grey = VideoFrame.from_pil(image_module.new("L", (2, 1), 7))
    assert grey.type is T.RGB24 and bytes(grey.data) == b"\x07" * 6


def test_pydantic_round_trip():
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", frame=(VideoFrame, ...))
    frame = numbered(T.NV12)
    again = model.model_validate_json(model(frame=frame).model_dump_json()).frame
    assert (again.type, again.width, bytes(again.data)) == (T.NV12, 5, bytes(frame.data))
    with pytest.raises(pydantic.ValidationError, match="needs 27 bytes"):
        model.model_validate({"frame": {"width": 5, "height": 3, "type": "NV12", "data": "AAAA"}})


def test_scaling_turning_and_cropping():
    frame = numbered(T.RGB24, 4, 2)
    pixels = frame.to_ndarray()
    assert np.array_equal(frame.rotate(90).to_ndarray(), np.rot90(pixels, -1))
    assert np.array_equal(frame.rotate(VideoRotation.VIDEO_ROTATION_90).to_ndarray(), np.rot90(pixels, -1))
    assert np.array_equal(frame.rotate(2).to_ndarray(), np.rot90(pixels, 2))
    assert np.array_equal(frame.rotate(270).to_ndarray(), np.rot90(pixels, 1))
    assert np.array_equal(frame.rotate(0).to_ndarray(), pixels)
    assert np.array_equal(frame.crop(1, 1, 2, 1).to_ndarray(), pixels[1:2, 1:3])
    assert np.array_equal(frame.resize(8, 4, ScaleFilter.NEAREST).to_ndarray(), pixels.repeat(2, 0).repeat(2, 1))
    mean = pixels.astype(int).reshape(1, 2, 2, 2, 3).sum(axis=(1, 3))
    assert np.abs(frame.resize(2, 1, ScaleFilter.AREA).to_ndarray() * 4.0 - mean).max() <= 2
    for degrees in (45, -90, 360):
        with pytest.raises(FrameError, match="0, 90, 180 or 270"):
            frame.rotate(degrees)
    for rectangle in [(3, 0, 2, 1), (-1, 0, 1, 1), (0, 0, 0, 1), (0, 2, 1, 1)]:
        with pytest.raises(FrameError):
            frame.crop(*rectangle)


def test_memory_is_used_again_but_never_while_a_view_lives():
    frame = VideoFrame(64, 64, T.RGBA, bytes(64 * 64 * 4))
    first = frame.convert(T.BGRA)
    address = first.to_ndarray().ctypes.data
    view = first.get_plane(0) or first.data
    del first
    gc.collect()
    second = frame.convert(T.BGRA)
    assert second.to_ndarray().ctypes.data != address
    del view, second
    gc.collect()
    reused = {frame.convert(T.BGRA).to_ndarray().ctypes.data for _ in range(4)}
    assert len(reused) <= 2


def test_two_threads_convert_at_once_and_get_the_same():
    frame = numbered(T.RGBA, 333, 117)
    expected = {type: bytes(frame.convert(type).data) for type in ALL}
    wrong = []

    def convert_all() -> None:
        for type in ALL * 5:
            if bytes(frame.convert(type).data) != expected[type]:
                wrong.append(type)

    threads = [threading.Thread(target=convert_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_threads_run_python_during_a_conversion():
    """Nothing takes the GIL away for ten seconds here, so whoever runs while the other works was given it."""
    frame = VideoFrame(2048, 2048, T.RGBA, bytes(2048 * 2048 * 4))
    out = bytearray(layout_of(T.I444, 2048, 2048).size)
    seen_at_work: list[bool] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)
    try:
        # A busy machine may wake the watcher too late now and then, but not every time.
        while True not in seen_at_work and len(seen_at_work) < 50:
            begun, finished = threading.Event(), []

            def work(begun: threading.Event = begun, finished: list[bool] = finished) -> None:
                begun.set()
                _engine.convert_frame(
                    T.RGBA, (2048, 2048), frame.data, T.I444, out, flip_y=False, matrix=0, range=0, isa="portable"
                )
                finished.append(True)

            worker = threading.Thread(target=work)
            worker.start()
            begun.wait()
            seen_at_work.append(not finished)
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert True in seen_at_work


def test_frames_do_not_copy_themselves():
    with pytest.raises(TypeError):
        copy.deepcopy(numbered(T.RGBA))


def test_the_module_does_not_import_numpy():
    script = "import sys, greenroom.media; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0

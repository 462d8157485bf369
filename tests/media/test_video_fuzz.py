"""Whatever is passed, a frame is right or refused; nothing is read or written beyond a buffer."""

import threading

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom.errors import FrameError
from greenroom.media import ColorMatrix, ColorRange, ScaleFilter, VideoBufferType, VideoFrame
from greenroom.media.video_buffer import layout_of
from greenroom.media.video_reference import expected_samples, samples

T = VideoBufferType
types = st.sampled_from(T)
dimensions = st.integers(1, 200)
# A busy machine may take its time over any one example.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def frames(draw, valid: bool = True) -> VideoFrame:
    """Noise of any encoding and size; with `valid`, samples of ten bits stay below 1024."""
    type, width, height = draw(types), draw(dimensions), draw(dimensions)
    noise = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    data = noise.integers(0, 256, layout_of(type, width, height).size, np.uint8)
    if valid and type is T.I010:
        data[1::2] &= 3
    return VideoFrame(width, height, type, data)


@patient
@given(frames(), types, st.booleans(), st.sampled_from(ColorMatrix), st.sampled_from(ColorRange))
def test_any_picture_to_any_encoding_is_exact_to_a_code(frame, target, flip_y, matrix, range):
    converted = frame.convert(target, flip_y=flip_y, matrix=matrix, range=range)
    expected = expected_samples(frame, target, flip_y=flip_y, matrix=matrix, range=range)
    assert np.abs(samples(converted) - expected).max() <= (2.6 if target is T.I010 else 0.65)


@patient
@given(frames(valid=False), types, st.integers(0, 64), st.integers(0, 64))
def test_bytes_around_the_target_stay_untouched(frame, target, before, after):
    size = layout_of(target, frame.width, frame.height).size
    memory = bytearray(b"\xa5" * (before + size + after))
    frame.convert(target, out=memoryview(memory)[before : before + size])
    assert memory[:before] == b"\xa5" * before and memory[before + size :] == b"\xa5" * after


@patient
@given(
    st.integers(-(1 << 70), 1 << 70) | dimensions,
    st.integers(-(1 << 70), 1 << 70) | dimensions,
    st.integers(-2, 12),
    st.binary(max_size=400),
)
def test_any_constructor_arguments(width, height, type, data):
    try:
        frame = VideoFrame(width, height, type, data)
    except FrameError:
        return
    assert frame.data.nbytes == layout_of(frame.type, width, height).size == len(data)
    for target in T:
        frame.convert(target)


@patient
@given(frames(valid=False), dimensions, dimensions, st.sampled_from(ScaleFilter))
def test_any_scaling_stays_within_the_values_of_the_picture(frame, width, height, filter):
    scaled = frame.resize(width, height, filter)
    assert (scaled.width, scaled.height, scaled.type) == (width, height, frame.type)
    if frame.type is not T.I010:
        # Each plane on its own: the least and greatest of the new one are not beyond those of the old.
        for old, new in zip(frame.plane_arrays(), scaled.plane_arrays(), strict=True):
            assert old.min() <= new.min() and new.max() <= old.max()


@patient
@given(frames(valid=False), st.integers(-2, 400), st.integers(-2, 400), st.integers(-1, 300), st.integers(-1, 300))
def test_any_rectangle_is_cut_or_refused(frame, x, y, width, height):
    inside = x >= 0 and y >= 0 and width > 0 and height > 0
    inside = inside and x + width <= frame.width and y + height <= frame.height
    try:
        part = frame.crop(x, y, width, height)
    except FrameError:
        assert not inside
        return
    assert inside
    if frame.type in (T.RGBA, T.RGB24):
        assert np.array_equal(part.to_ndarray(), frame.to_ndarray()[y : y + height, x : x + width])


@patient
@given(frames(valid=False), st.sampled_from([0, 1, 2, 3, 90, 180, 270]))
def test_a_turn_keeps_every_sample_of_packed_pictures(frame, rotation):
    turned = frame.rotate(rotation)
    assert sorted((turned.width, turned.height)) == sorted((frame.width, frame.height))
    if frame.type is not T.I422:
        assert sorted(turned.data) == sorted(frame.data)


@patient
@given(types, dimensions, dimensions, st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 1 << 62)), max_size=5))
def test_any_planes(type, width, height, planes):
    try:
        frame = VideoFrame.from_planes(width, height, type, planes)
    except FrameError:
        return
    assert frame.data.nbytes == layout_of(type, width, height).size


def test_a_bytearray_cannot_shrink_under_a_conversion():
    data = bytearray(1280 * 720 * 4)
    frame = VideoFrame(1280, 720, T.RGBA, data)
    refused, done = [], threading.Event()

    def shrink() -> None:
        while not done.is_set():
            try:
                data.clear()
            except BufferError:
                refused.append(True)

    thread = threading.Thread(target=shrink)
    thread.start()
    for _ in range(20):
        assert frame.convert(T.I420).data.nbytes == 1280 * 720 * 3 // 2
    done.set()
    thread.join()
    assert refused and len(data) == 1280 * 720 * 4

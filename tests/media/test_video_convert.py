"""Conversions between all pairs of encodings, judged by single known pixels and by other people's converters."""

import numpy as np
import pytest

from greenroom import _engine
from greenroom.media import ColorMatrix, ColorRange, VideoBufferType, VideoFrame
from greenroom.media.video_reference import samples
from greenroom.media.video_table import main, worst_error

T = VideoBufferType
ALL = list(T)
WITH_ALPHA = [T.RGBA, T.ABGR, T.ARGB, T.BGRA, T.I420A]
FOUR_BYTES = [T.RGBA, T.ABGR, T.ARGB, T.BGRA]

# One pixel of pure colours in every encoding; alpha is 255.
PIXELS = {
    T.RGBA: [(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)],
    T.ABGR: [(255, 0, 0, 255), (255, 0, 255, 0), (255, 255, 0, 0)],
    T.ARGB: [(255, 255, 0, 0), (255, 0, 255, 0), (255, 0, 0, 255)],
    T.BGRA: [(0, 0, 255, 255), (0, 255, 0, 255), (255, 0, 0, 255)],
    T.RGB24: [(255, 0, 0), (0, 255, 0), (0, 0, 255)],
    T.I420: [(81, 90, 240), (145, 54, 34), (41, 240, 110)],
    T.I420A: [(81, 90, 240, 255), (145, 54, 34, 255), (41, 240, 110, 255)],
    T.I422: [(81, 90, 240), (145, 54, 34), (41, 240, 110)],
    T.I444: [(81, 90, 240), (145, 54, 34), (41, 240, 110)],
    T.I010: [(326, 361, 960), (578, 215, 137), (164, 960, 439)],
    T.NV12: [(81, 90, 240), (145, 54, 34), (41, 240, 110)],
}


def one_pixel(type: T, values: tuple[int, ...]) -> VideoFrame:
    return VideoFrame(1, 1, type, np.array(values, np.uint16 if type is T.I010 else np.uint8))


def photo(width: int, height: int, type: T) -> VideoFrame:
    """Smooth, with colours everywhere: what converters with different chroma filters agree about."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    red = 127 + 120 * np.sin(3 * x + y)
    pixels = np.stack([red, 255 * y, 255 * (1 - x), 255 * (x + y) / 2], axis=2)
    return VideoFrame.from_ndarray(pixels.clip(0, 255).astype(np.uint8)).convert(type)


@pytest.mark.parametrize("source", ALL)
def test_every_pair_is_exact_to_a_code(source):
    sizes = [(1, 1), (7, 5), (131, 6)]
    assert {target.name for target in ALL if worst_error(source, target, sizes) > 0.65} == set()


@pytest.mark.parametrize("source", ALL)
def test_known_pixels(source):
    for target in ALL:
        for values, expected in zip(PIXELS[source], PIXELS[target], strict=True):
            converted = samples(one_pixel(source, values).convert(target))
            # Codes of 8 bits name a colour only to about two codes of RGB, or eight of ten bits.
            limit = 0 if source in ALL[:5] and target in ALL[:5] else 8 if target is T.I010 else 2
            assert np.abs(converted - expected).max() <= limit, f"{values} -> {target.name} {converted}"


def test_the_literal_colour_of_the_tutorial_is_yellow_as_rgba_and_red_as_argb():
    color = bytes([255, 255, 0, 0])
    yellow = VideoFrame(1, 1, T.RGBA, color).convert(T.I420)
    red = VideoFrame(1, 1, T.ARGB, color).convert(T.I420)
    assert list(yellow.data) == [210, 16, 146] and list(red.data) == [81, 90, 240]
    assert list(yellow.convert(T.RGB24).data) == [255, 255, 0]
    assert list(red.convert(T.RGB24).data) == [254, 0, 0]


@pytest.mark.parametrize("source", WITH_ALPHA)
@pytest.mark.parametrize("target", WITH_ALPHA)
def test_alpha_is_kept_where_both_have_it(source, target):
    frame = photo(37, 5, source)
    alpha = photo(37, 5, T.RGBA).to_ndarray()[..., 3]
    assert np.array_equal(frame.convert(target).convert(T.RGBA).to_ndarray()[..., 3], alpha)


@pytest.mark.parametrize("source", sorted(set(ALL) - set(WITH_ALPHA)))
@pytest.mark.parametrize("target", WITH_ALPHA)
def test_alpha_is_opaque_where_only_the_target_has_it(source, target):
    frame = photo(37, 5, source).convert(target)
    assert (frame.convert(T.RGBA).to_ndarray()[..., 3] == 255).all()


@pytest.mark.parametrize(
    "source, target",
    [
        *((source, target) for source in (T.I420, T.NV12) for target in ALL[5:]),
        (T.I420A, T.I420A),
        (T.I422, T.I444),
        (T.I422, T.I422),
        (T.I010, T.I010),
    ],
)
def test_more_samples_or_bits_lose_nothing(source, target):
    for width, height in [(1, 1), (7, 5), (64, 33)]:
        frame = photo(width, height, source)
        assert bytes(frame.convert(target).convert(source).data) == bytes(frame.data)


@pytest.mark.parametrize("type", ALL)
def test_turned_over_in_the_same_pass(type):
    pixels = photo(9, 7, T.RGBA).to_ndarray()
    over = VideoFrame.from_ndarray(np.ascontiguousarray(pixels[::-1]))
    flipped = photo(9, 7, T.RGBA).convert(type, flip_y=True)
    assert bytes(flipped.data) == bytes(over.convert(type).data)
    same = photo(9, 7, type)
    twice = same.convert(type, flip_y=True).convert(type, flip_y=True)
    assert bytes(twice.data) == bytes(same.data) and twice is not same


@pytest.mark.parametrize("matrix", ColorMatrix)
@pytest.mark.parametrize("range", ColorRange)
@pytest.mark.parametrize("type", ALL[5:])
def test_grey_stays_grey_and_white_white(matrix, range, type):
    for level in (0, 1, 77, 128, 254, 255):
        frame = VideoFrame(1, 1, T.RGB24, bytes([level] * 3))
        yuv = frame.convert(type, matrix=matrix, range=range)
        unit = 4 if type is T.I010 else 1
        assert list(samples(yuv)[1:3]) == [128 * unit] * 2
        if level == 255:
            white = {ColorRange.LIMITED: 235 * unit, ColorRange.FULL: 256 * unit - 1}[range]
            assert samples(yuv)[0] == white
        back = yuv.convert(T.RGB24, matrix=matrix, range=range)
        assert len(set(back.data)) == 1 and abs(back.data[0] - level) <= 1


@pytest.mark.parametrize("isa", _engine.instruction_sets())
def test_every_instruction_set_gives_the_same_bytes(isa):
    """Widths on all sides of the block sizes, and invalid samples of ten bits."""
    random = np.random.default_rng(3)
    for width, height in [(1, 1), (31, 2), (32, 1), (33, 3), (66, 2), (95, 1), (640, 2)]:
        for source in ALL:
            size = VideoFrame(1, 1, T.RGBA, bytes(4)).resize(width, height).convert(source).data.nbytes
            frame = VideoFrame(width, height, source, random.integers(0, 256, size, np.uint8))
            for target in ALL:
                expected = frame.convert(target)
                out = bytearray(expected.data.nbytes)
                _engine.convert_frame(
                    source, (width, height), frame.data, target, out, flip_y=False, matrix=0, range=0, isa=isa
                )
                assert out == bytes(expected.data), f"{source.name} -> {target.name} {width}x{height}"


def test_an_instruction_set_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match='no instruction set "mmx"'):
        _engine.convert_frame(0, (1, 1), bytes(4), 0, bytearray(4), flip_y=False, matrix=0, range=0, isa="mmx")


@pytest.mark.parametrize("source", ALL)
def test_swscale_agrees(source):
    reformatter = pytest.importorskip("av.video.reformatter")
    accurate = 0x40000 | 0x2000 | 0x4000  # rounding, and all chroma of input and output
    flags = reformatter.Interpolation.POINT | accurate
    frame = photo(64, 48, source)
    for target in [target for target in ALL if target is not source]:
        format = photo(2, 2, target).to_av().format.name
        image = reformatter.VideoReformatter().reformat(frame.to_av(), format=format, interpolation=flags, threads=1)
        difference = np.abs(samples(VideoFrame.from_av(image)) - samples(frame.convert(target)))
        unit = 4 if target is T.I010 else 1
        # A few samples at the edges come from its other choice of neighbours.
        assert np.quantile(difference, 0.98) <= 3 * unit, f"{source.name} -> {target.name}: {difference.max()}"


@pytest.mark.parametrize(
    "source, target, code",
    [
        (T.I420, T.RGBA, "COLOR_YUV2RGBA_I420"),
        (T.I420, T.BGRA, "COLOR_YUV2BGRA_I420"),
        (T.I420, T.RGB24, "COLOR_YUV2RGB_I420"),
        (T.NV12, T.RGBA, "COLOR_YUV2RGBA_NV12"),
        (T.NV12, T.RGB24, "COLOR_YUV2RGB_NV12"),
        (T.RGBA, T.I420, "COLOR_RGBA2YUV_I420"),
        (T.BGRA, T.I420, "COLOR_BGRA2YUV_I420"),
        (T.RGB24, T.I420, "COLOR_RGB2YUV_I420"),
        (T.RGBA, T.BGRA, "COLOR_RGBA2BGRA"),
    ],
)
def test_opencv_agrees(source, target, code):
    cv2 = pytest.importorskip("cv2")
    frame = photo(64, 48, source)
    theirs = cv2.cvtColor(frame.to_ndarray(), getattr(cv2, code)).astype(int)
    ours = frame.convert(target).to_ndarray().astype(int)
    if target in FOUR_BYTES and source not in FOUR_BYTES:
        theirs, ours = theirs[..., :3], ours[..., :3]
    # OpenCV takes the upper left pixel's chroma where others take the mean of four.
    assert np.abs(theirs - ours).max() <= 3


def test_the_table(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "121 of 121 pairs are within one code."
    assert [line.split()[0] for line in lines[3:14]] == [type.name for type in ALL]

"""Draw one test chart through all 121 conversions onto one picture, to be looked at by eye.

    python tools/contact_sheet.py [contact_sheet.png]

Rows are the encoding the chart is put into, columns the one it is then converted to; each cell is that frame brought to
RGBA and laid over a checkerboard. The chart has colour bars, ramps of grey and of three colours, fine lines, an arrow
that points up, and a corner that fades to transparent: all cells look alike, but for transparency, which only pairs of
encodings with alpha keep.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from greenroom.media import VideoBufferType, VideoFrame

WIDTH, HEIGHT = 159, 91
GAP, MARGIN = 4, 52
BARS = [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)]


def chart() -> VideoFrame:
    """RGBA, of an odd size."""
    image = Image.new("RGBA", (WIDTH, HEIGHT), (128, 128, 128, 255))
    draw = ImageDraw.Draw(image)
    for index, color in enumerate(BARS):
        draw.rectangle((index * 20, 0, index * 20 + 19, 29), fill=(*color, 255))
    for x in range(WIDTH):
        level = x * 255 // (WIDTH - 1)
        for row, color in enumerate([(level,) * 3, (level, 0, 0), (0, level, 0), (0, 0, level)]):
            draw.line((x, 30 + row * 6, x, 35 + row * 6), fill=(*color, 255))
    for index in range(12):
        draw.line((6 + index * 2, 58, 6 + index * 2, 86), fill=(255, 255, 255, 255))
        draw.line((36, 58 + index * 2, 60, 58 + index * 2), fill=(0, 0, 0, 255))
    draw.polygon([(80, 56), (68, 72), (76, 72), (76, 88), (84, 88), (84, 72), (92, 72)], fill=(255, 128, 0, 255))
    for x in range(100, WIDTH):
        draw.line((x, 56, x, HEIGHT), fill=(0, 90, 200, 255 - (x - 100) * 255 // (WIDTH - 101)))
    return VideoFrame.from_pil(image)


def over_checkerboard(frame: VideoFrame) -> NDArray[np.uint8]:
    pixels = frame.convert(VideoBufferType.RGBA).to_ndarray().astype(np.float64)
    y, x = np.mgrid[0 : frame.height, 0 : frame.width]
    board = np.where((x // 6 + y // 6) % 2, 205.0, 155.0)[..., None]
    alpha = pixels[..., 3:] / 255.0
    return (pixels[..., :3] * alpha + board * (1 - alpha)).round().astype(np.uint8)


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else "contact_sheet.png"
    count = len(VideoBufferType)
    size = (MARGIN + count * (WIDTH + GAP), 18 + count * (HEIGHT + GAP))
    sheet = Image.new("RGB", size, (30, 30, 30))
    draw = ImageDraw.Draw(sheet)
    source = chart()
    for row, first in enumerate(VideoBufferType):
        top = 18 + row * (HEIGHT + GAP)
        draw.text((6, top + HEIGHT // 2 - 6), first.name, fill=(255, 255, 255))
        frame = source.convert(first)
        for column, second in enumerate(VideoBufferType):
            left = MARGIN + column * (WIDTH + GAP)
            if row == 0:
                draw.text((left + WIDTH // 2 - 14, 3), second.name, fill=(255, 255, 255))
            sheet.paste(Image.fromarray(over_checkerboard(frame.convert(second))), (left, top))
    sheet.save(path)
    print(f"{path}: {size[0]}x{size[1]}, {count * count} conversions")


if __name__ == "__main__":
    main()

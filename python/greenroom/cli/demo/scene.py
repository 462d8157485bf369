"""The speaker's picture: a background that changes colour, a moving ball, and its own number in black and white."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

__all__ = ["FPS", "HEIGHT", "WIDTH", "background", "draw_text", "frame_number", "paint"]

WIDTH, HEIGHT, FPS = 640, 360, 30

Picture = NDArray[np.uint8]

#: The number is shown as 12 bits and a 4-bit sum of its digits, so that a blurred reading is noticed.
_BITS = 16
_STRIP = 1 / 12
_MASK = 0xFFF

_ROWS, _COLUMNS = np.ogrid[-HEIGHT // 10 : HEIGHT // 10, -HEIGHT // 10 : HEIGHT // 10]
_BALL = _ROWS**2 + _COLUMNS**2 < (HEIGHT // 10) ** 2


def paint(number: int) -> Picture:
    """The picture of that number, RGBA, shape (HEIGHT, WIDTH, 4)."""
    picture = np.empty((HEIGHT, WIDTH, 4), np.uint8)
    # Filling whole pixels at once is several times faster than filling their channels.
    picture.view(np.uint32)[:] = np.array([*background(number), 255], np.uint8).view(np.uint32)
    x = round(WIDTH / 2 + WIDTH * 0.36 * np.sin(number * 0.071))
    y = round(HEIGHT / 2 + HEIGHT * 0.26 * np.sin(number * 0.113))
    size = _BALL.shape[0] // 2
    picture[y - size : y + size, x - size : x + size][_BALL] = (255, 250, 235, 255)
    strip = picture[-int(HEIGHT * _STRIP) :]
    for bit in range(_BITS):
        left, right = bit * WIDTH // _BITS, (bit + 1) * WIDTH // _BITS
        strip[:, left:right] = 235 if _code(number) >> bit & 1 else 16
    strip[..., 3] = 255
    return picture


def background(number: int) -> tuple[int, int, int]:
    """The colour around the ball, as (red, green, blue)."""
    red, green, blue = colorsys.hsv_to_rgb((number & _MASK) % 180 / 180, 0.55, 0.62)
    return round(red * 255), round(green * 255), round(blue * 255)


def frame_number(picture: Picture) -> int | None:
    """The number in a received picture of any size, shape (height, width, 3 or 4); None when it cannot be read."""
    height, width = picture.shape[:2]
    middle = picture[int(height * (1 - _STRIP / 2)) - 1 : int(height * (1 - _STRIP / 2)) + 2, :, :3].mean(axis=(0, 2))
    code = 0
    for bit in range(_BITS):
        left, right = bit * width // _BITS, (bit + 1) * width // _BITS
        inset = (right - left) // 4
        code |= int(middle[left + inset : right - inset].mean() > 125) << bit
    number = code & _MASK
    return number if _code(number) == code else None


def _code(number: int) -> int:
    number &= _MASK
    return number | ((number & 15) + (number >> 4 & 15) + (number >> 8) + 5 & 15) << 12


def draw_text(picture: Picture, text: str, top: int, left: int, scale: int) -> None:
    """Write digits, ":" and "." in white on a dark box, into the picture itself."""
    columns = np.concatenate([_glyph(character) for character in text], axis=1)
    pixels = np.kron(np.pad(columns, 1), np.ones((scale, scale), bool)).astype(bool)
    height = min(pixels.shape[0], picture.shape[0] - top)
    width = min(pixels.shape[1], picture.shape[1] - left)
    target = picture[top : top + height, left : left + width]
    target[..., :3] = np.where(pixels[:height, :width, None], 255, target[..., :3] // 4)


#: Five rows of three pixels per character, top row first.
_FONT = {
    "0": 0o75557,
    "1": 0o26227,
    "2": 0o71747,
    "3": 0o71717,
    "4": 0o55711,
    "5": 0o74717,
    "6": 0o74757,
    "7": 0o71122,
    "8": 0o75757,
    "9": 0o75717,
    ":": 0o02020,
    ".": 0o00002,
}


def _glyph(character: str) -> NDArray[np.bool_]:
    rows = _FONT[character]
    bits = [[rows >> (3 * (4 - row) + 2 - column) & 1 for column in range(3)] + [0] for row in range(5)]
    return np.array(bits, bool)

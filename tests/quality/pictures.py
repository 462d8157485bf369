"""Pictures that resemble photographs and screens, and how near a received one comes."""

from __future__ import annotations

import numpy as np

from greenroom import rtc

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


def photo(width: int, height: int, seed: int = 1) -> Planes:
    """Soft shapes with ever finer detail on them: Y, U and V of uint8."""
    dice = np.random.default_rng(seed)
    image = np.zeros((height, width))
    for cells, contrast in ((8, 60), (24, 30), (80, 14), (240, 6)):
        image += contrast * _smooth(dice.standard_normal((cells * height // width + 2, cells + 2)), width, height)
    luma = np.clip(image + 128, 16, 235).astype(np.uint8)
    colour = image[::2, ::2] * 0.3
    return luma, np.clip(128 + colour, 16, 240).astype(np.uint8), np.clip(128 - colour, 16, 240).astype(np.uint8)


def text(width: int, height: int, seed: int = 2) -> Planes:
    """Dark letters on white, 20 pixels a line."""
    dice = np.random.default_rng(seed)
    luma = np.full((height, width), 235, np.uint8)
    letters = np.kron(dice.random((60, 6, 4)) > 0.5, np.ones((2, 2), bool)).astype(bool)
    for y in range(12, height - 24, 24):
        for x in range(12, width - 24, 10):
            if dice.random() < 0.8:
                luma[y : y + 12, x : x + 8][letters[dice.integers(60)]] = 30
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    return luma, grey, grey


def moved(planes: Planes, steps: int) -> Planes:
    """The picture moved left by `steps` times two pixels."""
    luma, blue, red = planes
    return np.roll(luma, -2 * steps, 1), np.roll(blue, -steps, 1), np.roll(red, -steps, 1)


def frame(planes: Planes) -> rtc.VideoFrame:
    """As I420."""
    height, width = planes[0].shape
    data = b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)
    return rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, data)


def luma(received: rtc.VideoFrame) -> np.ndarray:
    """The Y plane of an I420 frame as float64."""
    plane = np.frombuffer(received.data, np.uint8)[: received.width * received.height]
    return plane.reshape(received.height, received.width).astype(np.float64)


def psnr(received: rtc.VideoFrame, planes: Planes) -> float:
    """In dB, of the luma."""
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((luma(received) - planes[0]) ** 2))))


def ssim(received: rtc.VideoFrame, planes: Planes) -> float:
    """Mean structural similarity of the luma, over blocks of 8x8."""
    one, other = _blocks(luma(received)), _blocks(planes[0].astype(np.float64))
    means = one.mean(1), other.mean(1)
    spread = ((one - means[0][:, None]) * (other - means[1][:, None])).mean(1)
    steady, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * means[0] * means[1] + steady) * (2 * spread + contrast)
    value /= (means[0] ** 2 + means[1] ** 2 + steady) * (one.var(1) + other.var(1) + contrast)
    return float(value.mean())


def _blocks(plane: np.ndarray) -> np.ndarray:
    height, width = (size // 8 * 8 for size in plane.shape)
    cut = plane[:height, :width].reshape(height // 8, 8, width // 8, 8)
    return cut.transpose(0, 2, 1, 3).reshape(-1, 64)


def _smooth(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    """Linear interpolation of a grid to a picture's size."""
    ys, xs = np.linspace(0, grid.shape[0] - 1.001, height), np.linspace(0, grid.shape[1] - 1.001, width)
    top, left = ys.astype(int), xs.astype(int)
    down, right = (ys - top)[:, None], (xs - left)[None]
    upper = (1 - right) * grid[top][:, left] + right * grid[top][:, left + 1]
    lower = (1 - right) * grid[top + 1][:, left] + right * grid[top + 1][:, left + 1]
    return (1 - down) * upper + down * lower

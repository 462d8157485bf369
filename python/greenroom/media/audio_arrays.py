"""Samples between int16 memory and numpy arrays. Imported only when an array is asked for: numpy is slow to load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from greenroom.errors import ArgumentError, FrameError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

FULL_SCALE = 32768.0
"""What 1.0 is in int16: both directions use it, so that int16 -> float -> int16 changes nothing."""


def to_int16(array: ArrayLike, num_channels: int | None) -> NDArray[np.int16]:
    """Contiguous int16 samples of shape (samples, channels), the given memory if possible.

    Raises:
        FrameError: another shape or dtype, or a length that is no multiple of the channels.
    """
    samples = np.asarray(array)
    if samples.ndim == 1:
        channels = 1 if num_channels is None else num_channels
        if channels < 1 or samples.size % channels:
            raise FrameError(f"{samples.size} samples are not a multiple of {channels} channels")
        samples = samples.reshape(-1, channels)
    elif samples.ndim != 2 or samples.shape[1] == 0:
        raise FrameError(f"an array of shape {samples.shape} is neither (samples,) nor (samples, channels)")
    elif num_channels not in (None, samples.shape[1]):
        raise FrameError(f"an array of shape {samples.shape} does not have {num_channels} channels")
    if samples.dtype.kind == "f":
        return float_to_int16(samples)
    if samples.dtype == np.int16:
        return np.ascontiguousarray(samples, dtype=np.int16)
    raise FrameError(f"samples are int16, or floats where 1.0 is full scale, not {samples.dtype}")


def from_int16(samples: memoryview, num_channels: int, dtype: DTypeLike) -> NDArray[Any]:
    """Bytes of int16 samples as an array of shape (samples, channels): a view for int16, scaled for a float type.

    Raises:
        FrameError: another dtype.
    """
    array = np.frombuffer(samples, dtype=np.int16).reshape(-1, num_channels)
    try:
        wanted: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentError(f"dtype: {error}") from None
    if wanted == np.int16:
        return array
    if wanted.kind != "f":
        raise FrameError(f"samples can be had as int16 or a float type, not {wanted}")
    scaled: NDArray[Any] = array.astype(wanted) / wanted.type(FULL_SCALE)
    return scaled


def float_to_int16(samples: NDArray[Any]) -> NDArray[np.int16]:
    """Rounded to nearest and clipped; not-a-number becomes 0."""
    wide = samples if samples.dtype == np.float64 else samples.astype(np.float32)
    scaled = np.clip(np.rint(wide * FULL_SCALE), -32768, 32767)
    whole: NDArray[np.int16] = np.where(np.isnan(scaled), 0, scaled).astype(np.int16)
    return whole

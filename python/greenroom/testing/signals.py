"""Sounds and pictures that can be told apart after a codec and a network had them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

from greenroom.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Colour", "Silence", "Sound", "Tone", "colour", "silence", "tone"]

#: How far a heard frequency may be from the one that was played, in Hz.
FREQUENCY_TOLERANCE = 12.0
#: The share of the sound's energy that must lie within it.
PURITY = 0.5
#: Below this share of full scale nothing is heard.
QUIET = 0.01

_NAMES = {
    "red": (200, 40, 40),
    "green": (40, 180, 40),
    "blue": (40, 40, 200),
    "yellow": (200, 200, 40),
    "white": (235, 235, 235),
    "grey": (128, 128, 128),
    "black": (16, 16, 16),
}


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine.

    Attributes:
        frequency: in Hz.
        level: peak as a share of full scale, 0..1.
        seconds: how long it is played; None = until it is hushed.
    """

    frequency: float
    level: float = 0.25
    seconds: float | None = None

    def samples(self, start: int, count: int, rate: int) -> NDArray[np.int16]:
        """Samples of the endless tone, so that pieces join without a click.

        Args:
            start: the first sample's index.
            count: how many.
            rate: in Hz.

        Returns:
            int16, shape (count,).
        """
        import numpy as np

        times = (np.arange(count) + start) / rate
        wave = self.level * 32767 * np.sin(2 * math.pi * self.frequency * times)
        return wave.astype(np.int16)

    def is_in(self, samples: NDArray[np.int16], rate: int) -> bool:
        """Whether this tone is what the samples, int16 of shape (n,), mostly sound like."""
        import numpy as np

        if not len(samples) or np.abs(samples.astype(np.int32)).max() < QUIET * 32767:
            return False
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        bin_width = rate / len(samples)
        reach = FREQUENCY_TOLERANCE + 2 * bin_width
        frequencies = np.arange(len(power)) * bin_width
        near = power[np.abs(frequencies - self.frequency) <= reach].sum()
        return bool(near >= PURITY * power.sum())

    def __str__(self) -> str:
        return f"a tone of {self.frequency:g} Hz"


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing to be heard."""

    def is_in(self, samples: NDArray[np.int16], rate: int) -> bool:
        """Whether the samples, int16 of shape (n,), are silent."""
        import numpy as np

        return bool(len(samples)) and bool(np.abs(samples.astype(np.int32)).max() < QUIET * 32767)

    def __str__(self) -> str:
        return "silence"


@dataclass(frozen=True, slots=True)
class Colour:
    """A picture of one colour, 0..255 each.

    Attributes:
        tolerance: how far each part of a seen colour may be off.
    """

    red: int
    green: int
    blue: int
    tolerance: int = 20

    def matches(self, seen: tuple[int, int, int]) -> bool:
        """Whether a seen colour is this one."""
        wanted = (self.red, self.green, self.blue)
        return all(abs(one - other) <= self.tolerance for one, other in zip(seen, wanted, strict=True))

    def __str__(self) -> str:
        return f"the colour ({self.red}, {self.green}, {self.blue})"


#: What `speak` takes: a tone, or a WAV file.
Sound = Tone | str | PathLike[str]


def tone(frequency: float, *, level: float = 0.25, seconds: float | None = None) -> Tone:
    """A sine to speak or to listen for.

    Args:
        frequency: in Hz, 50 to 7000, so that it is heard at every sample rate in use.
        level: peak as a share of full scale.
        seconds: how long `speak` plays it; None = until `hush`.

    Raises:
        ConfigError: the frequency or level cannot be heard.
    """
    if not 50 <= frequency <= 7000:
        raise ConfigError(f"frequency is {frequency}: it must be 50 to 7000 Hz")
    if not QUIET < level <= 1:
        raise ConfigError(f"level is {level}: it must be above {QUIET} and at most 1")
    return Tone(frequency, level, seconds)


def silence() -> Silence:
    """Nothing, to listen for."""
    return Silence()


def colour(name: str | tuple[int, int, int]) -> Colour:
    """A colour to show or to look for.

    Args:
        name: "red", "green", "blue", "yellow", "white", "grey", "black", or parts 0..255.

    Raises:
        ConfigError: no such name.
    """
    if isinstance(name, tuple):
        return Colour(*name)
    if name not in _NAMES:
        raise ConfigError(f"no colour is called {name!r}; known are {', '.join(_NAMES)}")
    return Colour(*_NAMES[name])

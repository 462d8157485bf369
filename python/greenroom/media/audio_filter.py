"""Names that select native noise-cancellation plug-ins in the official SDK."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from greenroom.errors import ConfigError

__all__ = ["AudioFilter", "NoiseCancellationOptions"]


@dataclass(frozen=True, slots=True)
class NoiseCancellationOptions:
    """Which native plug-in processes a stream, by the name it was loaded under, and how.

    No such plug-in can be loaded here (see `AudioFilter`), so a stream that is given one raises; give it a
    `FrameProcessor`, e.g. `NoiseSuppressor()`, instead.
    """

    module_id: str
    options: dict[str, Any] = field(default_factory=dict)


class AudioFilter:
    """A native plug-in of the official SDK's closed interface; always refused, so that nobody believes it works."""

    def __init__(self, module_id: str, path: str, dependencies: list[str] | None = None) -> None:
        """Refuse.

        Raises:
            ConfigError: always; it names what to use instead.
        """
        raise ConfigError(
            f"the native audio filter {module_id!r} ({path}) cannot be loaded: give the stream a FrameProcessor, "
            "e.g. greenroom.media.NoiseSuppressor(), as noise_cancellation="
        )

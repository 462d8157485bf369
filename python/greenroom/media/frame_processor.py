"""The place where somebody's own processing goes between a stream and its reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

__all__ = ["FrameProcessor"]

FrameT = TypeVar("FrameT")


class FrameProcessor(ABC, Generic[FrameT]):
    """Turns every frame of a stream into another, e.g. without its noise.

    Pass one as `noise_cancellation=` to a stream. The names with an underscore are for whoever writes a processor: the
    stream calls them. A processor that raises is warned about and its frame passed on unprocessed.
    """

    @property
    @abstractmethod
    def enabled(self) -> bool:
        """Whether frames go through `_process`; otherwise they pass untouched."""

    @enabled.setter
    @abstractmethod
    def enabled(self, value: bool) -> None: ...

    @abstractmethod
    def _process(self, frame: FrameT) -> FrameT:
        """The frame to deliver instead of `frame`; of the same duration."""

    @abstractmethod
    def _close(self) -> None:
        """Free what the processor holds; no frame follows."""

    def _on_stream_info_updated(self, *, room_name: str, participant_identity: str, publication_sid: str) -> None:
        """Whose frames they are, before the first and whenever it changes."""

    def _on_stream_info_cleared(self) -> None:
        """The stream no longer belongs to a publication."""

    def _on_credentials_updated(self, *, token: str, url: str) -> None:
        """The room's token or URL is new."""

    def _on_credentials_cleared(self) -> None:
        """The room is left."""

"""Transcriptions of speech."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Transcription", "TranscriptionSegment"]


@dataclass
class TranscriptionSegment:
    """A piece of transcribed speech. Times are milliseconds; `final` = it will not change any more."""

    id: str
    text: str
    start_time: int
    end_time: int
    language: str
    final: bool


@dataclass
class Transcription:
    """Segments of what a participant said on a track."""

    participant_identity: str
    track_sid: str
    segments: list[TranscriptionSegment]

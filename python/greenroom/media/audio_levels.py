"""How loud frames are, and frames made louder, silent or into one."""

from __future__ import annotations

from collections.abc import Iterable

from greenroom import _engine
from greenroom.errors import FrameError
from greenroom.media.audio import SAMPLE_SIZE, AudioFrame

__all__ = ["SILENCE_DBFS", "is_silent", "level_dbfs", "mix_audio_frames", "peak_dbfs", "silence", "with_gain"]

SILENCE_DBFS = -127.0
"""The level of digital silence, and the lowest that is told: the floor of audio levels in RTP."""


def level_dbfs(frame: AudioFrame) -> float:
    """RMS level of all channels in dB relative to full scale: -3.01 for a full-scale sine."""
    return _engine.sample_levels(frame.samples())[0]


def peak_dbfs(frame: AudioFrame) -> float:
    """The largest sample of all channels in dB relative to full scale; `SILENCE_DBFS` for silence."""
    return _engine.sample_levels(frame.samples())[1]


def is_silent(frame: AudioFrame, threshold_dbfs: float = -60.0) -> bool:
    """Whether no sample exceeds the threshold."""
    return peak_dbfs(frame) <= threshold_dbfs


def with_gain(frame: AudioFrame, gain_db: float) -> AudioFrame:
    """A louder (or, below 0 dB, softer) copy, rounded and clipped."""
    data = _engine.scale_samples(frame.samples(), 10.0 ** (gain_db / 20.0))
    return AudioFrame(
        data, frame.sample_rate, frame.num_channels, frame.samples_per_channel, userdata=dict(frame.userdata)
    )


def silence(duration: float, sample_rate: int, num_channels: int = 1) -> AudioFrame:
    """A frame of silence of `duration` seconds, to the nearest sample.

    Raises:
        FrameError: a number is out of range.
    """
    return AudioFrame.create(sample_rate, num_channels, round(duration * sample_rate))


def mix_audio_frames(frames: Iterable[AudioFrame]) -> AudioFrame:
    """The sum of the frames, clipped, as long as the longest; shorter ones are followed by silence.

    Raises:
        FrameError: no frames, or frames of different rates or channel counts.
    """
    parts = list(frames)
    if not parts:
        raise FrameError("there is no frame to mix")
    formats = {(frame.sample_rate, frame.num_channels) for frame in parts}
    if len(formats) > 1:
        raise FrameError(f"frames to mix need one format, got (rate, channels) of {sorted(formats)}")
    sample_rate, num_channels = formats.pop()
    data = _engine.mix_samples([frame.samples() for frame in parts])
    return AudioFrame(data, sample_rate, num_channels, len(data) // (SAMPLE_SIZE * num_channels))

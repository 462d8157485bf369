"""Frames of audio and video, and what is done with them: conversion, scaling, resampling, mixing, files."""

from greenroom._lazy import when_used

with when_used(globals()):
    from greenroom.media.audio import AudioFrame, AudioFrameEvent, combine_audio_frames, sine_wave_generator
    from greenroom.media.audio_framing import AudioByteStream
    from greenroom.media.audio_levels import (
        SILENCE_DBFS,
        is_silent,
        level_dbfs,
        mix_audio_frames,
        peak_dbfs,
        silence,
        with_gain,
    )
    from greenroom.media.audio_mixer import AudioMixer
    from greenroom.media.audio_processing import AudioProcessingModule, NoiseSuppressor
    from greenroom.media.audio_resampler import AudioConverter, AudioResampler, AudioResamplerQuality
    from greenroom.media.frame_processor import FrameProcessor
    from greenroom.media.named_enum import NamedIntEnum
    from greenroom.media.video import VideoFrame
    from greenroom.media.video_types import ColorMatrix, ColorRange, ScaleFilter, VideoBufferType, VideoRotation
    from greenroom.media.wav import WavReader, WavWriter, read_wav, write_wav

__all__ = [
    "SILENCE_DBFS",
    "AudioByteStream",
    "AudioConverter",
    "AudioFrame",
    "AudioFrameEvent",
    "AudioMixer",
    "AudioProcessingModule",
    "AudioResampler",
    "AudioResamplerQuality",
    "ColorMatrix",
    "ColorRange",
    "FrameProcessor",
    "NamedIntEnum",
    "NoiseSuppressor",
    "ScaleFilter",
    "VideoBufferType",
    "VideoFrame",
    "VideoRotation",
    "WavReader",
    "WavWriter",
    "combine_audio_frames",
    "is_silent",
    "level_dbfs",
    "mix_audio_frames",
    "peak_dbfs",
    "read_wav",
    "silence",
    "sine_wave_generator",
    "with_gain",
    "write_wav",
]

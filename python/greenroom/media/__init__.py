"""Frames of audio and video, and what is done with them: conversion, scaling, resampling, mixing, files."""

from greenroom.media.named_enum import NamedIntEnum
from greenroom.media.video import VideoFrame
from greenroom.media.video_types import ColorMatrix, ColorRange, ScaleFilter, VideoBufferType, VideoRotation

__all__ = [
    "ColorMatrix",
    "ColorRange",
    "NamedIntEnum",
    "ScaleFilter",
    "VideoBufferType",
    "VideoFrame",
    "VideoRotation",
]

"""Realtime audio and video: a room server, a client SDK and an agents framework that speak the LiveKit protocol."""

__all__ = ["__version__"]

__version__ = "0.1.0"

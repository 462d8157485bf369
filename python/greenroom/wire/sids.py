"""Session ids: a prefix that clients check, and 12 characters without look-alikes.

Nothing here draws randomness: the caller hands in random bytes (`os.urandom(16)`, or fixed ones in tests).
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = [
    "DATA_TRACK",
    "DISPATCH",
    "JOB",
    "NODE",
    "PARTICIPANT",
    "ROOM",
    "WORKER",
    "SidMaker",
    "make_sid",
    "pack_stream_id",
    "track_prefix",
    "unpack_stream_id",
]

ROOM = "RM_"
PARTICIPANT = "PA_"
DATA_TRACK = "DTR_"
NODE = "ND_"
WORKER = "AW_"
JOB = "AJ_"
DISPATCH = "AD_"

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH = 12

#: Makes a new id from a prefix.
SidMaker = Callable[[str], str]


def make_sid(prefix: str, entropy: bytes) -> str:
    """An id from a prefix and at least 9 random bytes."""
    number = int.from_bytes(entropy, "big")
    characters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return prefix + "".join(characters)


def track_prefix(kind: str, source: int) -> str:
    """The prefix of a track's id: its kind ("audio" or "video") and its TrackSource."""
    letter = {1: "C", 2: "M", 3: "S", 4: "s"}.get(source, "")
    return f"TR_{'A' if kind == 'audio' else 'V'}{letter}"


def pack_stream_id(participant_sid: str, track_sid: str) -> str:
    """The msid stream id under which a participant's track is sent to others."""
    return f"{participant_sid}|{track_sid}"


def unpack_stream_id(stream_id: str) -> tuple[str, str]:
    """`(participant sid, track sid or stream name)` of a msid stream id; the second is "" when absent."""
    participant_sid, _, rest = stream_id.partition("|")
    return participant_sid, rest

"""ICE candidates in trickle messages: a JSON object inside a protobuf."""

from __future__ import annotations

import json

from greenroom.errors import ProtocolError
from greenroom.wire import messages as m

__all__ = ["PUBLISHER", "SUBSCRIBER", "decode_candidate", "encode_candidate"]

PUBLISHER = m.SignalTarget.PUBLISHER
SUBSCRIBER = m.SignalTarget.SUBSCRIBER


def decode_candidate(trickle: m.TrickleRequest) -> str:
    """The `candidate:...` line of a trickle message; "" when it only says that there are no more.

    Raises:
        ProtocolError: the JSON inside is not a candidate object.
    """
    if not trickle.candidateInit:
        return ""
    try:
        init = json.loads(trickle.candidateInit)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"trickle message is not JSON: {error}") from error
    candidate = init.get("candidate", "") if isinstance(init, dict) else None
    if not isinstance(candidate, str):
        raise ProtocolError("trickle message has no candidate string")
    return candidate


def encode_candidate(
    candidate: str, target: m.SignalTarget, *, mid: str = "0", index: int = 0, final: bool = False
) -> m.TrickleRequest:
    """A trickle message; its JSON always has `sdpMid` (text) and `sdpMLineIndex` (number): clients insist."""
    init = json.dumps({"candidate": candidate, "sdpMid": mid, "sdpMLineIndex": index}, separators=(",", ":"))
    return m.TrickleRequest(candidateInit=init, target=target, final=final)

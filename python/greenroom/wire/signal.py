"""Messages to and from websocket frames: binary protobuf, or its JSON form in text frames."""

from __future__ import annotations

from typing import TypeVar

from greenroom.errors import ProtocolError
from greenroom.wire import messages as m

__all__ = [
    "MAX_SIGNAL_SIZE",
    "decode",
    "decode_request",
    "decode_response",
    "encode",
    "encode_text",
]

#: Bytes of one signalling message, either way.
MAX_SIGNAL_SIZE = 2 * 1024 * 1024

_M = TypeVar("_M", bound="m.Message")


def decode_request(frame: bytes | str) -> m.SignalRequest:
    """Read one client message.

    Args:
        frame: the payload of a binary frame, or the string of a text frame (JSON).

    Raises:
        ProtocolError: it is not a SignalRequest.
    """
    return decode(m.SignalRequest, frame)


def decode_response(frame: bytes | str) -> m.SignalResponse:
    """Read one server message.

    Args:
        frame: the payload of a binary frame, or the string of a text frame (JSON).

    Raises:
        ProtocolError: it is not a SignalResponse.
    """
    return decode(m.SignalResponse, frame)


def encode(message: m.Message) -> bytes:
    """The payload of a binary frame."""
    return message.SerializeToString()


def encode_text(message: m.Message) -> str:
    """The payload of a text frame."""
    from google.protobuf.json_format import MessageToJson

    return MessageToJson(message, indent=None)


def decode(kind: type[_M], frame: bytes | str) -> _M:
    """Read one message of a kind.

    Args:
        kind: the class of the message.
        frame: the payload of a binary frame, or the string of a text frame (JSON).

    Raises:
        ProtocolError: it is none of that kind.
    """
    message = kind()
    if isinstance(frame, str):
        return _decode_text(message, frame)
    try:
        message.ParseFromString(frame)
    except m.DecodeError as error:
        raise ProtocolError(f"not a {message.DESCRIPTOR.name}: {error}") from error
    return message


def _decode_text(message: _M, frame: str) -> _M:
    from google.protobuf.json_format import Parse, ParseError

    try:
        return Parse(frame, message, ignore_unknown_fields=True)
    except (ParseError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a {message.DESCRIPTOR.name}: {error}") from error

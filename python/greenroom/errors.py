"""Every exception that greenroom raises.

    GreenroomError
    ├── ConfigError (ValueError)            something you passed cannot work: a URL, a key, a setting
    │   ├── ArgumentError (TypeError)       it is of the wrong type
    │   ├── TokenError                      a token cannot be made or read as asked
    │   └── PortInUseError (OSError)        the address or port to listen on is taken
    ├── FrameError (ValueError)             a frame's size, length, type or rate is wrong
    ├── StateError (RuntimeError)           the call is right, the moment is not: before connect, after close, twice
    ├── ConnectError                        the room could not be joined
    │   ├── UnauthorizedError               the server refused the token
    │   ├── RoomNotFoundError               the room does not exist and may not be created
    │   ├── UnreachableError                no server answers at the URL
    │   └── ConnectTimeoutError             a stage of joining took too long; says which
    ├── DisconnectedError (RuntimeError)    the room ended while the call waited
    ├── AssignmentTimeoutError (TimeoutError)  a job was accepted, but the server did not assign it
    ├── PublishError                        the track was not published
    ├── RequestError                        the server refused a request; has its reason
    ├── PayloadTooLargeError (ValueError)   more bytes than the channel takes
    ├── ProtocolError                       the other side broke the protocol
    └── EngineError                         the media engine failed
        └── EngineClosedError               it is closed, or was made before this process was forked
"""

__all__ = [
    "ArgumentError",
    "AssignmentTimeoutError",
    "ConfigError",
    "ConnectError",
    "ConnectTimeoutError",
    "DisconnectedError",
    "EngineClosedError",
    "EngineError",
    "FrameError",
    "GreenroomError",
    "PayloadTooLargeError",
    "PortInUseError",
    "ProtocolError",
    "PublishError",
    "RequestError",
    "RoomNotFoundError",
    "StateError",
    "TokenError",
    "UnauthorizedError",
    "UnreachableError",
]


class GreenroomError(Exception):
    """Base of all exceptions of this package."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class ConfigError(GreenroomError, ValueError):
    """Something that was passed cannot work: a URL, a key, a setting."""


class ArgumentError(ConfigError, TypeError):
    """Something that was passed is of the wrong type."""


class TokenError(ConfigError):
    """A token cannot be made or read as asked."""


class PortInUseError(ConfigError, OSError):
    """The address or port to listen on is taken."""


class FrameError(GreenroomError, ValueError):
    """A frame's size, length, type or rate is wrong."""


class StateError(GreenroomError, RuntimeError):
    """The call is right, the moment is not: before connect, after close, or a second time."""


class ConnectError(GreenroomError):
    """The room could not be joined."""


class UnauthorizedError(ConnectError):
    """The server refused the token."""


class RoomNotFoundError(ConnectError):
    """The room does not exist and may not be created by joining."""


class UnreachableError(ConnectError):
    """No server answers at the URL."""


class ConnectTimeoutError(ConnectError):
    """A stage of joining took too long; the message says which."""


class DisconnectedError(GreenroomError, RuntimeError):
    """The room ended while the call waited."""


class AssignmentTimeoutError(GreenroomError, TimeoutError):
    """A job was accepted, but the server did not assign it."""


class PublishError(GreenroomError):
    """The track was not published."""


class RequestError(GreenroomError):
    """The server refused a request.

    Attributes:
        reason: the server's reason as a word, e.g. "NOT_ALLOWED".
    """

    def __init__(self, message: str = "", *, reason: str = "UNCLASSIFIED_ERROR") -> None:
        super().__init__(message)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.message} ({self.reason})"


class PayloadTooLargeError(GreenroomError, ValueError):
    """More bytes than the channel takes."""


class ProtocolError(GreenroomError):
    """The other side broke the protocol."""


class EngineError(GreenroomError):
    """The media engine failed."""


class EngineClosedError(EngineError):
    """The media engine is closed, or was made before this process was forked."""

"""Remote procedure calls: the errors and records that programs see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from greenroom import _arguments as check
from greenroom.errors import GreenroomError
from greenroom.protocol.client_rpc_codes import RpcCode

__all__ = [
    "IncomingRpcNext",
    "OutgoingRpcNext",
    "RpcCallInfo",
    "RpcError",
    "RpcHandler",
    "RpcInterceptor",
    "RpcInvocationData",
]

_MESSAGES = {
    RpcCode.UNSUPPORTED_METHOD: "Method not supported at destination",
    RpcCode.RECIPIENT_NOT_FOUND: "Recipient not found",
    RpcCode.REQUEST_PAYLOAD_TOO_LARGE: "Request payload too large",
    RpcCode.UNSUPPORTED_SERVER: "RPC not supported by server",
    RpcCode.UNSUPPORTED_VERSION: "Unsupported RPC version",
    RpcCode.APPLICATION_ERROR: "Application error in method handler",
    RpcCode.CONNECTION_TIMEOUT: "Connection timeout",
    RpcCode.RESPONSE_TIMEOUT: "Response timeout",
    RpcCode.RECIPIENT_DISCONNECTED: "Recipient disconnected",
    RpcCode.RESPONSE_PAYLOAD_TOO_LARGE: "Response payload too large",
    RpcCode.SEND_FAILED: "Failed to send",
}


class RpcError(GreenroomError):
    """A call failed; raise it in a method to tell the caller why.

    Args:
        code: one of `RpcError.ErrorCode`, or a number of the application's own.
        message: what the caller sees, at most 256 bytes.
        data: more for the caller.
    """

    ErrorCode = RpcCode
    ErrorMessage: ClassVar[dict[RpcCode, str]] = _MESSAGES

    def __init__(self, code: int | RpcCode, message: str = "", data: str | None = None) -> None:
        self.code = check.whole("code", code, 0, 2**32 - 1)
        super().__init__(check.text("message", message) or (_MESSAGES[RpcCode(code)] if code in set(RpcCode) else ""))
        self.data = None if data is None else check.text("data", data)

    @classmethod
    def _built_in(cls, code: RpcCode, data: str | None = None) -> RpcError:
        return cls(code, _MESSAGES[code], data)

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


@dataclass
class RpcInvocationData:
    """One incoming call.

    Attributes:
        response_timeout: seconds in which the caller wants the answer.
        cancel_reason: why the answer is no longer wanted, None while it is.
    """

    request_id: str
    caller_identity: str
    payload: str
    response_timeout: float
    method: str = ""
    cancel_reason: RpcCode | None = None


@dataclass
class RpcCallInfo:
    """One outgoing call, as interceptors see it."""

    destination_identity: str
    method: str
    payload: str
    response_timeout: float | None = None
    max_round_trip_latency: float | None = None


RpcHandler: TypeAlias = Callable[[RpcInvocationData], Awaitable[str | None] | str | None]
OutgoingRpcNext: TypeAlias = Callable[[RpcCallInfo], Awaitable[str]]
IncomingRpcNext: TypeAlias = Callable[[RpcInvocationData], Awaitable[str | None]]


class RpcInterceptor:
    """Sees every call on its way; override what you need and call `next` to go on."""

    async def intercept_outgoing(self, call: RpcCallInfo, next: OutgoingRpcNext) -> str:
        """A call of ours."""
        return await next(call)

    async def intercept_incoming(self, invocation: RpcInvocationData, next: IncomingRpcNext) -> str | None:
        """A call to us."""
        return await next(invocation)

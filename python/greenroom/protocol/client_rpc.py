"""Remote procedure calls between participants, both directions, in both forms: packets (1) and text streams (2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from greenroom.protocol.client_rpc_codes import RpcCode
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m

__all__ = [
    "REQUEST_TOPIC",
    "RESPONSE_TOPIC",
    "Call",
    "CallDone",
    "Invoke",
    "Rpc",
    "RpcFailure",
    "RpcOutput",
    "SendPacket",
    "SendText",
]

REQUEST_TOPIC = "lk.rpc_request"
RESPONSE_TOPIC = "lk.rpc_response"
_ID = "lk.rpc_request_id"
_METHOD = "lk.rpc_request_method"
_TIMEOUT = "lk.rpc_request_response_timeout_ms"
_VERSION = "lk.rpc_request_version"

#: Bytes of a payload in packet form.
MAX_PACKET_PAYLOAD = 15_360
MAX_ERROR_MESSAGE = 256
RESPONSE_TIMEOUT = 15.0
ROUND_TRIP = 7.0


class RpcFailure(NamedTuple):
    """Why a call failed. An empty message means the usual one for the code."""

    code: int
    message: str = ""
    data: str = ""


class Call(NamedTuple):
    """A call we make.

    Attributes:
        key: names it towards the caller of this machine.
        request_id: unique, chosen by the caller.
        streams: the other side takes calls as text streams.
    """

    key: int
    request_id: str
    destination: str
    method: str
    payload: str
    streams: bool
    response_timeout: float = RESPONSE_TIMEOUT
    round_trip: float = ROUND_TRIP


class SendPacket(NamedTuple):
    """Send this reliably."""

    packet: m.DataPacket


class SendText(NamedTuple):
    """Send a text stream to one participant."""

    destination: str
    topic: str
    text: str
    attributes: Mapping[str, str]


class CallDone(NamedTuple):
    """A call of ours has its outcome."""

    key: int
    payload: str = ""
    failure: RpcFailure | None = None


class Invoke(NamedTuple):
    """Somebody calls us: run the method and give its outcome to `respond`."""

    request_id: str
    caller: str
    method: str
    payload: str
    response_timeout: float


RpcOutput: TypeAlias = SendPacket | SendText | CallDone | Invoke


class Rpc:
    """Calls we made and calls we were asked to run."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._invoked: dict[str, tuple[str, bool]] = {}
        self._timers: Timers[tuple[str, str]] = Timers()

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._timers.deadline

    def call(self, now: float, call: Call) -> Iterator[RpcOutput]:
        """Make a call; `CallDone` follows in any case."""
        if not call.streams and len(call.payload.encode()) > MAX_PACKET_PAYLOAD:
            yield CallDone(call.key, failure=RpcFailure(RpcCode.REQUEST_PAYLOAD_TOO_LARGE))
            return
        self._calls[call.request_id] = call
        self._timers.set(("response", call.request_id), now + call.response_timeout)
        self._timers.set(("ack", call.request_id), now + call.round_trip)
        timeout_ms = int(max(call.response_timeout - call.round_trip, 1.0) * 1000)
        if call.streams:
            attributes = {_ID: call.request_id, _METHOD: call.method, _TIMEOUT: str(timeout_ms), _VERSION: "2"}
            yield SendText(call.destination, REQUEST_TOPIC, call.payload, attributes)
            return
        request = m.RpcRequest(
            id=call.request_id, method=call.method, payload=call.payload, response_timeout_ms=timeout_ms, version=1
        )
        yield SendPacket(m.DataPacket(rpc_request=request, destination_identities=[call.destination]))

    def cancel(self, request_id: str) -> None:
        """The caller no longer waits."""
        if self._calls.pop(request_id, None) is not None:
            self._timers.cancel(("response", request_id))
            self._timers.cancel(("ack", request_id))

    def packet(self, sender: str, packet: m.DataPacket) -> Iterator[RpcOutput]:
        """A request, ack or response packet arrived."""
        match packet.WhichOneof("value"):
            case "rpc_request":
                request = packet.rpc_request
                yield from self._requested(
                    sender, request.id, request.method, request.payload, request.response_timeout_ms, request.version
                )
            case "rpc_ack":
                call = self._calls.get(packet.rpc_ack.request_id)
                if call is not None and call.destination == sender:
                    self._timers.cancel(("ack", call.request_id))
            case "rpc_response":
                response = packet.rpc_response
                if response.HasField("error"):
                    failure = RpcFailure(response.error.code, response.error.message, response.error.data)
                    yield from self._done(sender, response.request_id, failure=failure)
                else:
                    yield from self._done(sender, response.request_id, response.payload)
            case _:
                return

    def request_text(self, sender: str, attributes: Mapping[str, str], text: str) -> Iterator[RpcOutput]:
        """A complete text stream on the request topic arrived."""
        timeout = attributes.get(_TIMEOUT, "")
        yield from self._requested(
            sender,
            attributes.get(_ID, ""),
            attributes.get(_METHOD, ""),
            text,
            int(timeout) if timeout.isdecimal() else int(RESPONSE_TIMEOUT * 1000),
            int(attributes[_VERSION]) if attributes.get(_VERSION, "").isdecimal() else 0,
        )

    def response_text(self, sender: str, attributes: Mapping[str, str], text: str) -> Iterator[RpcOutput]:
        """A complete text stream on the response topic arrived."""
        yield from self._done(sender, attributes.get(_ID, ""), text)

    def respond(self, request_id: str, outcome: str | RpcFailure) -> Iterator[RpcOutput]:
        """The method ended."""
        invoked = self._invoked.pop(request_id, None)
        if invoked is None:
            return
        caller, streams = invoked
        if isinstance(outcome, str):
            if streams:
                yield SendText(caller, RESPONSE_TOPIC, outcome, {_ID: request_id})
                return
            if len(outcome.encode()) <= MAX_PACKET_PAYLOAD:
                yield _response(caller, m.RpcResponse(request_id=request_id, payload=outcome))
                return
            outcome = RpcFailure(RpcCode.RESPONSE_PAYLOAD_TOO_LARGE)
        error = m.RpcError(
            code=outcome.code,
            message=_cut(outcome.message, MAX_ERROR_MESSAGE),
            data=_cut(outcome.data, MAX_PACKET_PAYLOAD),
        )
        yield _response(caller, m.RpcResponse(request_id=request_id, error=error))

    def participant_left(self, identity: str) -> Iterator[RpcOutput]:
        """Calls to them fail, their own no longer matter."""
        for request_id in [key for key, (caller, _) in self._invoked.items() if caller == identity]:
            del self._invoked[request_id]
        for call in [call for call in self._calls.values() if call.destination == identity]:
            failure = RpcFailure(RpcCode.RECIPIENT_DISCONNECTED)
            yield from self._done(identity, call.request_id, failure=failure)

    def tick(self, now: float) -> Iterator[RpcOutput]:
        """Fail calls whose time is over."""
        for what, request_id in self._timers.expire(now):
            call = self._calls.get(request_id)
            if call is not None:
                code = RpcCode.CONNECTION_TIMEOUT if what == "ack" else RpcCode.RESPONSE_TIMEOUT
                yield from self._done(call.destination, request_id, failure=RpcFailure(code))

    def send_failed(self, request_id: str, reason: str) -> Iterator[RpcOutput]:
        """A request could not be sent."""
        call = self._calls.get(request_id)
        if call is not None:
            yield from self._done(call.destination, request_id, failure=RpcFailure(RpcCode.SEND_FAILED, reason))

    def _requested(
        self, sender: str, request_id: str, method: str, payload: str, timeout_ms: int, version: int
    ) -> Iterator[RpcOutput]:
        if not request_id or request_id in self._invoked:
            return
        yield SendPacket(m.DataPacket(rpc_ack=m.RpcAck(request_id=request_id), destination_identities=[sender]))
        self._invoked[request_id] = (sender, version >= 2)
        if version not in (1, 2):
            yield from self.respond(request_id, RpcFailure(RpcCode.UNSUPPORTED_VERSION))
            return
        yield Invoke(request_id, sender, method, payload, timeout_ms / 1000)

    def _done(
        self, sender: str, request_id: str, payload: str = "", failure: RpcFailure | None = None
    ) -> Iterator[RpcOutput]:
        call = self._calls.get(request_id)
        if call is None or call.destination != sender:
            return
        self.cancel(request_id)
        yield CallDone(call.key, payload, failure)


def _response(caller: str, response: m.RpcResponse) -> SendPacket:
    return SendPacket(m.DataPacket(rpc_response=response, destination_identities=[caller]))


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")

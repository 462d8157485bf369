"""Carries calls between the RPC machine, the room's packets and streams, and the program's methods."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Awaitable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from greenroom.errors import GreenroomError
from greenroom.protocol.client_rpc import (
    RESPONSE_TIMEOUT,
    ROUND_TRIP,
    Call,
    CallDone,
    Invoke,
    Rpc,
    RpcFailure,
    RpcOutput,
    SendPacket,
    SendText,
)
from greenroom.protocol.client_rpc_codes import RpcCode
from greenroom.rtc._ids import new_id
from greenroom.rtc.rpc import IncomingRpcNext, OutgoingRpcNext, RpcCallInfo, RpcError, RpcInterceptor, RpcInvocationData
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.rtc.room import Room

__all__ = ["RpcRunner"]

log = logging.getLogger("greenroom.rtc")


class RpcRunner:
    """The calls of one room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._machine = Rpc()
        self._loop = asyncio.get_running_loop()
        self._keys = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._running: dict[str, RpcInvocationData] = {}
        self._tasks = TaskSet(log)
        self._timer: asyncio.TimerHandle | None = None

    async def perform(self, call: RpcCallInfo, interceptors: Iterable[RpcInterceptor]) -> str:
        """Make a call, through the interceptors."""
        proceed: OutgoingRpcNext = self._call
        for interceptor in reversed(list(interceptors)):
            proceed = _outgoing(interceptor, proceed)
        return await proceed(call)

    def packet(self, sender: str, packet: m.DataPacket) -> None:
        """An RPC packet arrived."""
        self._apply(self._machine.packet(sender, packet))

    def request_text(self, sender: str, attributes: Mapping[str, str], text: str) -> None:
        """A call arrived as a text stream."""
        self._apply(self._machine.request_text(sender, attributes, text))

    def response_text(self, sender: str, attributes: Mapping[str, str], text: str) -> None:
        """An answer arrived as a text stream."""
        self._apply(self._machine.response_text(sender, attributes, text))

    def participant_left(self, identity: str) -> None:
        """Calls to and from them are over."""
        for invocation in self._running.values():
            if invocation.caller_identity == identity:
                invocation.cancel_reason = RpcCode.RECIPIENT_DISCONNECTED
        self._apply(self._machine.participant_left(identity))

    async def close(self, *, but: Collection[asyncio.Task[Any] | None] = ()) -> None:
        """The room is over: calls fail, running methods are cancelled, except the tasks in `but`."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(RpcError(RpcCode.RECIPIENT_DISCONNECTED, "the room was left"))
        await self._tasks.close(but=but)

    async def _call(self, call: RpcCallInfo) -> str:
        participant = self._room.remote_participants.get(call.destination_identity)
        if participant is None:
            raise RpcError(RpcCode.RECIPIENT_NOT_FOUND, f"{call.destination_identity!r} is not in the room")
        key, request_id = next(self._keys), new_id()
        waiter = self._waiting[key] = self._loop.create_future()
        machine_call = Call(
            key,
            request_id,
            call.destination_identity,
            call.method,
            call.payload,
            streams=participant._info.client_protocol >= 1,
            response_timeout=RESPONSE_TIMEOUT if call.response_timeout is None else call.response_timeout,
            round_trip=ROUND_TRIP if call.max_round_trip_latency is None else call.max_round_trip_latency,
        )
        try:
            self._apply(self._machine.call(self._loop.time(), machine_call), request_id)
            answer: str = await waiter
            return answer
        finally:
            del self._waiting[key]
            self._machine.cancel(request_id)
            self._schedule()

    def _apply(self, outputs: Iterable[RpcOutput], request_id: str = "") -> None:
        for output in outputs:
            match output:
                case SendPacket() | SendText():
                    self._tasks.spawn(self._send(output, request_id), name="sending an RPC message")
                case CallDone(key=key, payload=payload, failure=failure):
                    self._settle(key, payload, failure)
                case Invoke():
                    self._tasks.spawn(self._invoke(output), name=f"RPC method {output.method}")
        self._schedule()

    async def _send(self, output: SendPacket | SendText, request_id: str) -> None:
        local = self._room.local_participant
        try:
            if isinstance(output, SendPacket):
                await local._send_packet(output.packet, reliable=True)
            else:
                await local.send_text(
                    output.text,
                    destination_identities=[output.destination],
                    topic=output.topic,
                    attributes=dict(output.attributes),
                )
        except GreenroomError as error:
            log.debug("an RPC message was not sent: %s", error)
            self._apply(self._machine.send_failed(request_id, str(error)))

    def _settle(self, key: int, payload: str, failure: RpcFailure | None) -> None:
        waiter = self._waiting.get(key)
        if waiter is None or waiter.done():
            return
        if failure is None:
            waiter.set_result(payload)
        else:
            waiter.set_exception(RpcError(failure.code, failure.message, failure.data or None))

    async def _invoke(self, invoke: Invoke) -> None:
        invocation = RpcInvocationData(
            invoke.request_id, invoke.caller, invoke.payload, invoke.response_timeout, invoke.method
        )
        self._running[invoke.request_id] = invocation
        proceed: IncomingRpcNext = self._run
        for interceptor in reversed(self._room.local_participant._interceptors):
            proceed = _incoming(interceptor, proceed)
        outcome: str | RpcFailure
        try:
            outcome = _answer(await proceed(invocation)) or ""
        except RpcError as error:
            outcome = RpcFailure(error.code, error.message, error.data or "")
        except Exception as error:
            log.exception("RPC method %r failed", invoke.method)
            outcome = RpcFailure(RpcCode.APPLICATION_ERROR, f"Application error in method handler: {error}")
        finally:
            self._running.pop(invoke.request_id, None)
        self._apply(self._machine.respond(invoke.request_id, outcome))

    async def _run(self, invocation: RpcInvocationData) -> str | None:
        handler = self._room.local_participant._rpc_handlers.get(invocation.method)
        if handler is None:
            raise RpcError._built_in(RpcCode.UNSUPPORTED_METHOD)
        result = handler(invocation)
        if inspect.isawaitable(result):
            try:
                async with asyncio.timeout(invocation.response_timeout):
                    result = await result
            except TimeoutError:
                invocation.cancel_reason = RpcCode.RESPONSE_TIMEOUT
                raise RpcError._built_in(RpcCode.RESPONSE_TIMEOUT) from None
        return _answer(result)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._machine.deadline is not None:
            self._timer = self._loop.call_at(self._machine.deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._apply(self._machine.tick(self._loop.time()))


def _answer(result: object) -> str | None:
    if result is not None and not isinstance(result, str):
        raise TypeError(f"an RPC method or interceptor must return str or None, not {type(result).__name__}")
    return result


def _outgoing(interceptor: RpcInterceptor, proceed: OutgoingRpcNext) -> OutgoingRpcNext:
    def call(info: RpcCallInfo) -> Awaitable[str]:
        return interceptor.intercept_outgoing(info, proceed)

    return call


def _incoming(interceptor: RpcInterceptor, proceed: IncomingRpcNext) -> IncomingRpcNext:
    def call(invocation: RpcInvocationData) -> Awaitable[str | None]:
        return interceptor.intercept_incoming(invocation, proceed)

    return call

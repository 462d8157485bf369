"""Calls between two machines back to back, and what happens when one side is slow, gone or wrong."""

from __future__ import annotations

import pytest

from greenroom.protocol.client_rpc import (
    MAX_PACKET_PAYLOAD,
    REQUEST_TOPIC,
    Call,
    CallDone,
    Invoke,
    Rpc,
    RpcFailure,
    SendPacket,
    SendText,
)
from greenroom.protocol.client_rpc_codes import RpcCode
from greenroom.wire import messages as m


class Pair:
    """ada calls bob; what one sends the other gets at once."""

    def __init__(self) -> None:
        self.now = 10.0
        self.ada, self.bob = Rpc(), Rpc()
        self.done: list[CallDone] = []
        self.invoked: list[Invoke] = []

    def carry(self, sender: str, outputs) -> None:
        receiver = self.bob if sender == "ada" else self.ada
        back = "bob" if sender == "ada" else "ada"
        for output in list(outputs):
            match output:
                case SendPacket(packet=packet):
                    assert list(packet.destination_identities) == [back]
                    self.carry(back, receiver.packet(sender, packet))
                case SendText(topic=topic, text=text, attributes=attributes):
                    deliver = receiver.request_text if topic == REQUEST_TOPIC else receiver.response_text
                    self.carry(back, deliver(sender, attributes, text))
                case CallDone():
                    self.done.append(output)
                case Invoke():
                    self.invoked.append(output)

    def call(self, *, streams: bool = False, payload: str = "hi", timeout: float = 15.0, key: int = 1) -> None:
        call = Call(key, f"id{key}", "bob", "echo", payload, streams, timeout)
        self.carry("ada", self.ada.call(self.now, call))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry("ada", self.ada.tick(self.now))


both_forms = pytest.mark.parametrize("streams", [False, True], ids=["packets", "streams"])


@both_forms
def test_a_call_is_answered(streams):
    pair = Pair()
    pair.call(streams=streams)
    (invoke,) = pair.invoked
    assert (invoke.caller, invoke.method, invoke.payload, invoke.response_timeout) == ("ada", "echo", "hi", 8.0)
    pair.carry("bob", pair.bob.respond(invoke.request_id, "HI"))
    assert pair.done == [CallDone(1, "HI")]
    assert pair.ada.deadline is None


@both_forms
def test_a_methods_failure_arrives_with_its_words(streams):
    pair = Pair()
    pair.call(streams=streams)
    pair.carry("bob", pair.bob.respond(pair.invoked[0].request_id, RpcFailure(42, "no way " * 100, "data")))
    (done,) = pair.done
    assert done.failure.code == 42 and done.failure.data == "data"
    assert len(done.failure.message) == 256


def test_streams_carry_any_length_and_packets_do_not():
    pair = Pair()
    pair.call(payload="x" * (MAX_PACKET_PAYLOAD + 1))
    assert pair.done[0].failure.code == RpcCode.REQUEST_PAYLOAD_TOO_LARGE
    pair.call(payload="x" * 1_000_000, streams=True, key=2)
    assert len(pair.invoked[0].payload) == 1_000_000


def test_an_answer_too_long_for_a_packet_is_an_error():
    pair = Pair()
    pair.call()
    pair.carry("bob", pair.bob.respond("id1", "x" * (MAX_PACKET_PAYLOAD + 1)))
    assert pair.done[0].failure.code == RpcCode.RESPONSE_PAYLOAD_TOO_LARGE


def test_a_call_that_nobody_confirms_fails_sooner_than_one_that_is_slow():
    pair = Pair()
    list(pair.ada.call(pair.now, Call(1, "lost", "bob", "echo", "", False)))
    pair.call(key=2)
    pair.wait(7)
    assert [(done.key, done.failure.code) for done in pair.done] == [(1, RpcCode.CONNECTION_TIMEOUT)]
    pair.wait(8)
    assert [(done.key, done.failure.code) for done in pair.done[1:]] == [(2, RpcCode.RESPONSE_TIMEOUT)]


def test_a_short_timeout_is_kept():
    pair = Pair()
    pair.call(timeout=0.05)
    assert pair.ada.deadline == pytest.approx(pair.now + 0.05)
    pair.wait(0.06)
    assert pair.done[0].failure.code == RpcCode.RESPONSE_TIMEOUT


def test_a_callee_that_leaves_fails_the_call():
    pair = Pair()
    pair.call()
    pair.carry("ada", pair.ada.participant_left("bob"))
    assert pair.done[0].failure.code == RpcCode.RECIPIENT_DISCONNECTED


def test_a_caller_that_leaves_is_not_answered():
    pair = Pair()
    pair.call()
    assert list(pair.bob.participant_left("ada")) == []
    assert list(pair.bob.respond("id1", "HI")) == []


def test_only_the_callee_can_answer():
    pair = Pair()
    pair.call()
    forged = m.DataPacket(rpc_response=m.RpcResponse(request_id="id1", payload="forged"))
    assert list(pair.ada.packet("eve", forged)) == []
    assert pair.done == []


def test_a_late_answer_is_ignored():
    pair = Pair()
    pair.call(timeout=1)
    pair.wait(1)
    pair.carry("bob", pair.bob.respond("id1", "late"))
    assert len(pair.done) == 1


def test_a_repeated_request_runs_once():
    pair = Pair()
    request = m.DataPacket(rpc_request=m.RpcRequest(id="x", method="echo", version=1))
    for _ in range(2):
        pair.carry("bob", pair.bob.packet("ada", request))
    assert len(pair.invoked) == 1


def test_an_unknown_version_is_refused():
    pair = Pair()
    pair.ada.call(0, Call(1, "x", "bob", "echo", "", False))
    list(pair.ada.call(pair.now, Call(1, "x", "bob", "echo", "", False)))
    request = m.DataPacket(rpc_request=m.RpcRequest(id="x", method="echo", version=9))
    pair.carry("bob", pair.bob.packet("ada", request))
    assert pair.done[0].failure.code == RpcCode.UNSUPPORTED_VERSION


def test_a_thousand_calls_are_kept_apart():
    pair = Pair()
    for key in range(1000):
        pair.call(key=key, payload=str(key), streams=bool(key % 2))
    for invoke in reversed(pair.invoked):
        pair.carry("bob", pair.bob.respond(invoke.request_id, invoke.payload))
    assert {done.key: done.payload for done in pair.done} == {key: str(key) for key in range(1000)}

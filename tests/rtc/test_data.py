"""Packets, streams, calls and data tracks between participants of our own server."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from greenroom import rtc
from greenroom.errors import ConfigError, PayloadTooLargeError, StateError

from .conftest import Studio, until

pytestmark = pytest.mark.loopback


async def collect(room: rtc.Room, topic: str, *, text: bool) -> asyncio.Future[tuple[object, object, str]]:
    """The next stream on a topic: (its info, its content, its sender)."""
    done = asyncio.get_running_loop().create_future()

    async def take(reader: rtc.TextStreamReader | rtc.ByteStreamReader, sender: str) -> None:
        try:
            done.set_result((reader.info, await reader.read_all(), sender))
        except rtc.StreamError as error:
            done.set_exception(error)

    register = room.register_text_stream_handler if text else room.register_byte_stream_handler
    register(topic, take)
    return done


# -- packets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("single", [True, False], ids=["one connection", "two connections"])
async def test_a_burst_of_reliable_packets_arrives_whole_and_in_order(studio: Studio, single: bool):
    ada, bob = await studio.pair(single_peer_connection=single)
    received: list[rtc.DataPacket] = []
    bob.on("data_received", received.append)
    payloads = [random.Random(size).randbytes(size) for size in (0, 1, 512, 1200, 15_000, 60_000)] * 3
    for payload in payloads:
        await ada.local_participant.publish_data(payload, topic="numbers")
    await until(lambda: len(received) == len(payloads))
    assert [packet.data for packet in received] == payloads
    assert {packet.topic for packet in received} == {"numbers"}
    assert all(packet.participant is bob.remote_participants["ada"] for packet in received)
    assert all(packet.kind is rtc.DataPacketKind.KIND_RELIABLE for packet in received)


async def test_a_packet_that_is_too_long_is_an_error_and_the_channel_lives_on(studio: Studio):
    ada, bob = await studio.pair()
    with pytest.raises(PayloadTooLargeError, match="64000"):
        await ada.local_participant.publish_data(b"x" * 70_000)
    waiting = asyncio.ensure_future(bob.wait_for("data_received", timeout=20))
    await asyncio.sleep(0)
    await ada.local_participant.publish_data("fine")
    assert (await waiting).data == b"fine"


async def test_packets_reach_only_whom_they_are_for(studio: Studio):
    ada, bob = await studio.pair()
    cid = await studio.join("cid")
    got: dict[str, list[bytes]] = {"bob": [], "cid": []}
    bob.on("data_received", lambda packet: got["bob"].append(packet.data))
    cid.on("data_received", lambda packet: got["cid"].append(packet.data))
    await ada.local_participant.publish_data("for cid", destination_identities=["cid"])
    await ada.local_participant.publish_data("for all")
    await until(lambda: b"for all" in got["bob"] and b"for all" in got["cid"])
    assert got == {"bob": [b"for all"], "cid": [b"for cid", b"for all"]}


async def test_lossy_packets_arrive_on_a_clean_line(studio: Studio):
    ada, bob = await studio.pair()
    waiting = asyncio.ensure_future(bob.wait_for("data_received", timeout=20))
    while not waiting.done():
        # One that is sent before the receiver's channel is open may be lost.
        await ada.local_participant.publish_data("quick", reliable=False)
        await asyncio.wait([waiting], timeout=0.05)
    packet = await waiting
    assert (packet.data, packet.kind) == (b"quick", rtc.DataPacketKind.KIND_LOSSY)


async def test_a_tone_and_a_transcription_arrive_as_records(studio: Studio):
    ada, bob = await studio.pair()
    waiting = asyncio.ensure_future(bob.wait_for("sip_dtmf_received", timeout=20))
    await asyncio.sleep(0)
    await ada.local_participant.publish_dtmf(code=5, digit="5")
    tone = await waiting
    assert (tone.code, tone.digit, tone.participant.identity) == (5, "5", "ada")


# -- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 5, 14_999, 200_000])
async def test_texts_of_any_length_arrive(studio: Studio, length: int):
    ada, bob = await studio.pair()
    arriving = await collect(bob, "chat", text=True)
    text = "".join(random.Random(length).choices("aé漢🎈", k=length))
    sent = await ada.local_participant.send_text(text, topic="chat", attributes={"k": "v"})
    async with asyncio.timeout(30):
        info, content, sender = await arriving
    assert content == text and sender == "ada"
    assert (info.stream_id, info.topic, info.size) == (sent.stream_id, "chat", len(text.encode()))
    assert info.attributes == {"k": "v"}


async def test_a_file_arrives_as_it_was(studio: Studio, tmp_path: Path):
    ada, bob = await studio.pair()
    content = random.Random(1).randbytes(500_000)
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    arriving = await collect(bob, "files", text=False)
    sent = await ada.local_participant.send_file(str(path), topic="files")
    async with asyncio.timeout(30):
        info, received, _ = await arriving
    assert received == content
    assert (info.name, info.mime_type, info.size) == ("picture.png", "image/png", len(content))
    assert sent.stream_id == info.stream_id


async def test_a_text_written_piece_by_piece_is_read_piece_by_piece(studio: Studio):
    ada, bob = await studio.pair()
    pieces: list[str] = []
    ended = asyncio.Event()

    async def read(reader: rtc.TextStreamReader, sender: str) -> None:
        async for piece in reader:
            pieces.append(piece)
        ended.set()

    bob.register_text_stream_handler("words", read)
    async with await ada.local_participant.stream_text(topic="words") as writer:
        for word in ("one ", "two ", "three"):
            await writer.write(word)
            await until(lambda word=word: "".join(pieces).endswith(word))
    async with asyncio.timeout(20):
        await ended.wait()
    assert "".join(pieces) == "one two three"
    with pytest.raises(StateError, match="closed"):
        await writer.write("four")
    with pytest.raises(StateError, match="already closed"):
        await writer.aclose()


async def test_a_stream_whose_sender_leaves_is_an_error_after_what_had_come(studio: Studio):
    ada, bob = await studio.pair()
    arriving = await collect(bob, "words", text=True)
    writer = await ada.local_participant.stream_text(topic="words")
    await writer.write("half a sen")
    await until(lambda: bool(bob._streams._readers))
    await ada.disconnect()
    with pytest.raises(rtc.StreamError, match="ada left"):
        async with asyncio.timeout(20):
            await arriving


async def test_a_topic_has_one_handler_and_none_is_no_harm(studio: Studio):
    ada, bob = await studio.pair()
    bob.register_text_stream_handler("t", print)
    with pytest.raises(ConfigError, match="already"):
        bob.register_text_stream_handler("t", print)
    bob.unregister_text_stream_handler("t")
    passed = asyncio.ensure_future(bob.wait_for("data_received", timeout=20))
    await asyncio.sleep(0)
    await ada.local_participant.send_text("nobody listens", topic="t")
    await ada.local_participant.publish_data("after it")
    await passed
    arriving = await collect(bob, "t", text=True)
    await ada.local_participant.send_text("somebody listens", topic="t")
    async with asyncio.timeout(20):
        assert (await arriving)[1] == "somebody listens"


# -- calls -------------------------------------------------------------------------------------------------------------


async def test_calls_of_every_kind_are_answered(studio: Studio):
    ada, bob = await studio.pair()
    seen: list[rtc.RpcInvocationData] = []

    @bob.local_participant.register_rpc_method("shout")
    async def shout(invocation: rtc.RpcInvocationData) -> str:
        seen.append(invocation)
        return invocation.payload.upper()

    bob.local_participant.register_rpc_method("nothing", lambda invocation: None)
    call = ada.local_participant.perform_rpc
    assert await call(destination_identity="bob", method="shout", payload="hé") == "HÉ"
    assert await call(destination_identity="bob", method="nothing", payload="") == ""
    long = "x" * 1_000_000
    assert await call(destination_identity="bob", method="shout", payload=long) == long.upper()
    assert seen[0].caller_identity == "ada" and seen[0].method == "shout"


async def test_calls_that_fail_say_how(studio: Studio, caplog):
    ada, bob = await studio.pair()
    code = rtc.RpcError.ErrorCode

    def refuse(invocation: rtc.RpcInvocationData) -> str:
        raise rtc.RpcError(42, "not today", "tomorrow")

    async def hang(invocation: rtc.RpcInvocationData) -> str:
        await asyncio.Event().wait()
        return ""

    bob.local_participant.register_rpc_method("refuse", refuse)
    bob.local_participant.register_rpc_method("crash", lambda invocation: 1 / 0)
    bob.local_participant.register_rpc_method("hang", hang)

    async def failure(method: str, to: str = "bob", **timeouts: float) -> rtc.RpcError:
        with pytest.raises(rtc.RpcError) as caught:
            await ada.local_participant.perform_rpc(destination_identity=to, method=method, payload="", **timeouts)
        return caught.value

    refused = await failure("refuse")
    assert (refused.code, refused.message, refused.data) == (42, "not today", "tomorrow")
    crashed = await failure("crash")
    assert crashed.code == code.APPLICATION_ERROR and "division by zero" in crashed.message
    assert (await failure("unheard of")).code == code.UNSUPPORTED_METHOD
    assert (await failure("hang", response_timeout=0.05)).code == code.RESPONSE_TIMEOUT
    assert (await failure("refuse", to="nobody")).code == code.RECIPIENT_NOT_FOUND
    waiting = asyncio.ensure_future(failure("hang"))
    await asyncio.sleep(0)
    await bob.disconnect()
    async with asyncio.timeout(10):
        assert (await waiting).code == code.RECIPIENT_DISCONNECTED


async def test_calls_may_be_nested_and_many(studio: Studio):
    ada, bob = await studio.pair()

    def countdown(me: rtc.Room, other: str):
        async def method(invocation: rtc.RpcInvocationData) -> str:
            depth = int(invocation.payload)
            if depth == 0:
                return "0"
            deeper = await me.local_participant.perform_rpc(
                destination_identity=other, method="countdown", payload=str(depth - 1)
            )
            return f"{depth} {deeper}"

        return method

    ada.local_participant.register_rpc_method("countdown", countdown(ada, "bob"))
    bob.local_participant.register_rpc_method("countdown", countdown(bob, "ada"))
    call = ada.local_participant.perform_rpc
    async with asyncio.timeout(30):
        assert await call(destination_identity="bob", method="countdown", payload="5") == "5 4 3 2 1 0"
        answers = await asyncio.gather(
            *(call(destination_identity="bob", method="countdown", payload="0") for _ in range(200))
        )
    assert answers == ["0"] * 200


async def test_interceptors_see_calls_both_ways(studio: Studio):
    ada, bob = await studio.pair()
    seen: list[str] = []

    class Witness(rtc.RpcInterceptor):
        async def intercept_outgoing(self, call, next):
            seen.append(f"out {call.method}")
            return await next(call)

        async def intercept_incoming(self, invocation, next):
            seen.append(f"in {invocation.method}")
            return "[" + (await next(invocation) or "") + "]"

    ada.local_participant.add_rpc_interceptor(Witness())
    bob.local_participant.add_rpc_interceptor(Witness())
    bob.local_participant.register_rpc_method("m", lambda invocation: "answer")
    answer = await ada.local_participant.perform_rpc(destination_identity="bob", method="m", payload="")
    assert (answer, seen) == ("[answer]", ["out m", "in m"])


# -- data tracks -------------------------------------------------------------------------------------------------------


async def test_frames_of_a_data_track_reach_its_subscribers_and_end_with_it(studio: Studio):
    ada, bob = await studio.pair()
    published = asyncio.ensure_future(bob.wait_for("data_track_published", timeout=20))
    await asyncio.sleep(0)
    mine = await ada.local_participant.publish_data_track(name="positions")
    theirs = await published
    assert (theirs.info.name, theirs.info.sid, theirs.publisher_identity) == ("positions", mine.info.sid, "ada")
    stream = theirs.subscribe()
    got: list[rtc.DataTrackFrame] = []

    async def read() -> None:
        async for frame in stream:
            got.append(frame)

    reading = asyncio.create_task(read())
    async with asyncio.timeout(20):
        while not got:
            mine.try_push(rtc.DataTrackFrame(b"x" * 5000, 77))
            await asyncio.sleep(0.02)
    assert (got[0].payload, got[0].user_timestamp) == (b"x" * 5000, 77)
    unpublished = asyncio.ensure_future(bob.wait_for("data_track_unpublished", timeout=20))
    await asyncio.sleep(0)
    await mine.unpublish()
    assert await unpublished == mine.info.sid
    async with asyncio.timeout(20):
        await reading
    assert not theirs.is_published() and not mine.is_published()
    with pytest.raises(rtc.PushFrameError):
        mine.try_push(rtc.DataTrackFrame(b"late"))
    with pytest.raises(rtc.SubscribeDataTrackError):
        theirs.subscribe()

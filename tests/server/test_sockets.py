"""Signalling sockets that misbehave: floods, junk, silence, slowness. Others must not notice."""

import asyncio
import gc
import json
import random

import pytest

from greenroom._engine import EngineFailed
from greenroom.protocol import inputs
from greenroom.server import Server
from greenroom.wire import messages as m
from tests.server.conftest import KEYS, raw_join, until

pytestmark = pytest.mark.loopback


async def test_join_is_the_first_message_and_a_fresh_token_follows(server):
    async with raw_join(server, "ada") as ada:
        await ada.receive("join")
        assert ada.seen == ["join"]
        assert await ada.receive("refresh_token")


async def test_a_text_frame_is_answered_in_text(server):
    async with raw_join(server, "ada") as ada:
        await ada.receive("refresh_token")
        await ada.socket.send_str(json.dumps({"pingReq": {"timestamp": "42"}}))
        async with asyncio.timeout(5):
            while (frame := await ada.socket.receive()).type.name != "TEXT":
                pass
        assert json.loads(frame.data)["pongResp"]["lastPingTimestamp"] == "42"


async def test_a_message_over_the_limit_ends_the_socket():
    async with Server(keys=KEYS, signal_size=100_000) as server:
        async with raw_join(server, "ada") as ada, raw_join(server, "bob") as bob:
            await ada.receive("join")
            await bob.receive("join")
            await ada.socket.send_bytes(bytes(200_000))
            assert await ada.closed() == 1009
            await bob.send(ping=1)
            await bob.receive("pong")
        await until(lambda: not server.rooms["lab"].participants)


@pytest.mark.parametrize("frame", [b"\xff\xff\xff", "{", b"\x0a\x05ab"])
async def test_junk_ends_the_socket(server, frame):
    async with raw_join(server, "ada") as ada:
        await ada.receive("join")
        await (ada.socket.send_str(frame) if isinstance(frame, str) else ada.socket.send_bytes(frame))
        await ada.closed()
    await until(lambda: not server.rooms["lab"].participants)


async def test_random_messages_hurt_nobody(server):
    chance = random.Random(7)
    template = [
        m.SignalRequest(offer=m.SessionDescription(type="offer", sdp="v=0\r\nm=audio 9 x 0\r\n")),
        m.SignalRequest(answer=m.SessionDescription(type="answer", sdp="junk")),
        m.SignalRequest(trickle=m.TrickleRequest(candidateInit='{"candidate":"candidate:x"}')),
        m.SignalRequest(add_track=m.AddTrackRequest(cid="c", layers=[m.VideoLayer(quality=2)])),
        m.SignalRequest(subscription=m.UpdateSubscription(track_sids=["TR_x"], subscribe=True)),
        m.SignalRequest(sync_state=m.SyncState(track_sids_disabled=["TR_x"])),
        m.SignalRequest(update_metadata=m.UpdateParticipantMetadata(metadata="x")),
    ]
    async with raw_join(server, "bob") as bob:
        await bob.receive("join")
        for _ in range(60):
            async with raw_join(server, "ada") as ada:
                await ada.receive("join")
                for message in chance.choices(template, k=5):
                    frame = bytearray(message.SerializeToString())
                    for _ in range(chance.randrange(3)):
                        frame[chance.randrange(len(frame))] = chance.randrange(256)
                    await ada.socket.send_bytes(bytes(frame))
        await bob.send(ping=1)
        await bob.receive("pong")
        await until(lambda: list(server.rooms["lab"].participants) == ["bob"])
    statistics = server.statistics()
    assert statistics["tracks"] == 0


async def test_ten_thousand_tracks_are_not_kept(server):
    async with raw_join(server, "ada") as ada:
        await ada.receive("join")
        for number in range(10_000):
            await ada.send(add_track=m.AddTrackRequest(cid=f"c{number}", type=m.TrackType.AUDIO))
        refusal = await ada.receive("request_response")
        assert refusal.reason == m.RequestResponse.LIMIT_EXCEEDED
        assert len(server.rooms["lab"].machine.member("ada").desk.pending) == 20


async def test_a_client_that_does_not_read_is_cut_and_others_go_on():
    async with Server(keys=KEYS, send_queue_size=200_000, half_open_timeout=1.0) as server:
        async with raw_join(server, "slow") as slow, raw_join(server, "bob") as bob:
            await slow.receive("join")
            await bob.receive("join")
            slow.socket._response.connection.transport.pause_reading()
            room = server.rooms["lab"]
            reading = asyncio.create_task(bob.receive("pong"))
            for number in range(400):
                if "slow" not in room.participants:
                    break
                room.step(inputs.UpdateRoomMetadata(f"{number}" + "x" * 50_000))
                await asyncio.sleep(0.005)
            await until(lambda: "slow" not in room.participants)
            await bob.send(ping=1)
            await reading
            assert list(room.participants) == ["bob"]


async def test_a_resume_of_nobody_is_told_to_begin_anew(server):
    request = m.JoinRequest(reconnect=True, participant_sid="PA_nobody")
    for path, query in (("/rtc/v1", {}), ("/rtc", {"reconnect": "1", "sid": "PA_nobody"})):
        async with raw_join(server, "ada", path=path, request=request, **query) as ada:
            leave = await ada.receive("leave")
            assert leave.action == m.LeaveRequest.RECONNECT
            assert leave.reason == m.DisconnectReason.STATE_MISMATCH
            assert await ada.closed() == 1000
    assert not server.rooms


@pytest.mark.parametrize("path", ["/rtc", "/rtc/v1"])
async def test_whoever_vanishes_before_the_media_connects_leaves_nothing(server, path):
    for _ in range(10):
        async with raw_join(server, "ada", path=path) as ada:
            await ada.receive("join")
            ada.socket._response.connection.transport.abort()
    await until(lambda: not server.rooms["lab"].participants)
    await until(lambda: server.statistics()["peers"] == 0)
    assert server.statistics()["sockets"] == 0


async def test_media_that_never_connects_is_given_up():
    async with Server(keys=KEYS, join_timeout=0.3) as server, raw_join(server, "ada") as ada:
        await ada.receive("join")
        leave = await ada.receive("leave")
        assert leave.reason == m.DisconnectReason.JOIN_FAILURE
        assert await ada.closed() == 1000


async def test_rooms_end_by_themselves():
    async with Server(keys=KEYS, departure_timeout=1) as server:
        async with raw_join(server, "ada") as ada:
            await ada.receive("join")
            await ada.send(leave=m.LeaveRequest())
            await ada.closed()
        assert "lab" in server.rooms
        await until(lambda: not server.rooms)
        await until(lambda: server.statistics()["rooms"] == 0)


async def test_two_hundred_joins_and_leaves_leave_nothing(server):
    async def one(number):
        async with raw_join(server, f"p{number % 20}", path=("/rtc", "/rtc/v1")[number % 2]) as client:
            await client.receive("join")
            if number % 3 == 0:
                await client.send(leave=m.LeaveRequest())
                await client.closed()

    for start in range(0, 200, 20):
        await asyncio.gather(*(one(number) for number in range(start, start + 20)))
    await until(lambda: not server.rooms["lab"].participants)
    await until(lambda: server.statistics()["peers"] == 0)
    state = server.rooms["lab"].machine.state
    gc.collect()
    assert not (state.by_connection or state.by_peer or state.tracks or state.quality)
    await until(lambda: server.statistics()["sockets"] == 0)
    assert len(server.rooms["lab"]._attached) == 1


async def test_after_a_failure_of_the_engine_people_can_join_again(server):
    ports = server.media_ports
    async with raw_join(server, "ada") as ada:
        await ada.receive("join")
        failure = EngineFailed(0, "a fault inside")
        bridge = server._core.bridge
        for handler in list(bridge._handlers.values()):
            handler(failure)
        bridge.close()
        leave = await ada.receive("leave")
        assert leave.reason == m.DisconnectReason.SERVER_SHUTDOWN
    assert not server.rooms
    async with raw_join(server, "ada") as ada:
        assert (await ada.receive("join")).room.name == "lab"
    assert server.media_ports == ports

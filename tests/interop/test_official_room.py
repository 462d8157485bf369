"""Official clients in our rooms: who is there, what they say about themselves, data, streams, calls, endings."""

import asyncio

import pytest
from livekit import rtc

from greenroom.server import Server, ServerOptions
from greenroom.wire.tokens import VideoGrants
from tests.interop.conftest import KEYS
from tests.interop.official import joined, tone

BOTH = pytest.mark.parametrize("single", [True, False])


@BOTH
async def test_who_comes_and_goes(server, single):
    async with joined(server, "ada", single=single) as ada:
        async with joined(server, "bob", single=single) as bob:
            (participant,) = await ada.wait("participant_connected")
            assert participant.identity == "bob"
            assert list(bob.room.remote_participants) == ["ada"]
            assert ada.room.name == "lab" and (await ada.room.sid).startswith("RM_")
        (participant,) = await ada.wait("participant_disconnected")
        assert participant.identity == "bob"
        assert participant.disconnect_reason == rtc.DisconnectReason.CLIENT_INITIATED


@BOTH
async def test_data_goes_to_everybody_or_to_those_named(server, single):
    async with (
        joined(server, "ada", single=single) as ada,
        joined(server, "bob", single=single) as bob,
        joined(server, "eve", single=not single) as eve,
    ):
        send = ada.room.local_participant.publish_data
        await send(b"all", topic="t")
        await send("only bob", destination_identities=["bob"])
        await send(b"lossy", reliable=False)
        await send(b"last")
        for client in (bob, eve):
            await client.wait("data_received", lambda packet: packet.data == b"last")
        packets = {bytes(each.data): each for (each,) in bob.events("data_received")}
        assert packets[b"all"].topic == "t" and packets[b"all"].participant.identity == "ada"
        assert packets[b"all"].kind == rtc.DataPacketKind.KIND_RELIABLE
        assert b"only bob" in packets
        assert b"only bob" not in [bytes(each.data) for (each,) in eve.events("data_received")]
        assert not ada.events("data_received")
        if b"lossy" in packets:
            assert packets[b"lossy"].kind == rtc.DataPacketKind.KIND_LOSSY


@BOTH
async def test_five_hundred_reliable_packets_arrive_in_order(server, single):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob", single=single) as bob:
        for number in range(500):
            await ada.room.local_participant.publish_data(number.to_bytes(2, "big") * 500)
        await bob.until(lambda: len(bob.events("data_received")) == 500)
        numbers = [int.from_bytes(packet.data[:2], "big") for (packet,) in bob.events("data_received")]
    assert numbers == list(range(500))


async def test_a_participant_tells_about_itself(server):
    async with joined(server, "ada") as ada, joined(server, "bob") as bob:
        me = ada.room.local_participant
        await me.set_name("Ada L.")
        await me.set_metadata("meta")
        await me.set_attributes({"mood": "good", "hat": "red"})
        await me.set_attributes({"hat": ""})
        await bob.wait("participant_attributes_changed", lambda changed, _: changed == {"hat": ""})
        seen = bob.room.remote_participants["ada"]
        assert (seen.name, seen.metadata, seen.attributes) == ("Ada L.", "meta", {"mood": "good"})
        await ada.until(lambda: me.attributes == {"mood": "good"})


async def test_without_the_grant_nobody_changes_itself(server):
    token = server.token("ada", "lab", grants=VideoGrants(can_update_own_metadata=False))
    async with joined(server, "ada", token=token) as ada, joined(server, "bob") as bob:
        await ada.room.local_participant.set_metadata("meta")
        await ada.room.local_participant.publish_data(b"after")
        await bob.wait("data_received")
        assert bob.room.remote_participants["ada"].metadata == ""


async def test_without_the_grant_nobody_publishes(server):
    token = server.token("ada", "lab", grants=VideoGrants(can_publish=False, can_publish_data=True))
    async with joined(server, "ada", token=token) as ada, joined(server, "bob") as bob:
        # This client does not read why it was refused; it waits ten seconds for its track.
        with pytest.raises(rtc.participant.PublishTrackError):
            async with tone(ada, 440):
                pass
        await ada.room.local_participant.publish_data(b"allowed")
        await bob.wait("data_received")
        assert not bob.events("track_published")


@BOTH
async def test_text_and_byte_streams(server, single):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob", single=single) as bob:
        received = asyncio.Queue()
        tasks = []

        def on_text(reader, identity):
            async def read():
                received.put_nowait((identity, await reader.read_all()))

            tasks.append(asyncio.create_task(read()))

        def on_bytes(reader, identity):
            async def read():
                received.put_nowait((identity, b"".join([chunk async for chunk in reader])))

            tasks.append(asyncio.create_task(read()))

        bob.room.register_text_stream_handler("chat", on_text)
        bob.room.register_byte_stream_handler("file", on_bytes)
        long = "grüße " * 20_000
        await ada.room.local_participant.send_text("hello", topic="chat")
        await ada.room.local_participant.send_text(long, topic="chat")
        writer = await ada.room.local_participant.stream_bytes("x.bin", topic="file")
        await writer.write(bytes(200_000))
        await writer.aclose()
        async with asyncio.timeout(20):
            found = [await received.get() for _ in range(3)]
    assert ("ada", "hello") in found and ("ada", long) in found and ("ada", bytes(200_000)) in found


@BOTH
async def test_calls_between_participants(server, single):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob", single=not single) as bob:

        async def double(call: rtc.RpcInvocationData) -> str:
            return call.payload * 2

        bob.room.local_participant.register_rpc_method("double", double)
        call = ada.room.local_participant.perform_rpc
        assert await call(destination_identity="bob", method="double", payload="x") == "xx"
        with pytest.raises(rtc.RpcError) as caught:
            await call(destination_identity="bob", method="unknown", payload="x")
        assert caught.value.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD


@BOTH
async def test_being_removed(server, single):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob", single=single) as bob:
        server.rooms["lab"].remove("ada")
        (reason,) = await ada.wait("disconnected")
        assert reason == rtc.DisconnectReason.PARTICIPANT_REMOVED
        (participant,) = await bob.wait("participant_disconnected")
        assert participant.disconnect_reason == rtc.DisconnectReason.PARTICIPANT_REMOVED


@BOTH
async def test_the_end_of_the_room(server, single):
    async with joined(server, "ada", single=single) as ada:
        server.rooms["lab"].close()
        (reason,) = await ada.wait("disconnected")
        assert reason == rtc.DisconnectReason.ROOM_DELETED
        assert not server.rooms


async def test_the_end_of_the_server():
    server = Server(keys=KEYS)
    await server.start()
    async with joined(server, "ada") as ada:
        await server.stop()
        (reason,) = await ada.wait("disconnected")
        assert reason == rtc.DisconnectReason.SERVER_SHUTDOWN


@BOTH
async def test_the_same_identity_again(server, single):
    async with joined(server, "ada", single=single) as first, joined(server, "bob") as bob:
        async with joined(server, "ada", single=single) as second:
            (reason,) = await first.wait("disconnected")
            assert reason == rtc.DisconnectReason.DUPLICATE_IDENTITY
            sid = second.room.local_participant.sid
            await bob.until(lambda: "ada" in bob.room.remote_participants)
            await bob.until(lambda: bob.room.remote_participants["ada"].sid == sid)


async def test_a_bad_token_is_said_to_be_one(server):
    with pytest.raises(rtc.ConnectError, match="invalid authorization token"):
        async with joined(server, "ada", token="nonsense"):
            pass


async def test_a_room_that_may_not_be_made():
    async with Server(ServerOptions(keys=KEYS, auto_create=False)) as server:
        with pytest.raises(rtc.ConnectError):
            async with joined(server, "ada"):
                pass
        assert not server.rooms


async def test_many_join_at_once(server):
    rooms = [joined(server, f"p{number}", single=bool(number % 2)) for number in range(12)]
    clients = await asyncio.gather(*(each.__aenter__() for each in rooms))
    for client in clients:
        await client.until(lambda client=client: len(client.room.remote_participants) == 11)
    await asyncio.gather(*(each.__aexit__(None, None, None) for each in rooms))

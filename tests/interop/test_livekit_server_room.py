"""Our client and the official one through livekit-server: data, streams, calls, who somebody is, endings."""

# ruff: noqa: F401, F811 - fixtures are imported

import asyncio

import pytest
from livekit import api
from livekit.protocol import models as m

from greenroom import rtc as ours
from tests.interop.livekit_server import OURS, PAIRS, colour, hear, lab, livekit, tone
from tests.interop.official import until


@PAIRS
async def test_data_goes_to_everybody_or_to_those_named(lab, here, there):
    async with (
        lab.joined("ada", here) as ada,
        lab.joined("bob", there) as bob,
        lab.joined("eve", here) as eve,
    ):
        send = ada.me.publish_data
        await send(b"all", topic="t")
        await send("only bob", destination_identities=["bob"])
        await send(b"lossy", reliable=False)
        await send(b"last")
        for guest in (bob, eve):
            await guest.wait("data_received", lambda packet: bytes(packet.data) == b"last")
        packets = {bytes(each.data): each for (each,) in bob.events("data_received")}
        assert packets[b"all"].topic == "t" and packets[b"all"].participant.identity == "ada"
        assert packets[b"all"].kind == bob.rtc.DataPacketKind.KIND_RELIABLE
        assert b"only bob" in packets
        assert b"only bob" not in [bytes(each.data) for (each,) in eve.events("data_received")]
        assert not ada.events("data_received")
        if b"lossy" in packets:
            assert packets[b"lossy"].kind == bob.rtc.DataPacketKind.KIND_LOSSY


@PAIRS
async def test_lossy_packets_arrive(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        while not bob.events("data_received"):
            await ada.me.publish_data(b"lossy", reliable=False)
            await asyncio.sleep(0.05)
        assert bob.events("data_received")[0][0].kind == bob.rtc.DataPacketKind.KIND_LOSSY


@PAIRS
async def test_reliable_packets_arrive_in_order(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        for number in range(300):
            await ada.me.publish_data(number.to_bytes(2, "big") * 500)
        await bob.until(lambda: len(bob.events("data_received")) == 300)
        numbers = [int.from_bytes(packet.data[:2], "big") for (packet,) in bob.events("data_received")]
    assert numbers == list(range(300))


async def test_the_server_sends_data_too(lab):
    async with lab.joined("ada", "single") as ada, lab.joined("bob", "dual") as bob:
        await lab.api.room.send_data(api.SendDataRequest(room=lab.name, data=b"from the server", topic="news"))
        for guest in (ada, bob):
            (packet,) = await guest.wait("data_received")
            assert (bytes(packet.data), packet.participant, packet.topic) == (b"from the server", None, "news")


@PAIRS
async def test_text_and_byte_streams(lab, here, there):
    long = "grüße " * 20_000
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        received = asyncio.Queue()
        tasks = []

        def on_text(reader, identity):
            async def read():
                received.put_nowait((identity, reader.info.topic, await reader.read_all()))

            tasks.append(asyncio.create_task(read()))

        def on_bytes(reader, identity):
            async def read():
                received.put_nowait((identity, reader.info.name, b"".join([chunk async for chunk in reader])))

            tasks.append(asyncio.create_task(read()))

        bob.room.register_text_stream_handler("chat", on_text)
        bob.room.register_byte_stream_handler("file", on_bytes)
        await ada.me.send_text("hello", topic="chat")
        await ada.me.send_text(long, topic="chat", destination_identities=["bob"])
        writer = await ada.me.stream_bytes("x.bin", topic="file")
        await writer.write(bytes(200_000))
        await writer.aclose()
        async with asyncio.timeout(20):
            found = [await received.get() for _ in range(3)]
    assert ("ada", "chat", "hello") in found
    assert ("ada", "chat", long) in found
    assert ("ada", "x.bin", bytes(200_000)) in found


@PAIRS
async def test_calls_both_ways(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        for callee, caller, identity in ((bob, ada, "bob"), (ada, bob, "ada")):

            async def double(call, callee=callee):
                if call.payload == "fail":
                    raise callee.rtc.RpcError(4242, "on purpose", "details")
                return call.payload * 2

            callee.me.register_rpc_method("double", double)
            await caller.until(lambda caller=caller, identity=identity: identity in caller.room.remote_participants)
            call = caller.me.perform_rpc
            assert await call(destination_identity=identity, method="double", payload="x") == "xx"
            long = "y" * 10_000
            assert await call(destination_identity=identity, method="double", payload=long) == long * 2
            with pytest.raises(caller.rtc.RpcError) as caught:
                await call(destination_identity=identity, method="double", payload="fail")
            assert (caught.value.code, caught.value.message, caught.value.data) == (4242, "on purpose", "details")
            with pytest.raises(caller.rtc.RpcError) as caught:
                await call(destination_identity=identity, method="unknown", payload="x")
            assert caught.value.code == caller.rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD


@PAIRS
async def test_a_participant_tells_about_itself(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        await ada.me.set_name("Ada L.")
        await ada.me.set_metadata("meta")
        await ada.me.set_attributes({"mood": "good", "hat": "red"})
        await ada.me.set_attributes({"hat": ""})
        await bob.wait("participant_attributes_changed", lambda changed, _: changed == {"hat": ""})
        seen = bob.room.remote_participants["ada"]
        assert (seen.name, seen.metadata, dict(seen.attributes)) == ("Ada L.", "meta", {"mood": "good"})
        assert [changed for changed, _ in bob.events("participant_attributes_changed")][-1] == {"hat": ""}
        await ada.until(lambda: dict(ada.me.attributes) == {"mood": "good"})
        assert (ada.me.name, ada.me.metadata) == ("Ada L.", "meta")


@OURS
async def test_what_the_token_does_not_permit_is_refused(lab, mode):
    grants = {"can_publish": False, "can_update_own_metadata": False, "can_publish_data": False}
    async with lab.joined("ada", mode, grants=grants) as ada:
        for change in (ada.me.set_metadata("x"), ada.me.set_name("x"), ada.me.set_attributes({"a": "b"})):
            with pytest.raises(ours.RequestError, match="update own metadata"):
                await change
        with pytest.raises(ours.participant.PublishTrackError, match="permission"):
            async with tone(ada, 440):
                pass
        assert (ada.me.metadata, ada.me.name) == ("", "")
        assert not ada.me.permissions.can_publish


@OURS
async def test_permissions_are_given_and_taken(lab, mode):
    async with lab.joined("ada", mode) as ada, lab.joined("bob", "official") as bob:
        async with tone(ada, 440):
            await bob.remote_track("tone")
            permission = api.ParticipantPermission(can_subscribe=True, can_publish=False, can_publish_data=True)
            change = api.UpdateParticipantRequest(room=lab.name, identity="ada", permission=permission)
            await lab.api.room.update_participant(change)
            await ada.until(lambda: not ada.me.permissions.can_publish)
            await bob.wait("track_unpublished")
            await ada.wait("local_track_unpublished")


@OURS
async def test_the_room_tells_about_itself(lab, mode):
    async with lab.joined("ada", mode) as ada, lab.joined("bob", "official"):
        await lab.api.room.update_room_metadata(api.UpdateRoomMetadataRequest(room=lab.name, metadata="topic: cats"))
        await ada.until(lambda: ada.room.metadata == "topic: cats")
        assert ada.room.name == lab.name and (await ada.room.sid).startswith("RM_")
        await ada.until(lambda: ada.room.num_participants == 2)


@PAIRS
async def test_who_speaks_is_told(lab, here, there):
    async with lab.joined("ada", here) as ada, lab.joined("bob", there) as bob:
        async with tone(ada, 440):
            speaks = lambda speakers: [each.identity for each in speakers] == ["ada"]  # noqa: E731
            await bob.wait("active_speakers_changed", speaks)
            await ada.wait("active_speakers_changed", speaks)
            count = len(bob.events("active_speakers_changed"))
        await bob.wait("active_speakers_changed", lambda speakers: not speakers, after=count)


@OURS
@pytest.mark.timeout(120)
async def test_the_quality_of_connections_is_told(lab, mode):
    async with lab.joined("ada", mode) as ada, lab.joined("bob", "official") as bob:
        async with tone(ada, 440), tone(bob, 880):
            for identity in ("ada", "bob"):
                await ada.wait(
                    "connection_quality_changed",
                    lambda who, quality, identity=identity: (
                        who.identity == identity and quality == ours.ConnectionQuality.QUALITY_EXCELLENT
                    ),
                )


@OURS
async def test_a_track_is_muted_by_the_server(lab, mode):
    async with lab.joined("ada", mode) as ada, lab.joined("bob", "official") as bob:
        async with tone(ada, 440) as publication:
            await hear(bob, await bob.remote_track("tone"), seconds=0.2)
            request = api.MuteRoomTrackRequest(room=lab.name, identity="ada", track_sid=publication.sid, muted=True)
            await lab.api.room.mute_published_track(request)
            await bob.wait("track_muted")
            await ada.wait("track_muted")
            assert publication.muted


@PAIRS
async def test_who_comes_and_goes(lab, here, there):
    async with lab.joined("ada", here) as ada:
        async with lab.joined("bob", there) as bob:
            (participant,) = await ada.wait("participant_connected")
            assert participant.identity == "bob"
            assert list(bob.room.remote_participants) == ["ada"]
        (participant,) = await ada.wait("participant_disconnected")
        assert participant.identity == "bob"
        assert participant.disconnect_reason == ada.rtc.DisconnectReason.CLIENT_INITIATED


@OURS
async def test_being_removed(lab, mode):
    async with lab.joined("ada", mode) as ada, lab.joined("bob", mode) as bob:
        await lab.api.room.remove_participant(api.RoomParticipantIdentity(room=lab.name, identity="ada"))
        (reason,) = await ada.wait("disconnected")
        assert reason == ours.DisconnectReason.PARTICIPANT_REMOVED
        (participant,) = await bob.wait("participant_disconnected")
        assert participant.disconnect_reason == ours.DisconnectReason.PARTICIPANT_REMOVED


@OURS
async def test_the_end_of_the_room(lab, mode):
    async with lab.joined("ada", mode) as ada, lab.joined("bob", "official") as bob:
        await lab.api.room.delete_room(api.DeleteRoomRequest(room=lab.name))
        (reason,) = await ada.wait("disconnected")
        assert reason == ours.DisconnectReason.ROOM_DELETED
        assert not ada.room.isconnected()
        await bob.wait("disconnected")


@OURS
async def test_the_same_identity_again(lab, mode):
    async with lab.joined("ada", mode) as first, lab.joined("bob", mode) as bob:
        async with lab.joined("ada", mode) as second:
            (reason,) = await first.wait("disconnected")
            assert reason == ours.DisconnectReason.DUPLICATE_IDENTITY
            sid = second.me.sid
            await bob.until(
                lambda: "ada" in bob.room.remote_participants and bob.room.remote_participants["ada"].sid == sid
            )


@OURS
async def test_wrong_tokens_are_said_to_be_wrong(lab, mode):
    room = ours.Room()
    options = ours.RoomOptions(single_peer_connection=mode == "single")
    with pytest.raises(ours.UnauthorizedError, match="token"):
        await room.connect(lab.server.url, "nonsense", options)
    forged = api.AccessToken("devkey", "another secret that is long enough too")
    forged.with_identity("ada").with_grants(api.VideoGrants(room_join=True, room=lab.name))
    with pytest.raises(ours.UnauthorizedError):
        await room.connect(lab.server.url, forged.to_jwt(), options)
    async with lab.joined("bob", mode):
        pass


@OURS
async def test_only_those_permitted_may_subscribe(lab, mode):
    async with (
        lab.joined("ada", mode) as ada,
        lab.joined("bob", "official") as bob,
        lab.joined("eve", mode) as eve,
    ):
        permission = ours.ParticipantTrackPermission(participant_identity="bob", allow_all=True)
        ada.me.set_track_subscription_permissions(allow_all_participants=False, participant_permissions=[permission])
        async with tone(ada, 440):
            [(frequency, _)] = await hear(bob, await bob.remote_track("tone"))
            assert abs(frequency - 440) < 15
            await eve.wait("track_published")
            assert not eve.events("track_subscribed")
            ada.me.set_track_subscription_permissions(allow_all_participants=True)
            [(frequency, _)] = await hear(eve, await eve.remote_track("tone"))
            assert abs(frequency - 440) < 15


@OURS
async def test_twenty_times_in_and_out_leave_nothing(lab, mode):
    import psutil

    process = psutil.Process()
    async with lab.joined("bob", mode) as bob:
        counts = []
        for number in range(20):
            async with lab.joined("ada", mode) as ada, tone(ada, 440):
                await bob.wait("track_subscribed", after=number)
            await bob.wait("participant_disconnected", after=number)
            tasks = [each for each in asyncio.all_tasks() if "greenroom" in repr(each.get_coro())]
            counts.append((process.num_fds(), process.num_threads(), len(tasks)))
        assert not bob.room.remote_participants
    # What the first rounds open once (a pool, a lookup thread) is no leak.
    for first, last in zip(counts[4], counts[-1], strict=True):
        assert last <= first + 2, counts

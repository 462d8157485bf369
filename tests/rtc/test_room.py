"""Joining, being told, and leaving: against our own server, in one process."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from greenroom import rtc
from greenroom.errors import (
    ConfigError,
    ConnectError,
    ConnectTimeoutError,
    DisconnectedError,
    EngineError,
    RequestError,
    StateError,
    UnauthorizedError,
    UnreachableError,
)
from greenroom.runtime.bridge import bridge_for_loop
from greenroom.wire.tokens import VideoGrants

from .conftest import Studio, Tone, until

pytestmark = pytest.mark.loopback

modes = pytest.mark.parametrize("single", [True, False], ids=["one connection", "two connections"])
BOGUS = "eyJhbGciOiJIUzI1NiJ9.e30.bm8"


def record(room: rtc.Room, *events: str) -> list[tuple]:
    seen: list[tuple] = []
    for event in events:
        room.on(event, lambda *args, event=event: seen.append((event, *args)))
    return seen


# -- joining -----------------------------------------------------------------------------------------------------------


@modes
async def test_those_who_are_there_and_those_who_come(studio: Studio, single: bool):
    ada = await studio.join("ada", single_peer_connection=single)
    came = record(ada, "participant_connected", "participant_active", "participant_disconnected")
    bob = await studio.join("bob", single_peer_connection=single)
    assert bob.remote_participants["ada"].identity == "ada"
    await until(lambda: len(came) == 2)
    assert [(event, participant.identity) for event, participant in came] == [
        ("participant_connected", "bob"),
        ("participant_active", "bob"),
    ]
    left = asyncio.ensure_future(ada.wait_for("participant_disconnected"))
    await asyncio.sleep(0)
    await bob.disconnect()
    gone = await left
    assert gone.identity == "bob" and gone.disconnect_reason == rtc.DisconnectReason.CLIENT_INITIATED
    assert dict(ada.remote_participants) == {}


async def test_what_is_known_of_a_room(studio: Studio):
    room = await studio.join("ada")
    assert room.isconnected() and room.connection_state is rtc.ConnectionState.CONN_CONNECTED
    assert room.name == "lobby" and room.sid.startswith("RM_") and await room.sid == room.sid
    assert room.local_participant.identity == "ada" and room.local_participant.sid.startswith("PA_")
    assert room.local_participant.permissions.can_publish
    assert "lobby" in repr(room) and "ada" in repr(room.local_participant)
    await room.disconnect()
    assert not room.isconnected() and room.name == "lobby"


async def test_before_connecting_there_is_nothing_but_words():
    room = rtc.Room()
    assert room.name == "" and not room.isconnected() and dict(room.remote_participants) == {}
    with pytest.raises(StateError, match="before connecting"):
        _ = room.local_participant
    with pytest.raises(RuntimeError, match="disconnected room"):
        await room.sid
    await room.disconnect()


async def test_connected_is_told_to_handlers_registered_right_after_connect(studio: Studio):
    room = await studio.join("ada")
    seen = record(room, "connection_state_changed", "connected")
    await until(lambda: len(seen) == 2)
    assert seen == [("connection_state_changed", rtc.ConnectionState.CONN_CONNECTED), ("connected",)]


async def test_a_second_connect_is_refused(studio: Studio):
    room = await studio.join("ada")
    with pytest.raises(StateError, match="already connected"):
        await room.connect(studio.url, studio.server.token("ada", "lobby"))


async def test_a_room_can_be_joined_again(studio: Studio):
    room = await studio.join("ada")
    first = room.local_participant.sid
    await room.disconnect()
    await studio.join("ada", room)
    assert room.local_participant.sid != first


async def test_the_context_manager_leaves(studio: Studio):
    async with rtc.Room() as room:
        await room.connect(studio.url, studio.server.token("ada", "lobby"))
        assert room.isconnected()
    assert not room.isconnected()


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_a_bad_token_is_named(studio: Studio):
    with pytest.raises(UnauthorizedError):
        await rtc.Room().connect(studio.url, BOGUS)


async def test_nobody_listening_is_named(unused_tcp_port: int):
    with pytest.raises(UnreachableError, match=str(unused_tcp_port)):
        await rtc.Room().connect(f"ws://127.0.0.1:{unused_tcp_port}", BOGUS)


@pytest.mark.parametrize("url", ["localhost:7880", "ftp://localhost", ""])
async def test_a_url_that_is_none_is_named(url: str):
    with pytest.raises(ConfigError, match="server URL"):
        await rtc.Room().connect(url, BOGUS)


async def test_what_cannot_be_honoured_is_refused_and_not_left_out_silently(studio: Studio):
    relay = rtc.RtcConfiguration(ice_transport_type=rtc.IceTransportType.TRANSPORT_RELAY)
    no_host = rtc.RtcConfiguration(ice_transport_type=rtc.IceTransportType.TRANSPORT_NOHOST)
    typo = rtc.RtcConfiguration(ice_servers=[rtc.IceServer(urls=["sturn:example.org"])])
    for options, word in (
        ({"encryption": rtc.E2EEOptions(rtc.KeyProviderOptions(key_ring_size=0))}, "key_ring_size"),
        ({"encryption": rtc.E2EEOptions(encryption_type=rtc.EncryptionType.NONE)}, "without encryption"),
        ({"rtc_config": relay}, "TRANSPORT_RELAY needs a relay"),
        ({"rtc_config": no_host}, "TRANSPORT_NOHOST needs a relay"),
        ({"rtc_config": typo}, "stun:host:3478"),
    ):
        with pytest.raises(ConfigError, match=word):
            await studio.join("ada", **options)
    await studio.join("ada", rtc_config=rtc.RtcConfiguration())


async def test_stun_servers_are_accepted_and_turn_servers_with_a_warning(studio: Studio, caplog):
    stun = rtc.IceServer(urls=["stun:stun.example.org:3478", "stuns:stun.example.org"])
    turn = rtc.IceServer(urls=["turn:turn.example.org?transport=tcp"], username="ada", password="secret")
    policy = rtc.ContinualGatheringPolicy.GATHER_ONCE
    await studio.join("ada", rtc_config=rtc.RtcConfiguration(ice_servers=[stun], continual_gathering_policy=policy))
    assert "TURN" not in caplog.text
    await studio.join("bob", rtc_config=rtc.RtcConfiguration(ice_servers=[stun, turn]))
    assert "TURN servers are not used (turn:turn.example.org?transport=tcp)" in caplog.text


async def test_a_silent_server_is_given_up_with_the_stage_named():
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(ConnectTimeoutError, match="opening the signalling connection took longer"):
            await rtc.Room().connect(f"ws://127.0.0.1:{port}", BOGUS, rtc.RoomOptions(connect_timeout=0.2))


async def test_an_older_server_is_asked_the_older_way_and_its_words_are_shown():
    asked: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(request.split()[1].partition("?")[0])
        body = b"requested room does not exist"
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as older:
        port = older.sockets[0].getsockname()[1]
        with pytest.raises(rtc.RoomNotFoundError, match="requested room does not exist"):
            await rtc.Room().connect(f"ws://127.0.0.1:{port}", BOGUS)
    assert asked == ["/rtc/v1", "/rtc"]


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_connecting_can_be_cancelled_anywhere(studio: Studio, steps: int):
    await studio.join("witness")
    before = asyncio.all_tasks()
    room = rtc.Room()
    task = asyncio.create_task(room.connect(studio.url, studio.server.token("ada", "lobby")))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await room.disconnect()
    assert not room.isconnected()
    await until(lambda: bridge_for_loop().engine.statistics()["peers"] == 1)
    mine = {each for each in asyncio.all_tasks() - before if "greenroom/rtc" in repr(each) or "runtime" in repr(each)}
    assert mine == set()


# -- handlers ----------------------------------------------------------------------------------------------------------


async def test_an_async_handler_ends_with_the_room(studio: Studio):
    ended = asyncio.Event()
    ada, bob = await studio.pair()

    @bob.on("data_received")
    async def on_data(packet: rtc.DataPacket) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(10):
        received = asyncio.ensure_future(bob.wait_for("data_received"))
        await asyncio.sleep(0)
        await ada.local_participant.publish_data("x")
        await received
        await bob.disconnect()
    assert ended.is_set()


async def test_a_handler_may_leave_the_room_and_go_on(studio: Studio):
    done = asyncio.Event()
    ada, bob = await studio.pair()

    @bob.on("data_received")
    async def on_data(packet: rtc.DataPacket) -> None:
        await bob.disconnect()
        await asyncio.sleep(0)
        done.set()

    await ada.local_participant.publish_data("x")
    async with asyncio.timeout(10):
        await done.wait()
    assert not bob.isconnected()


async def test_a_disconnected_handler_is_not_cut_short(studio: Studio):
    done = asyncio.Event()
    room = await studio.join("ada")

    @room.on("disconnected")
    async def on_disconnected(reason: int) -> None:
        await asyncio.sleep(rtc.room.HANDLER_GRACE * 2)
        done.set()

    await room.disconnect()
    async with asyncio.timeout(10):
        await done.wait()


async def test_waiting_for_an_event(studio: Studio):
    ada, bob = await studio.pair()
    waiting = asyncio.ensure_future(bob.wait_for("data_received", lambda packet: packet.data == b"2", timeout=10))
    await asyncio.sleep(0)
    for text in "123":
        await ada.local_participant.publish_data(text)
    assert (await waiting).data == b"2"
    with pytest.raises(TimeoutError):
        await bob.wait_for("reconnecting", timeout=0.01)
    waiting = asyncio.ensure_future(bob.wait_for("track_published"))
    await asyncio.sleep(0)
    await bob.disconnect()
    with pytest.raises(DisconnectedError, match="track_published"):
        await waiting
    assert bob._handlers == {}


# -- being described ---------------------------------------------------------------------------------------------------


async def test_changes_of_a_participant_reach_everyone(studio: Studio):
    ada = rtc.Room()
    grants = VideoGrants(room_join=True, room="lobby", can_update_own_metadata=True)
    token = studio.server.token("ada", "lobby", name="Ada", attributes={"a": "1"}, grants=grants)
    studio.rooms.append(ada)
    await ada.connect(studio.url, token)
    bob = await studio.join("bob")
    events = ("participant_metadata_changed", "participant_name_changed", "participant_attributes_changed")
    seen = record(bob, *events)
    mine = record(ada, *events)
    await ada.local_participant.set_metadata("new")
    await ada.local_participant.set_name("Ada L.")
    await ada.local_participant.set_attributes({"a": "", "b": "2"})
    remote = bob.remote_participants["ada"]
    expected = [
        ("participant_metadata_changed", remote, "", "new"),
        ("participant_name_changed", remote, "Ada", "Ada L."),
        ("participant_attributes_changed", {"a": "", "b": "2"}, remote),
    ]
    await until(lambda: len(seen) == 3 and len(mine) == 3)
    assert seen == expected
    assert remote.attributes == {"b": "2"} and remote.metadata == "new" and remote.name == "Ada L."
    assert ada.local_participant.name == "Ada L."


async def test_a_change_that_is_not_allowed_is_an_error(studio: Studio):
    room = rtc.Room()
    studio.rooms.append(room)
    grants = VideoGrants(room_join=True, room="lobby", can_update_own_metadata=False)
    await room.connect(studio.url, studio.server.token("ada", "lobby", grants=grants))
    with pytest.raises(RequestError, match="NOT_ALLOWED"):
        await room.local_participant.set_name("Eve")


# -- leaving and being thrown out --------------------------------------------------------------------------------------


async def test_leaving_is_told_once_however_often_it_is_asked(studio: Studio):
    room = await studio.join("ada")
    await room.wait_for("connected", timeout=10)
    seen = record(room, "disconnected", "connection_state_changed")
    await asyncio.gather(*(room.disconnect() for _ in range(5)))
    await room.disconnect()
    assert sorted(seen) == [
        ("connection_state_changed", rtc.ConnectionState.CONN_DISCONNECTED),
        ("disconnected", rtc.DisconnectReason.CLIENT_INITIATED),
    ]


async def test_the_same_identity_takes_the_place(studio: Studio):
    first = await studio.join("ada")
    gone = asyncio.ensure_future(first.wait_disconnected())
    await asyncio.sleep(0)
    await studio.join("ada")
    async with asyncio.timeout(10):
        assert await gone is rtc.DisconnectReason.DUPLICATE_IDENTITY


async def test_a_server_that_stops_ends_its_rooms(studio: Studio):
    room = await studio.join("ada")
    gone = asyncio.ensure_future(room.wait_disconnected())
    await asyncio.sleep(0)
    await studio.server.stop()
    async with asyncio.timeout(20):
        assert await gone in (rtc.DisconnectReason.SERVER_SHUTDOWN, rtc.DisconnectReason.ROOM_CLOSED)
    assert not room.isconnected()


async def test_everything_that_waits_ends_with_the_room(studio: Studio):
    ada, bob = await studio.pair()

    async def slow(invocation: rtc.RpcInvocationData) -> str:
        await asyncio.Event().wait()
        return ""

    bob.local_participant.register_rpc_method("slow", slow)
    writer = await ada.local_participant.stream_text(topic="t")
    async with Tone() as tone:
        publication = await ada.local_participant.publish_track(tone.track)
        waits = [
            asyncio.ensure_future(each)
            for each in (
                ada.local_participant.perform_rpc(destination_identity="bob", method="slow", payload=""),
                ada.wait_for("reconnected"),
                ada.wait_disconnected(),
            )
        ]
        await asyncio.sleep(0)
        await ada.disconnect()
        async with asyncio.timeout(10):
            results = await asyncio.gather(*waits, return_exceptions=True)
        assert isinstance(results[0], rtc.RpcError)
        assert isinstance(results[1], DisconnectedError)
        assert results[2] is rtc.DisconnectReason.CLIENT_INITIATED
        if publication.track is not None:
            pytest.fail("the track is still published")
        for call in (
            lambda: ada.local_participant.publish_data("x"),
            lambda: ada.local_participant.publish_track(tone.track),
            lambda: ada.local_participant.set_name("x"),
            lambda: writer.write("x"),
        ):
            with pytest.raises((DisconnectedError, StateError)):
                await call()


async def test_nothing_stays_behind(studio: Studio):
    before = asyncio.all_tasks()
    ada, bob = await studio.pair()
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        publication = await _subscribed(bob)
        stream = rtc.AudioStream(publication.track)
        await anext(stream)
        await asyncio.gather(ada.disconnect(), bob.disconnect())
        await stream.aclose()
    mine = {each for each in asyncio.all_tasks() - before if "greenroom/rtc" in repr(each) or "runtime" in repr(each)}
    assert mine == set()
    figures = bridge_for_loop().engine.statistics
    await until(lambda: not any(figures()[name] for name in ("peers", "sources", "sinks")))


async def _subscribed(room: rtc.Room) -> rtc.RemoteTrackPublication:
    for participant in room.remote_participants.values():
        for publication in participant.track_publications.values():
            if publication.track is not None:
                return publication
    _, publication, _ = await room.wait_for("track_subscribed", timeout=20)
    return publication


# -- losing the connection ---------------------------------------------------------------------------------------------


@modes
async def test_a_lost_signalling_connection_is_resumed(studio: Studio, single: bool):
    ada, bob = await studio.pair(single_peer_connection=single)
    seen = record(ada, "reconnecting", "reconnected", "connection_state_changed", "participant_disconnected")
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        sid = ada.local_participant.sid
        await ada.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await until(lambda: ("reconnected",) in seen)
        assert [entry[0] for entry in seen] == [
            "connection_state_changed",
            "reconnecting",
            "connection_state_changed",
            "reconnected",
        ]
        assert ada.local_participant.sid == sid and "bob" in ada.remote_participants
        stream = rtc.AudioStream((await _subscribed(bob)).track)
        for _ in range(20):
            await anext(stream)
        await stream.aclose()
        received = asyncio.ensure_future(bob.wait_for("data_received", timeout=20))
        await asyncio.sleep(0)
        await ada.local_participant.publish_data("still here")
        assert (await received).data == b"still here"


async def test_a_session_that_the_server_restarts_is_joined_anew(studio: Studio):
    ada, bob = await studio.pair()
    events = record(ada, "reconnected", "local_track_republished")
    async with Tone() as tone:
        publication = await ada.local_participant.publish_track(tone.track)
        old_sid, old_session = publication.sid, ada.local_participant.sid
        await ada.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await until(lambda: ("reconnected",) in events)
        assert ada.local_participant.sid != old_session
        assert ("local_track_republished", publication, old_sid) in events
        assert publication.sid != old_sid and publication.sid in ada.local_participant.track_publications
        assert "bob" in ada.remote_participants
        await until(lambda: publication.sid in bob.remote_participants["ada"].track_publications)
        received = asyncio.ensure_future(bob.wait_for("data_received", timeout=20))
        await asyncio.sleep(0)
        await ada.local_participant.publish_data("back again")
        assert (await received).data == b"back again"


@pytest.mark.parametrize(
    "scenario", ["SIMULATE_NODE_FAILURE", "SIMULATE_MIGRATION", "SIMULATE_DISCONNECT_SIGNAL_ON_RESUME"]
)
async def test_every_kind_of_loss_is_survived_with_sound(studio: Studio, scenario: str):
    ada, bob = await studio.pair()
    events = record(ada, "reconnecting", "reconnected")
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        await _subscribed(bob)
        await ada.simulate_scenario(rtc.SimulateScenarioKind.Value(scenario))
        if scenario == "SIMULATE_DISCONNECT_SIGNAL_ON_RESUME":
            await ada.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await until(lambda: ("reconnected",) in events, within=40)
        await until(lambda: ada.isconnected() and "ada" in bob.remote_participants)
        stream = rtc.AudioStream((await _subscribed(bob)).track)
        for _ in range(20):
            await anext(stream)
        await stream.aclose()


@modes
async def test_publishing_survives_the_loss_of_the_connection_in_the_middle(studio: Studio, single: bool):
    """The answer to an offer under way never comes: the session is resumed all the same, and publishing works."""
    ada, bob = await studio.pair(single_peer_connection=single)
    events = record(ada, "reconnected")
    connection = ada._connection
    async with Tone() as tone:
        publishing = asyncio.ensure_future(ada.local_participant.publish_track(tone.track))
        while not connection.session.negotiation.deadline:  # noqa: ASYNC110 - the very next turn of the loop
            await asyncio.sleep(0)
        await connection.drop_socket()
        await until(lambda: ("reconnected",) in events, within=40)
        async with asyncio.timeout(20):
            await publishing
        await _subscribed(bob)


async def test_a_server_that_says_it_goes_ends_the_room(studio: Studio):
    room = await studio.join("ada")
    await room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_SERVER_LEAVE)
    async with asyncio.timeout(20):
        assert await room.wait_disconnected() is rtc.DisconnectReason.SERVER_SHUTDOWN


async def test_a_server_that_is_gone_ends_the_room_after_its_attempts(studio: Studio, caplog, monkeypatch):
    from greenroom.protocol import client_session

    impatient = client_session.ReconnectPolicy(attempts=3, first_delay=0.01, longest_delay=0.02)
    monkeypatch.setattr(client_session, "ReconnectPolicy", lambda: impatient)
    room = await studio.join("ada")
    gone = asyncio.ensure_future(room.wait_disconnected())
    await asyncio.sleep(0)
    connection = room._connection
    connection._url = "ws://127.0.0.1:9"
    await connection.drop_socket()
    async with asyncio.timeout(20):
        assert await gone is rtc.DisconnectReason.CONNECTION_TIMEOUT


async def test_a_failing_handler_does_not_disturb_joining(studio: Studio, caplog):
    room = rtc.Room()
    room.on("connected", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR):
        await studio.join("ada", room)
        await until(lambda: "ZeroDivisionError" in caplog.text)
    assert room.isconnected()


async def test_connect_errors_are_connect_errors():
    for kind in (UnauthorizedError, UnreachableError, ConnectTimeoutError, rtc.RoomNotFoundError):
        assert issubclass(kind, ConnectError) and kind("words").message == "words"
    assert rtc.ConnectError is ConnectError


async def test_joining_is_quick(studio: Studio):
    """No fixed waits: ten rooms in a row take seconds, not tens of them."""
    started = time.monotonic()
    for number in range(10):
        room = await studio.join(f"p{number}")
        await room.disconnect()
    assert time.monotonic() - started < 60


async def test_a_failed_engine_ends_the_room_and_the_next_one_gets_a_new_engine(studio: Studio, monkeypatch):
    """A fault inside the engine is told as the engine tells it; nothing hangs, and the process goes on."""
    ada, bob = await studio.pair()
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        stream = rtc.AudioStream((await _subscribed(bob)).track)
        await anext(stream)
        bridge = bridge_for_loop()
        real = bridge.engine

        class Failing:
            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            def drain(self) -> list[tuple[object, ...]]:
                return [("engine_failed", 0, "a fault for this test")]

        bridge.engine = Failing()
        gone = asyncio.ensure_future(ada.wait_disconnected())
        capture = asyncio.ensure_future(tone.source.capture_frame(rtc.AudioFrame.create(48000, 1, 480_000)))
        await asyncio.sleep(0)
        bridge._drain()
        async with asyncio.timeout(10):
            assert await gone is rtc.DisconnectReason.MEDIA_FAILURE
            with pytest.raises(EngineError, match="a fault for this test"):
                await capture
            async for _ in stream:
                pass
            await bob.wait_disconnected()
        assert bridge.closed
    again = await studio.join("ada")
    assert again.isconnected() and bridge_for_loop() is not bridge


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 40])
async def test_disconnecting_ends_joining(studio: Studio, turns: int):
    room = rtc.Room()
    joining = asyncio.ensure_future(room.connect(studio.url, studio.server.token("ada", "lobby")))
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    assert not joining.done()
    async with asyncio.timeout(5):
        await room.disconnect()
        with pytest.raises(rtc.ConnectError, match="left while it was being joined"):
            await joining
    assert not room.isconnected()
    await studio.join("ada", room)
    await room.disconnect()

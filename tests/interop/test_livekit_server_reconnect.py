"""Our client when livekit-server, or the way to it, breaks: it comes back, or says that it is over."""

# ruff: noqa: F401, F811 - fixtures are imported

import asyncio

import pytest

from greenroom import rtc as ours
from tests.interop.livekit_server import OURS, Lab, Wire, colour, hear, lab, livekit, running, see, tone
from tests.interop.official import close, until

GREEN = (30, 180, 60)
BLUE = (40, 60, 200)


def near(heard, frequency):
    return abs(heard[0][0] - frequency) < 15


@OURS
async def test_a_cut_socket_is_resumed_and_nobody_else_notices(lab, mode):
    async with (
        Wire(lab.server) as wire,
        lab.joined("ada", mode, url=wire.url) as ada,
        lab.joined("bob", "official") as bob,
        lab.joined("eve", mode, url=wire.url) as eve,
    ):
        async with tone(ada, 440), tone(bob, 880, name="other"):
            track = await bob.remote_track("tone")
            other = await eve.remote_track("other")
            sid = ada.me.sid
            wire.cut()
            for guest in (ada, eve):
                await guest.wait("reconnecting")
                await guest.wait("reconnected")
            assert near(await hear(bob, track), 440) and near(await hear(eve, other), 880)
            assert ada.me.sid == sid
            assert not bob.events("track_unsubscribed") and not bob.events("participant_disconnected")
            await ada.me.publish_data(b"still here")
            await bob.wait("data_received")
            async with tone(ada, 1200, name="new"):
                assert near(await hear(bob, await bob.remote_track("new")), 1200)
            assert ada.room.connection_state == ours.ConnectionState.CONN_CONNECTED


@OURS
async def test_a_socket_that_is_cut_again_and_again(lab, mode):
    async with (
        Wire(lab.server) as wire,
        lab.joined("ada", mode, url=wire.url) as ada,
        lab.joined("bob", "official") as bob,
    ):
        async with tone(ada, 440):
            track = await bob.remote_track("tone")
            for number in range(5):
                wire.cut()
                await ada.wait("reconnected", after=number)
            assert near(await hear(bob, track), 440)
            assert not bob.events("track_unsubscribed")


@OURS
async def test_who_left_and_came_meanwhile_is_told_after_a_resume(lab, mode):
    async with Wire(lab.server) as wire, lab.joined("ada", mode, url=wire.url) as ada:
        async with lab.joined("bob", "official"):
            await ada.wait("participant_connected")
            wire.cut()
        async with lab.joined("eve", "official") as eve, tone(eve, 700):
            await ada.wait("participant_disconnected", lambda who: who.identity == "bob")
            await ada.wait("participant_connected", lambda who: who.identity == "eve")
            assert near(await hear(ada, await ada.remote_track("tone")), 700)


SCENARIOS = [
    "SIMULATE_SIGNAL_RECONNECT",
    "SIMULATE_NODE_FAILURE",
    "SIMULATE_MIGRATION",
    "SIMULATE_DISCONNECT_SIGNAL_ON_RESUME",
]


@OURS
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_accidents_that_can_be_asked_for(lab, mode, scenario):
    async with lab.joined("ada", mode) as ada, lab.joined("bob", "official") as bob:
        async with tone(ada, 440), colour(ada, GREEN), tone(bob, 880, name="other"):
            await hear(bob, await bob.remote_track("tone"), seconds=0.2)
            await hear(ada, await ada.remote_track("other"), seconds=0.2)
            sid = ada.me.sid
            await ada.room.simulate_scenario(getattr(ours.SimulateScenarioKind, scenario))
            if scenario == "SIMULATE_DISCONNECT_SIGNAL_ON_RESUME":
                await ada.room.simulate_scenario(ours.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
            await ada.wait("reconnected")
            if ada.me.sid != sid:
                track, _, _ = await bob.wait("track_subscribed", lambda track, *_: track.name == "tone", after=2)
                picture, _, _ = await bob.wait("track_subscribed", lambda track, *_: track.name == "picture", after=2)
            else:
                track, picture = await bob.remote_track("tone"), await bob.remote_track("picture")
            assert near(await hear(bob, track), 440)
            seen, _ = await see(bob, picture)
            assert close(seen, GREEN)
            other = next(iter(ada.room.remote_participants["bob"].track_publications.values()))
            await ada.until(lambda: other.track is not None)
            other = next(iter(ada.room.remote_participants["bob"].track_publications.values()))
            assert near(await hear(ada, other.track), 880)


@OURS
async def test_the_server_ends_the_session(lab, mode):
    async with lab.joined("ada", mode) as ada, tone(ada, 440):
        await ada.room.simulate_scenario(ours.SimulateScenarioKind.SIMULATE_SERVER_LEAVE)
        (reason,) = await ada.wait("disconnected")
        assert reason == ours.DisconnectReason.SERVER_SHUTDOWN
        assert ada.room.connection_state == ours.ConnectionState.CONN_DISCONNECTED


@OURS
async def test_a_server_that_shuts_down_ends_the_room(tmp_path, livekit, mode):
    # Now and then livekit-server is gone before it has sent the word that its log announces.
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with running(folder) as server:
            lab = Lab(server)
            async with lab.joined("ada", mode) as ada, tone(ada, 440):
                await asyncio.to_thread(server.shut_down)
                said = any("sending signal response" in line and "SHUTDOWN" in line for line in server.lines())
                if said:
                    (reason,) = await ada.wait("disconnected")
                    assert reason == ours.DisconnectReason.SERVER_SHUTDOWN
            await lab.api.aclose()
        if said:
            return
    pytest.fail("no livekit-server of ten has told its clients to leave")


@OURS
async def test_a_server_that_was_killed_and_restarted_is_joined_anew(tmp_path, livekit, mode):
    with running(tmp_path) as server:
        lab = Lab(server)
        async with lab.joined("ada", mode) as ada, lab.joined("bob", mode) as bob:
            async with tone(ada, 440), colour(ada, BLUE, still=True), tone(bob, 880, name="other"):
                await hear(bob, await bob.remote_track("tone"), seconds=0.2)
                await see(bob, await bob.remote_track("picture"), frames=1)
                await asyncio.to_thread(server.kill)
                for guest in (ada, bob):
                    await guest.wait("reconnecting")
                    assert guest.room.connection_state == ours.ConnectionState.CONN_RECONNECTING
                await asyncio.to_thread(server.start)
                for guest in (ada, bob):
                    await guest.wait("reconnected")
                    assert guest.room.connection_state == ours.ConnectionState.CONN_CONNECTED
                track, _, _ = await bob.wait("track_subscribed", lambda track, *_: track.name == "tone", after=2)
                picture, _, _ = await bob.wait("track_subscribed", lambda track, *_: track.name == "picture", after=2)
                assert near(await hear(bob, track), 440)
                seen, _ = await see(bob, picture, frames=1)
                assert close(seen, BLUE)
                back, _, _ = await ada.wait("track_subscribed", lambda track, *_: track.name == "other", after=1)
                assert near(await hear(ada, back), 880)
        await lab.api.aclose()


@OURS
@pytest.mark.timeout(150)
async def test_a_server_that_stays_away_ends_the_room_and_whoever_waits(tmp_path, livekit, mode):
    with running(tmp_path) as server:
        lab = Lab(server)
        async with lab.joined("ada", mode) as ada, lab.joined("bob", mode) as bob:
            async with tone(ada, 440):
                track = await bob.remote_track("tone")
                await hear(bob, track, seconds=0.2)
                stream = ours.AudioStream(track)
                await asyncio.wait_for(anext(stream), 10)
                reading = asyncio.create_task(read_to_end(stream))
                await asyncio.to_thread(server.kill)
                calling = asyncio.create_task(bob.me.perform_rpc(destination_identity="ada", method="m", payload=""))
                renaming = asyncio.create_task(bob.me.set_name("Rob"))
                async with asyncio.timeout(120):
                    reasons = [await each.room.wait_disconnected() for each in (ada, bob)]
                    results = await asyncio.gather(calling, renaming, return_exceptions=True)
                    await reading
        await lab.api.aclose()
    assert all(isinstance(each, Exception) for each in results), results
    assert reasons == [ours.DisconnectReason.CONNECTION_TIMEOUT] * 2


async def read_to_end(stream):
    async for _ in stream:
        pass


@OURS
async def test_leaving_while_the_server_is_away_takes_no_patience(tmp_path, livekit, mode):
    with running(tmp_path) as server:
        lab = Lab(server)
        async with lab.joined("ada", mode) as ada, tone(ada, 440):
            await asyncio.to_thread(server.kill)
            await ada.wait("reconnecting")
            await asyncio.wait_for(ada.room.disconnect(), 5)
            assert not ada.room.isconnected()
        await lab.api.aclose()

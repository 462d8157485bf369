"""Official clients whose socket or session breaks: they come back, and nobody else notices more than they must."""

import pytest
from livekit import rtc

from tests.interop.official import hear, joined, tone

BOTH = pytest.mark.parametrize("single", [True, False])


def cut(server, identity):
    """Cut the TCP connection of a participant's signalling socket."""
    member = server.rooms["lab"].machine.member(identity)
    server._core.sockets[member.link.connection]._transport.abort()


@BOTH
async def test_a_cut_socket_is_resumed_and_the_sound_goes_on(server, single):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob", single=single) as bob:
        async with tone(ada, 440) as publication:
            track = await bob.remote_track("tone")
            sids = dict(server.rooms["lab"].participants)
            for client, identity in ((ada, "ada"), (bob, "bob")):
                cut(server, identity)
                await client.wait("reconnecting")
                await client.wait("reconnected")
            frequency, _ = await hear(track)
            assert abs(frequency - 440) < 5
            assert dict(server.rooms["lab"].participants) == sids
            assert publication.sid in server.rooms["lab"].machine.state.tracks
            assert not bob.events("track_unsubscribed") and not bob.events("participant_disconnected")
            await ada.room.local_participant.publish_data(b"still here")
            await bob.wait("data_received")


@BOTH
async def test_who_left_and_came_meanwhile_is_told_after_a_resume(server, single):
    async with joined(server, "ada", single=single) as ada:
        async with joined(server, "bob"):
            await ada.wait("participant_connected")
            cut(server, "ada")
            server.rooms["lab"].remove("bob")
        async with joined(server, "eve"):
            await ada.wait("participant_disconnected", lambda who: who.identity == "bob")
            await ada.wait("participant_connected", lambda who: who.identity == "eve")


@BOTH
@pytest.mark.parametrize("scenario", ["SIMULATE_SIGNAL_RECONNECT", "SIMULATE_FULL_RECONNECT", "SIMULATE_SERVER_LEAVE"])
async def test_the_accidents_that_the_client_can_ask_for(server, single, scenario):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob", single=single) as bob:
        async with tone(ada, 440):
            await hear(await bob.remote_track("tone"), 0.2)
            await ada.room.simulate_scenario(getattr(rtc.SimulateScenarioKind, scenario))
            if scenario == "SIMULATE_SERVER_LEAVE":
                (reason,) = await ada.wait("disconnected")
                assert reason == rtc.DisconnectReason.SERVER_SHUTDOWN
                return
            await ada.wait("reconnected")
            if scenario == "SIMULATE_FULL_RECONNECT":
                track, _, _ = await bob.wait("track_subscribed", after=1)
            else:
                track = bob.events("track_subscribed")[0][0]
            frequency, _ = await hear(track)
    assert abs(frequency - 440) < 5


@BOTH
async def test_a_session_the_server_forgot_is_begun_anew(server, single):
    async with joined(server, "ada", single=single) as ada, joined(server, "bob") as bob, tone(ada, 440):
        await hear(await bob.remote_track("tone"), 0.2)
        room = server.rooms["lab"]
        sid = room.participants["ada"]
        # The server loses the participant without a word, as one that was restarted would.
        member = room.machine.member("ada")
        server._core.sockets[member.link.connection]._transport.abort()
        member.link.connection = None
        room.remove("ada")
        await ada.wait("reconnected")
        assert room.participants["ada"] != sid
        track, _, _ = await bob.wait("track_subscribed", after=1)
        frequency, _ = await hear(track)
    assert abs(frequency - 440) < 5

"""The official API package against our HTTP API: every call of rooms and dispatch."""

import asyncio
import contextlib
import time

import aiohttp
import pytest
from aiohttp import web
from livekit import api, rtc
from livekit.protocol import models

from greenroom.server import Server, ServerOptions
from greenroom.server.options import Webhooks
from greenroom.wire.tokens import Claims, VideoGrants, encode_token
from tests.interop.conftest import KEYS
from tests.interop.official import PATIENCE, hear, joined, tone

KEY, SECRET = next(iter(KEYS.items()))


@pytest.fixture
async def lk(server):
    async with api.LiveKitAPI(server.url.replace("ws", "http"), KEY, SECRET) as client:
        yield client


@contextlib.contextmanager
def refused(code, text=""):
    with pytest.raises(api.TwirpError) as caught:
        yield
    assert caught.value.code == code and text in caught.value.message


async def test_rooms_are_made_listed_changed_and_deleted(server, lk):
    made = await lk.room.create_room(
        api.CreateRoomRequest(name="lab", empty_timeout=77, max_participants=3, metadata="m")
    )
    assert made.sid.startswith("RM_")
    assert (made.name, made.empty_timeout, made.max_participants, made.metadata) == ("lab", 77, 3, "m")
    again = await lk.room.create_room(api.CreateRoomRequest(name="lab", max_participants=5))
    assert (again.sid, again.max_participants, again.empty_timeout) == (made.sid, 5, 77)
    await lk.room.create_room(api.CreateRoomRequest(name="other"))
    assert {each.name for each in (await lk.room.list_rooms(api.ListRoomsRequest())).rooms} == {"lab", "other"}
    only = await lk.room.list_rooms(api.ListRoomsRequest(names=["lab", "nowhere"]))
    assert [each.name for each in only.rooms] == ["lab"]
    changed = await lk.room.update_room_metadata(api.UpdateRoomMetadataRequest(room="lab", metadata="new"))
    assert changed.metadata == "new"
    await lk.room.delete_room(api.DeleteRoomRequest(room="lab"))
    assert list(server.rooms) == ["other"]


async def test_participants_are_listed_changed_and_removed(server, lk):
    async with joined(server, "ada") as ada, joined(server, "bob") as bob:
        who = api.RoomParticipantIdentity(room="lab", identity="ada")
        listed = await lk.room.list_participants(api.ListParticipantsRequest(room="lab"))
        assert {each.identity for each in listed.participants} == {"ada", "bob"}
        assert (await lk.room.get_participant(who)).state == models.ParticipantInfo.ACTIVE
        updated = await lk.room.update_participant(
            api.UpdateParticipantRequest(
                room="lab",
                identity="ada",
                name="Ada",
                metadata="m",
                attributes={"a": "b"},
                permission=models.ParticipantPermission(can_subscribe=True, can_publish_data=True),
            )
        )
        assert (updated.name, updated.metadata, dict(updated.attributes)) == ("Ada", "m", {"a": "b"})
        await bob.wait("participant_attributes_changed")
        await ada.until(lambda: not ada.room.local_participant.permissions.can_publish)
        await lk.room.remove_participant(who)
        (reason,) = await ada.wait("disconnected")
        assert reason == rtc.DisconnectReason.PARTICIPANT_REMOVED


async def test_a_track_is_muted_and_a_subscription_ended(server, lk):
    async with joined(server, "ada") as ada, joined(server, "bob") as bob, tone(ada, 440) as publication:
        await hear(await bob.remote_track("tone"), 0.2)
        muted = await lk.room.mute_published_track(
            api.MuteRoomTrackRequest(room="lab", identity="ada", track_sid=publication.sid, muted=True)
        )
        assert muted.track.muted
        await bob.wait("track_muted")
        with refused("failed_precondition", "remote unmute not enabled"):
            await lk.room.mute_published_track(
                api.MuteRoomTrackRequest(room="lab", identity="ada", track_sid=publication.sid, muted=False)
            )
        with refused("not_found", "track is not found"):
            await lk.room.mute_published_track(
                api.MuteRoomTrackRequest(room="lab", identity="ada", track_sid="TR_no", muted=True)
            )
        await lk.room.update_subscriptions(
            api.UpdateSubscriptionsRequest(room="lab", identity="bob", track_sids=[publication.sid], subscribe=False)
        )
        # This client does not say when the server ends a subscription; what counts is that nothing is sent.
        await bob.until(lambda: server.statistics()["subscriptions"] == 0)


async def test_revoking_a_permission_takes_the_tracks_away(server, lk):
    async with joined(server, "ada") as ada, joined(server, "bob") as bob, tone(ada, 440):
        await bob.remote_track("tone")
        await lk.room.update_participant(
            api.UpdateParticipantRequest(
                room="lab", identity="ada", permission=models.ParticipantPermission(can_subscribe=True)
            )
        )
        await bob.wait("track_unpublished")
        await ada.until(lambda: server.statistics()["tracks"] == 0)


async def test_data_and_calls_from_the_server(server, lk):
    async with joined(server, "ada") as ada, joined(server, "bob") as bob:
        await lk.room.send_data(
            api.SendDataRequest(
                room="lab",
                data=b"hi",
                kind=models.DataPacket.RELIABLE,
                topic="t",
                destination_identities=["ada"],
            )
        )
        (packet,) = await ada.wait("data_received")
        assert (packet.data, packet.topic, packet.participant) == (b"hi", "t", None)

        async def shout(call: rtc.RpcInvocationData) -> str:
            return call.payload.upper()

        ada.room.local_participant.register_rpc_method("shout", shout)
        answer = await lk.room._client.request(
            "RoomService",
            "PerformRpc",
            _rpc("ada", "shout", "hey"),
            lk.room._auth_header(api.VideoGrants(room_admin=True, room="lab")),
            _rpc_response(),
        )
        assert answer.payload == "HEY"
        with refused("unknown"):
            await lk.room._client.request(
                "RoomService",
                "PerformRpc",
                _rpc("ada", "nothing", "hey"),
                lk.room._auth_header(api.VideoGrants(room_admin=True, room="lab")),
                _rpc_response(),
            )
        assert not bob.events("data_received")


def _rpc(identity, method, payload):
    from livekit.protocol.room import PerformRpcRequest

    return PerformRpcRequest(
        room="lab", destination_identity=identity, method=method, payload=payload, response_timeout_ms=5000
    )


def _rpc_response():
    from livekit.protocol.room import PerformRpcResponse

    return PerformRpcResponse


async def test_what_is_not_there_is_said_to_be_missing(server, lk):
    with refused("not_found", "requested room does not exist"):
        await lk.room.delete_room(api.DeleteRoomRequest(room="lab"))
    with refused("not_found", "requested room does not exist"):
        await lk.room.list_participants(api.ListParticipantsRequest(room="lab"))
    await lk.room.create_room(api.CreateRoomRequest(name="lab"))
    with refused("not_found", "participant does not exist"):
        await lk.room.get_participant(api.RoomParticipantIdentity(room="lab", identity="ada"))
    with refused("invalid_argument", "no room name"):
        await lk.room.create_room(api.CreateRoomRequest())
    with refused("invalid_argument", "metadata"):
        await lk.room.create_room(api.CreateRoomRequest(name="big", metadata="x" * 600_000))
    with refused("unimplemented"):
        await lk.egress.list_egress(api.ListEgressRequest())
    with refused("unimplemented"):
        await lk.room.move_participant(api.MoveParticipantRequest(room="lab", identity="ada", destination_room="other"))


@pytest.mark.parametrize(
    "grants",
    [
        None,
        VideoGrants(),
        VideoGrants(room_join=True, room="lab"),
        VideoGrants(room_admin=True, room="other"),
    ],
)
async def test_calls_without_the_grant_are_unauthenticated(server, grants):
    now = time.time()
    headers = {"Content-Type": "application/json"}
    if grants is not None:
        headers["Authorization"] = "Bearer " + encode_token(Claims(identity="x", video=grants), KEY, SECRET, now=now)
    calls = {
        "CreateRoom": {"name": "lab"},
        "ListRooms": {},
        "DeleteRoom": {"room": "lab"},
        "ListParticipants": {"room": "lab"},
        "GetParticipant": {"room": "lab", "identity": "a"},
        "RemoveParticipant": {"room": "lab", "identity": "a"},
        "MutePublishedTrack": {"room": "lab", "identity": "a"},
        "UpdateParticipant": {"room": "lab", "identity": "a"},
        "UpdateSubscriptions": {"room": "lab", "identity": "a"},
        "SendData": {"room": "lab"},
        "UpdateRoomMetadata": {"room": "lab"},
        "PerformRpc": {"room": "lab"},
        "ForwardParticipant": {"room": "lab"},
    }
    base = server.url.replace("ws", "http") + "/twirp/livekit.RoomService/"
    async with aiohttp.ClientSession(headers=headers) as client:
        for method, body in calls.items():
            async with client.post(base + method, json=body) as response:
                error = await response.json()
                assert (response.status, error["code"]) == (401, "unauthenticated"), method


async def test_json_bodies_come_back_as_json(server):
    now = time.time()
    token = encode_token(Claims(video=VideoGrants(room_create=True)), KEY, SECRET, now=now)
    url = server.url.replace("ws", "http") + "/twirp/livekit.RoomService/CreateRoom"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
        for body in ({"name": "lab", "emptyTimeout": 9}, {"name": "lab", "empty_timeout": 9, "novel": 1}):
            async with client.post(url, json=body) as response:
                made = await response.json()
                assert made["name"] == "lab" and made["empty_timeout"] == 9 and made["num_participants"] == 0
        async with client.post(url, data="{", headers={"Content-Type": "application/json"}) as response:
            assert (response.status, (await response.json())["code"]) == (400, "malformed")
        async with client.post(url, data=b"x", headers={"Content-Type": "text/plain"}) as response:
            assert (response.status, (await response.json())["code"]) == (404, "bad_route")
        async with client.get(url) as response:
            assert (response.status, (await response.json())["code"]) == (404, "bad_route")


async def test_a_removed_participant_cannot_use_its_old_token(server, lk):

    token = server.token("ada", "lab")
    async with joined(server, "ada", token=token) as ada:
        await lk.room.remove_participant(
            api.RoomParticipantIdentity(room="lab", identity="ada", revoke_token_ts=int(time.time()) + 1)
        )
        await ada.wait("disconnected")
    with pytest.raises(rtc.ConnectError, match="revoked"):
        async with joined(server, "ada", token=token):
            pass


async def test_webhooks_tell_the_story_of_a_room():
    received, arrived = [], asyncio.Event()
    receiver = api.WebhookReceiver(api.TokenVerifier(KEY, SECRET))

    async def take(request):
        event = receiver.receive((await request.read()).decode(), request.headers["Authorization"])
        assert request.content_type == "application/webhook+json"
        received.append(event)
        arrived.set()
        return web.Response()

    front = web.Application()
    front.router.add_post("/hook", take)
    runner = web.AppRunner(front)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    options = ServerOptions(keys=KEYS, webhooks=Webhooks(urls=[url]))
    async with Server(options) as server:
        async with joined(server, "ada") as ada, tone(ada, 440):
            await ada.until(lambda: server.statistics()["tracks"] == 1)
        server.rooms["lab"].close()
        async with asyncio.timeout(PATIENCE):
            while not received or received[-1].event != "room_finished":
                arrived.clear()
                await arrived.wait()
    await runner.cleanup()
    assert [each.event for each in received] == [
        "room_started",
        "participant_joined",
        "track_published",
        "track_unpublished",
        "participant_left",
        "room_finished",
    ]
    assert all(each.room.name == "lab" and each.id.startswith("EV_") for each in received)
    assert received[2].track.source == models.TrackSource.MICROPHONE
    assert received[4].participant.disconnect_reason == models.DisconnectReason.CLIENT_INITIATED

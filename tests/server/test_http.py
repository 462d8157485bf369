"""Every answer of the HTTP port that clients depend on: statuses, texts, headers."""

import asyncio
import time

import aiohttp
import jwt
import pytest

from greenroom.errors import ConfigError, PortInUseError, StateError
from greenroom.server import Server, ServerOptions
from greenroom.wire import messages as m
from greenroom.wire.join import encode_v1
from greenroom.wire.tokens import Claims, VideoGrants, encode_token
from tests.server.conftest import KEYS, base, raw_join, until

pytestmark = pytest.mark.loopback
KEY, SECRET = next(iter(KEYS.items()))
JOIN = encode_v1(m.JoinRequest(client_info=m.ClientInfo(protocol=17)))


def token(identity="ada", room="lab", **grants):
    video = VideoGrants(room_join=bool(room and identity), room=room, **grants)
    return encode_token(Claims(identity=identity, video=video), KEY, SECRET, now=time.time())


def raw_token(**claims):
    now = time.time()
    payload = {"iss": KEY, "nbf": now, "exp": now + 3600, "sub": "ada", "video": {"roomJoin": True, "room": "lab"}}
    return jwt.encode({key: value for key, value in {**payload, **claims}.items() if value is not None}, SECRET)


async def get(http, server, path, **options):
    async with http.get(base(server) + path, **options) as response:
        return response.status, await response.text(), response.headers


async def test_health(server, http):
    status, text, headers = await get(http, server, "/")
    assert (status, text) == (200, "OK")
    assert headers["Access-Control-Allow-Origin"] == "*"
    async with http.head(base(server) + "/") as response:
        assert response.status == 200


async def test_a_browser_may_ask_from_anywhere(server, http):
    async with http.options(base(server) + "/rtc/validate", headers={"Origin": "https://example.org"}) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("path", ["/nowhere", "/settings/regions", "/rtc", "/rtc/v1", "/agent", "/rtc/v2"])
async def test_what_is_not_there_or_not_a_websocket_is_404_and_empty(server, http, path):
    assert (await get(http, server, path))[:2] == (404, "")


@pytest.mark.parametrize("path", ["/rtc/validate", "/rtc/v1/validate", "//rtc/validate", "///rtc/v1/validate"])
async def test_a_good_token_validates(server, http, path):
    query = {"access_token": token(), "join_request": JOIN}
    status, text, headers = await get(http, server, path, params=query)
    assert (status, text) == (200, "success")
    assert headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("headers", "query", "status", "text"),
    [
        ({}, {}, 401, "permissions denied"),
        ({"Authorization": "Basic x"}, {}, 401, "invalid authorization header. Must start with Bearer"),
        ({}, {"access_token": "x"}, 401, "invalid authorization token"),
        ({}, {"access_token": raw_token(exp=time.time() - 100)}, 401, "invalid authorization token"),
        ({}, {"access_token": raw_token(exp=None)}, 401, "invalid authorization token"),
        ({}, {"access_token": raw_token(iss="someone")}, 401, "invalid API key"),
        ({}, {"access_token": raw_token(video=None)}, 401, "permissions denied"),
        ({}, {"access_token": raw_token(video={"room": "lab"})}, 401, "permissions denied"),
        ({}, {"access_token": raw_token(sub=None)}, 400, "identity cannot be empty"),
        ({}, {"access_token": raw_token(sub="x" * 257)}, 400, "participant identity length exceeds limits"),
        ({}, {"access_token": raw_token(video={"roomJoin": True})}, 400, "no room name"),
        (
            {},
            {"access_token": raw_token(video={"roomJoin": True, "room": "x" * 257})},
            400,
            "room name length exceeds limits",
        ),
        ({}, {"access_token": raw_token(), "attributes": "%%%"}, 400, "cannot decode attributes"),
        ({}, {"access_token": raw_token(), "attributes": "eyJhIjoiYiJ9"}, 401, "permissions denied"),
        ({}, {"access_token": raw_token(), "join_request": "%%%"}, 400, "cannot base64 decode wrapped join request"),
    ],
)
async def test_the_table_of_refusals(server, http, headers, query, status, text):
    found = await get(http, server, "/rtc/validate", headers=headers, params=query)
    assert found[0] == status and text in found[1], found
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    found = await get(http, server, "/rtc", headers={**headers, **upgrade}, params=query)
    assert found[0] == status and text in found[1], found
    assert not server.rooms


async def test_version_one_needs_a_join_request(server, http):
    status, text, _ = await get(http, server, "/rtc/v1/validate", params={"access_token": token()})
    assert (status, text) == (400, "join_request is required")


async def test_a_room_that_may_not_be_made_is_said_to_be_missing(http):
    async with Server(keys=KEYS, auto_create=False) as server:
        query = {"access_token": token()}
        found = await get(http, server, "/rtc/validate", params=query)
        assert found[:2] == (404, "requested room does not exist")
        headers = {"Authorization": f"Bearer {token(room_create=True)}"}
        url = base(server) + "/twirp/livekit.RoomService/CreateRoom"
        async with http.post(url, json={"name": "lab"}, headers=headers) as response:
            assert response.status == 200
        assert (await get(http, server, "/rtc/validate", params=query))[0] == 200


async def test_a_request_line_of_a_hundred_kilobytes_passes(server, http):
    offer = m.SessionDescription(type="offer", sdp="".join(f"a=x{number}\r\n" for number in range(9_000)))
    request = encode_v1(m.JoinRequest(publisher_offer=offer), compress=False)
    assert len(request) > 100_000
    query = {"access_token": token(), "join_request": request}
    assert (await get(http, server, "/rtc/v1/validate", params=query))[0] == 200


async def test_api_bodies_that_are_too_large_are_refused(http):
    async with Server(keys=KEYS, request_size=1000) as server:
        url = base(server) + "/twirp/livekit.RoomService/CreateRoom"
        headers = {"Authorization": f"Bearer {token(room_create=True)}", "Content-Type": "application/json"}
        async with http.post(url, data=b"{" + b" " * 5000, headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (413, "resource_exhausted")


async def test_a_connection_that_asks_for_nothing_is_closed():
    async with Server(keys=KEYS, half_open_timeout=0.3) as server:
        for opening in (b"", b"GET /rtc HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(opening)
            async with asyncio.timeout(5):
                while await reader.read(1000):
                    pass
            writer.close()


async def test_an_api_body_that_does_not_arrive_is_given_up():
    async with Server(keys=KEYS, half_open_timeout=0.3) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\nAuthorization: Bearer " + token(room_list=True).encode() + b"\r\n\r\n{"
        )
        async with asyncio.timeout(5):
            assert b"408" in await reader.readline()
        writer.close()


async def test_a_port_in_use_is_named(server):
    with pytest.raises(PortInUseError, match=str(server.port)):
        await Server(host="127.0.0.1", port=server.port, keys=KEYS).start()
    with pytest.raises(PortInUseError, match=str(server.media_ports[0])):
        await Server(host="127.0.0.1", udp_port=server.media_ports[0], keys=KEYS).start()


async def test_an_address_of_another_machine_is_named():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.77"):
        await Server(host="192.0.2.77", keys=KEYS).start()


async def test_a_server_starts_stops_and_starts_again():
    server = Server(ServerOptions(keys=KEYS))
    with pytest.raises(StateError, match="not running"):
        _ = server.url
    for _ in range(2):
        await server.start()
        with pytest.raises(StateError, match="already"):
            await server.start()
        await server.stop()
        await server.stop()


async def test_without_keys_one_is_made_up():
    async with Server() as server, raw_join(server, "ada") as socket:
        assert (await socket.receive("join")).participant.identity == "ada"
        assert len(server.keys) == 1


@pytest.mark.parametrize("settings", [{"port": 70_000}, {"keys": {"a": ""}}, {"novel": 1}])
def test_settings_that_cannot_work_are_named(settings):
    with pytest.raises(ConfigError):
        Server(**settings)


async def test_nothing_is_left_when_a_server_stops_with_people_in_it():
    before = asyncio.all_tasks()
    server = Server(keys=KEYS)
    await server.start()
    async with raw_join(server, "ada") as ada, raw_join(server, "bob", path="/rtc") as bob:
        await ada.receive("join")
        await bob.receive("join")
        stopping = asyncio.create_task(server.stop())
        for socket in (ada, bob):
            leave = await socket.receive("leave")
            assert leave.reason == m.DisconnectReason.SERVER_SHUTDOWN
            assert await socket.closed() == 1000
        await stopping
    await until(lambda: not asyncio.all_tasks() - before)


async def test_a_worker_needs_the_grant_and_speaks_binary(server, http):
    headers = {"Authorization": f"Bearer {token()}"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(server.url + "/agent", headers=headers)
    assert caught.value.status == 401
    headers = {"Authorization": f"Bearer {token(agent=True)}"}
    async with http.ws_connect(server.url + "/agent", headers=headers) as socket:
        register = m.WorkerMessage(register=m.RegisterWorkerRequest(agent_name="bot"))
        await socket.send_bytes(register.SerializeToString())
        answer = m.ServerMessage()
        answer.ParseFromString(await socket.receive_bytes(timeout=5))
        assert answer.register.worker_id.startswith("AW_")

"""Everything that can be said on a signalling socket, or before one, while others talk."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import zlib

import aiohttp
import pytest

from greenroom import testing
from greenroom.wire import messages as m
from greenroom.wire.tokens import VideoGrants

from .conftest import House

pytestmark = pytest.mark.loopback

SECTION = (
    "m={kind} 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
)


def offer(sections: int, extra: str = "") -> m.SessionDescription:
    """An offer with so many sections."""
    names = " ".join(map(str, range(sections)))
    head = f"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {names}\r\n"
    body = "".join(SECTION.format(kind="audio", mid=mid) for mid in range(sections))
    return m.SessionDescription(type="offer", sdp=head + body + extra)


# -- before the socket -------------------------------------------------------------------------------------------------


def _wrapped(inner: bytes, compression: int = 0) -> str:
    wrapped = m.WrappedJoinRequest(compression=compression, join_request=inner)
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()


BAD_REQUESTS = {
    "no base64": "%%%",
    "cut base64": "abc=d===",
    "no message": base64.urlsafe_b64encode(b"\xff" * 100).decode(),
    "not zipped": _wrapped(b"\xff" * 100, m.WrappedJoinRequest.GZIP),
    "cut zip": _wrapped(zlib.compress(b"x" * 1000, wbits=31)[:-9], m.WrappedJoinRequest.GZIP),
    "a bomb": _wrapped(_bomb(), m.WrappedJoinRequest.GZIP),
    "junk in it": _wrapped(b"\x0a\xff\xff\xff\xff\x0f"),
}


async def test_join_requests_that_are_none(house: House):
    url = house.stage.url.replace("ws", "http", 1)
    headers = {"Authorization": f"Bearer {house.stage.server.token('mallory', 'elsewhere')}"}
    async with house.undisturbed(), aiohttp.ClientSession(headers=headers) as client:
        for _ in range(5):
            for name, request in BAD_REQUESTS.items():
                async with client.get(f"{url}/rtc/v1/validate", params={"join_request": request}) as response:
                    assert response.status == 400, name
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await client.ws_connect(f"{url}/rtc/v1", params={"join_request": request})
                assert refused.value.status == 400, name
    assert "elsewhere" not in house.stage.server.rooms


async def test_requests_that_never_end_are_hung_up_on(house: House):
    port = house.stage.server.port
    starts = [b"", b"G", b"GET /rtc HTTP/1.1\r\nHost: x\r\n", b"POST /twirp/x HTTP/1.1\r\nContent-Length: 99\r\n\r\nx"]

    async def hold(start: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()

    async def drip() -> None:
        """A header, one byte after the other, that never ends."""
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /rtc HTTP/1.1\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)
        writer.close()

    async with house.undisturbed(), asyncio.timeout(20):
        await asyncio.gather(*(hold(start) for start in starts * 10), *(drip() for _ in range(10)))


# -- on the socket -----------------------------------------------------------------------------------------------------


async def test_frames_that_are_no_messages(house: House):
    frames: list[bytes | str] = [
        os.urandom(100),
        b"\xff" * 100_000,
        b"\x0a\xff\xff\xff\xff\x0f",
        "x" * 100_000,
        "[" * 100_000,
        '{"offer": ' * 50_000,
        '{"offer": {"sdp": 5}}',
        bytes(3 * 1024 * 1024),
        "y" * (3 * 1024 * 1024),
    ]
    async with house.undisturbed():
        for number, frame in enumerate(frames):
            async with house.intruder(f"mallory {number}") as mallory:
                await mallory.next("join")
                with contextlib.suppress(ConnectionError):
                    await (mallory.ws.send_str(frame) if isinstance(frame, str) else mallory.ws.send_bytes(frame))
                await mallory.closed()


DESCRIPTIONS = {
    "two thousand sections": offer(2000),
    "ten thousand candidates": offer(
        1, "".join(f"a=candidate:{n} 1 udp 1 10.0.{n // 250}.{n % 250} 9 typ host\r\n" for n in range(10_000))
    ),
    "ten thousand attributes": offer(1, "".join(f"a=ssrc:{n} cname:x\r\n" for n in range(10_000))),
    "ten thousand payload types": offer(1, "".join(f"a=rtpmap:{n} x/{n}\r\n" for n in range(10_000))),
    "one long line": offer(1, "a=x:" + "y" * 1_000_000),
    "no description": m.SessionDescription(type="offer", sdp="hello"),
    "nothing": m.SessionDescription(type="offer"),
    "an answer to nothing": m.SessionDescription(type="answer", sdp=offer(1).sdp),
    "null bytes": m.SessionDescription(type="offer", sdp="\0" * 1000),
}


@pytest.mark.parametrize("what", DESCRIPTIONS)
async def test_descriptions_that_no_browser_makes(house: House, what: str):
    async with house.undisturbed():
        for number in range(3):
            async with house.intruder(f"mallory {number}") as mallory:
                await mallory.next("join")
                description = DESCRIPTIONS[what]
                with contextlib.suppress(ConnectionError):
                    await mallory.send(**{description.type: description})
                    await mallory.send(ping=1)
                    await mallory.ws.receive()
    await _emptied(house)


async def test_floods_of_requests(house: House):
    async with house.undisturbed():
        async with house.intruder() as mallory:
            await mallory.next("join")
            for number in range(10_000):
                await mallory.send(add_track=m.AddTrackRequest(cid=f"c{number}", name=f"n{number}"))
            track = m.TrickleRequest(candidateInit='{"candidate":"candidate:1 1 udp 1 10.0.0.1 9 typ host"}')
            for number in range(5_000):
                await mallory.send(trickle=track)
                await mallory.send(trickle=m.TrickleRequest(candidateInit="{" * (number % 50)))
            for number in range(2_000):
                await mallory.send(subscription=m.UpdateSubscription(track_sids=[f"TR_{number}"], subscribe=True))
                await mallory.send(mute=m.MuteTrackRequest(sid=f"TR_{number}", muted=True))
                await mallory.send(track_setting=m.UpdateTrackSettings(track_sids=[f"TR_{number}"], width=2**31))
            await mallory.send(ping=77)
            assert (await mallory.next("pong")).pong
    await _emptied(house)


async def test_whoever_joins_and_never_connects_is_put_out(house: House):
    async with house.undisturbed(), contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(house.intruder(f"mallory {number}")) for number in range(30)]
        for mallory in crowd:
            await mallory.next("leave")
    await _emptied(house)


async def _emptied(house: House) -> None:
    """The attacker's room is gone, with all that was in it."""
    left = {"live_rooms": 1, "rooms": 1, "peers": 2, "tracks": 1, "subscriptions": 1, "sockets": 2}
    async with asyncio.timeout(20):
        while house.stage.server.statistics() | left != house.stage.server.statistics():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# -- what a token does not allow ---------------------------------------------------------------------------------------


GRANTS = {
    "publish": VideoGrants(can_publish=False),
    "subscribe": VideoGrants(can_subscribe=False),
    "data": VideoGrants(can_publish_data=False),
    "source": VideoGrants(can_publish_sources=["camera"]),
    "hidden": VideoGrants(hidden=True),
}


@pytest.mark.parametrize("denied", GRANTS)
async def test_what_a_token_does_not_allow_does_not_happen(house: House, denied: str):
    stage, ada = house.stage, house.ada
    eve = await stage.join("eve", grants=GRANTS[denied])
    if denied in ("publish", "source"):
        with pytest.raises(Exception, match=r"permission|allowed|denied"):
            await eve.speak(testing.tone(700))
    if denied == "subscribe":
        with pytest.raises(AssertionError, match="no audio track came"):
            await eve.hears(testing.tone(440), within=1)
    else:
        await eve.hears(testing.tone(440), of="ada")
    if denied == "data":
        with contextlib.suppress(Exception):
            await eve.send("not this")
    zoe = await stage.join("zoe")
    await zoe.send("this")
    await ada.receives("this")
    told = str(ada.transcript)
    assert "not this" not in told
    assert ("eve" in told) == (denied != "hidden")


async def test_tracks_of_another_room_cannot_be_had(house: House):
    """Neither by guessing their ids, nor by naming their owner."""
    sid = next(iter(house.ada.room.local_participant.track_publications))
    owner = house.ada.room.local_participant.sid
    async with house.undisturbed(), house.intruder() as mallory:
        await mallory.next("join")
        await mallory.send(subscription=m.UpdateSubscription(track_sids=[sid], subscribe=True))
        named = m.ParticipantTracks(participant_sid=owner, track_sids=[sid])
        await mallory.send(subscription=m.UpdateSubscription(participant_tracks=[named], subscribe=True))
        await mallory.send(mute=m.MuteTrackRequest(sid=sid, muted=True))
        await mallory.send(ping=1)
        await mallory.next("pong")
        assert house.stage.server.statistics()["subscriptions"] == 1

"""Our client and the official one in the same room understand each other, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from greenroom import rtc

from .conftest import Picture, Studio, Tone, frequency, loudness, until
from .test_media import CAMERA, MICROPHONE, loud, subscribed

official = pytest.importorskip("livekit.rtc")

pytestmark = pytest.mark.interop

PATIENCE = 30


@pytest.fixture(params=[True, False], ids=["one connection", "two connections"])
async def both(request: pytest.FixtureRequest, studio: Studio) -> AsyncIterator[tuple[rtc.Room, object]]:
    """Ours ("ada") and theirs ("oscar"), who know of each other."""
    ours = await studio.join("ada", single_peer_connection=request.param)
    theirs = official.Room()
    active = asyncio.ensure_future(ours.wait_for("participant_active", timeout=PATIENCE))
    await asyncio.sleep(0)
    options = official.RoomOptions(single_peer_connection=request.param)
    await theirs.connect(studio.url, studio.server.token("oscar", "lobby"), options)
    await active
    await until(lambda: "ada" in theirs.remote_participants)
    yield ours, theirs
    await theirs.disconnect()


async def test_sound_and_pictures_of_ours_reach_theirs(both):
    ours, theirs = both
    tracks: dict[int, object] = {}
    theirs.on("track_subscribed", lambda track, *_: tracks.update({track.kind: track}))
    async with Tone(440) as tone, Picture((200, 40, 40)) as picture:
        await ours.local_participant.publish_track(tone.track, MICROPHONE)
        await ours.local_participant.publish_track(picture.track, CAMERA)
        await until(lambda: len(tracks) == 2)
        sound = official.AudioStream(tracks[official.TrackKind.KIND_AUDIO])
        frames: list[rtc.AudioFrame] = []
        async with asyncio.timeout(PATIENCE):
            async for event in sound:
                frame = rtc.AudioFrame(bytes(event.frame.data), 48000, 1, event.frame.samples_per_channel)
                if frames or loudness(frame) > 1000:
                    frames.append(frame)
                if len(frames) == 100:
                    break
        assert frequency(frames) == pytest.approx(440, abs=3)
        pictures = official.VideoStream(tracks[official.TrackKind.KIND_VIDEO])
        async with asyncio.timeout(PATIENCE):
            async for event in pictures:
                rgba = np.frombuffer(event.frame.convert(official.VideoBufferType.RGBA).data, np.uint8)
                if rgba.reshape(-1, 4)[len(rgba) // 8][:3].tolist() == pytest.approx([200, 40, 40], abs=12):
                    break
        await sound.aclose()


async def test_sound_of_theirs_reaches_ours_and_ends_with_it(both):
    ours, theirs = both
    source = official.AudioSource(48000, 1, 100)
    track = official.LocalAudioTrack.create_audio_track("theirs", source)

    async def play() -> None:
        played = 0
        while True:
            wave = 8000 * np.sin(2 * np.pi * 660 * (played + np.arange(480)) / 48000)
            await source.capture_frame(official.AudioFrame(wave.astype(np.int16).tobytes(), 48000, 1, 480))
            played += 480

    playing = asyncio.create_task(play())
    options = official.TrackPublishOptions(source=official.TrackSource.SOURCE_MICROPHONE)
    published = await theirs.local_participant.publish_track(track, options)
    publication = await subscribed(ours, rtc.TrackKind.KIND_AUDIO)
    assert (publication.sid, publication.source) == (published.sid, rtc.TrackSource.SOURCE_MICROPHONE)
    stream = rtc.AudioStream(publication.track)
    assert frequency(await loud(stream, 100)) == pytest.approx(660, abs=3)
    muted = asyncio.ensure_future(ours.wait_for("track_muted", timeout=PATIENCE))
    await asyncio.sleep(0)
    track.mute()
    participant, same = await muted
    assert same is publication and participant.identity == "oscar"
    await theirs.local_participant.unpublish_track(published.sid)
    async with asyncio.timeout(PATIENCE):
        async for _ in stream:
            pass
    playing.cancel()
    await asyncio.wait([playing])


async def test_data_goes_both_ways(both):
    ours, theirs = both
    heard: list[bytes] = []
    theirs.on("data_received", lambda packet: heard.append(bytes(packet.data)))
    await ours.local_participant.publish_data("to theirs", topic="t")
    await until(lambda: heard == [b"to theirs"])
    waiting = asyncio.ensure_future(ours.wait_for("data_received", timeout=PATIENCE))
    await asyncio.sleep(0)
    await theirs.local_participant.publish_data("to ours", topic="t")
    packet = await waiting
    assert (packet.data, packet.topic, packet.participant.identity) == (b"to ours", "t", "oscar")
    assert packet.kind is rtc.DataPacketKind.KIND_RELIABLE


@pytest.mark.parametrize("length", [10, 100_000])
async def test_streams_go_both_ways(both, length: int):
    ours, theirs = both
    text = ("näh " * length)[:length]
    got: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
    tasks = set()

    def theirs_text(reader, identity: str) -> None:
        async def read() -> None:
            got.put_nowait((identity, await reader.read_all()))

        tasks.add(asyncio.create_task(read()))

    def theirs_bytes(reader, identity: str) -> None:
        async def read() -> None:
            got.put_nowait((identity, b"".join([piece async for piece in reader])))

        tasks.add(asyncio.create_task(read()))

    async def ours_any(reader, identity: str) -> None:
        got.put_nowait((identity, await reader.read_all()))

    theirs.register_text_stream_handler("t", theirs_text)
    theirs.register_byte_stream_handler("b", theirs_bytes)
    ours.register_text_stream_handler("t", ours_any)
    ours.register_byte_stream_handler("b", ours_any)
    async with asyncio.timeout(PATIENCE):
        await ours.local_participant.send_text(text, topic="t")
        assert await got.get() == ("ada", text)
        await theirs.local_participant.send_text(text, topic="t")
        assert await got.get() == ("oscar", text)
        await ours.local_participant.send_bytes(text.encode(), topic="b", name="n")
        assert await got.get() == ("ada", text.encode())
        writer = await theirs.local_participant.stream_bytes("n", topic="b")
        await writer.write(text.encode())
        await writer.aclose()
        assert await got.get() == ("oscar", text.encode())


async def test_calls_go_both_ways_and_fail_alike(both):
    ours, theirs = both
    long = "x" * 50_000

    @theirs.local_participant.register_rpc_method("echo")
    async def theirs_echo(invocation) -> str:
        if invocation.payload == "fail":
            raise official.RpcError(77, "theirs says no")
        return f"{invocation.caller_identity}: {invocation.payload}"

    @ours.local_participant.register_rpc_method("echo")
    def ours_echo(invocation: rtc.RpcInvocationData) -> str:
        if invocation.payload == "fail":
            raise rtc.RpcError(78, "ours says no")
        return f"{invocation.caller_identity}: {invocation.payload}"

    async with asyncio.timeout(PATIENCE):
        call = ours.local_participant.perform_rpc
        for payload in ("hi", long):
            assert await call(destination_identity="oscar", method="echo", payload=payload) == f"ada: {payload}"
        with pytest.raises(rtc.RpcError) as refused:
            await call(destination_identity="oscar", method="echo", payload="fail")
        assert (refused.value.code, refused.value.message) == (77, "theirs says no")
        call = theirs.local_participant.perform_rpc
        for payload in ("hi", long):
            assert await call(destination_identity="ada", method="echo", payload=payload) == f"oscar: {payload}"
        with pytest.raises(official.RpcError) as refused:
            await call(destination_identity="ada", method="echo", payload="fail")
        assert (refused.value.code, refused.value.message) == (78, "ours says no")
        with pytest.raises(official.RpcError) as refused:
            await call(destination_identity="ada", method="unheard of", payload="")
        assert refused.value.code == 1400


async def test_data_tracks_go_both_ways(both):
    ours, theirs = both
    seen: list[object] = []
    theirs.on("data_track_published", seen.append)
    mine = await ours.local_participant.publish_data_track(name="ours")
    await until(lambda: len(seen) == 1)
    stream = seen[0].subscribe()
    reading = asyncio.ensure_future(stream.read())
    while not reading.done():
        mine.try_push(rtc.DataTrackFrame(b"x" * 3000, 5))
        await asyncio.wait([reading], timeout=0.05)
    frame = await reading
    assert (frame.payload, frame.user_timestamp) == (b"x" * 3000, 5)
    waiting = asyncio.ensure_future(ours.wait_for("data_track_published", timeout=PATIENCE))
    await asyncio.sleep(0)
    track = await theirs.local_participant.publish_data_track(name="theirs")
    remote = await waiting
    assert (remote.info.name, remote.publisher_identity) == ("theirs", "oscar")
    ours_stream = remote.subscribe()
    ours_reading = asyncio.ensure_future(ours_stream.read())
    while not ours_reading.done():
        track.try_push(official.DataTrackFrame(b"y" * 3000, 6))
        await asyncio.wait([ours_reading], timeout=0.05)
    frame = await ours_reading
    assert (frame.payload, frame.user_timestamp) == (b"y" * 3000, 6)
    stream.close()

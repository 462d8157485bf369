"""Programs do things at moments nobody planned: each of them either works or says what is wrong, and nothing hangs."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from greenroom import rtc
from greenroom.errors import DisconnectedError, StateError
from greenroom.runtime.bridge import bridge_for_loop

from .conftest import Picture, Studio, Tone, frequency, until

pytestmark = pytest.mark.loopback


async def subscribed(room: rtc.Room, kind: int = rtc.TrackKind.KIND_AUDIO) -> rtc.RemoteTrackPublication:
    def found() -> list[rtc.RemoteTrackPublication]:
        tracks = [each for who in room.remote_participants.values() for each in who.track_publications.values()]
        return [each for each in tracks if each.track is not None and each.kind == kind]

    await until(found)
    return found()[0]


async def heard(stream: rtc.AudioStream, frames: int = 60) -> float:
    """The pitch of the last of that many frames, when the sound has settled."""
    got = []
    async with asyncio.timeout(20):
        async for event in stream:
            got.append(event.frame)
            if len(got) == frames:
                return frequency(got[-30:])
    raise AssertionError("the stream ended")


async def test_publishing_before_the_room_is_joined_says_so(studio: Studio):
    room = rtc.Room()
    joining = asyncio.ensure_future(studio.join("ada", room))
    await asyncio.sleep(0)
    with pytest.raises(StateError, match="before connecting"):
        await room.local_participant.publish_track(Tone().track)
    with pytest.raises(StateError, match="already connected"):
        await room.connect(studio.url, "token")
    await joining
    async with Tone() as tone:
        await room.local_participant.publish_track(tone.track)


async def test_a_source_that_plays_before_and_after_its_track_is_published_is_heard(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone(440) as tone:
        await asyncio.sleep(0.1)
        first = await ada.local_participant.publish_track(tone.track)
        assert await heard(rtc.AudioStream((await subscribed(bob)).track)) == pytest.approx(440, abs=10)
        await ada.local_participant.unpublish_track(first.sid)
        await ada.local_participant.publish_track(tone.track)
        await until(lambda: first.sid not in bob.remote_participants["ada"].track_publications)
        assert await heard(rtc.AudioStream((await subscribed(bob)).track)) == pytest.approx(440, abs=10)


@pytest.mark.parametrize("event", ["track_subscribed", "track_published", "participant_connected", "connected"])
@pytest.mark.parametrize("kind", ["coroutine", "task"])
async def test_disconnecting_inside_a_handler(studio: Studio, event: str, kind: str):
    bob, told = rtc.Room(), []
    leaving: list[asyncio.Task[None]] = []

    async def leave(*_: object) -> None:
        await bob.disconnect()
        told.append(bob.connection_state)

    bob.on(event, leave if kind == "coroutine" else lambda *_: leaving.append(asyncio.ensure_future(leave())))
    bob.on("disconnected", lambda reason: told.append(reason))
    await studio.join("bob", bob)
    ada = await studio.join("ada")
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        await until(lambda: len(told) == 2)
    assert told == [rtc.DisconnectReason.CLIENT_INITIATED, rtc.ConnectionState.CONN_DISCONNECTED]
    await asyncio.gather(*leaving)
    await until(lambda: "bob" not in ada.remote_participants)


async def test_two_streams_of_one_track_hear_the_same_and_end_apart(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone(440) as tone:
        publication = await ada.local_participant.publish_track(tone.track)
        track = (await subscribed(bob)).track
        one, other = rtc.AudioStream(track), rtc.AudioStream(track, sample_rate=16000, num_channels=2)
        assert await heard(one) == pytest.approx(440, abs=10)
        await one.aclose()
        assert await heard(other) == pytest.approx(440, abs=10)
        await ada.local_participant.unpublish_track(publication.sid)
        async with asyncio.timeout(20):
            async for _ in other:
                pass
        assert [event async for event in one] == [event async for event in other] == []


@pytest.mark.parametrize("local", [True, False])
async def test_closing_a_stream_ends_whoever_waits_for_it(studio: Studio, local: bool):
    ada, bob = await studio.pair()
    tone = Tone()
    await ada.local_participant.publish_track(tone.track)
    track = tone.track if local else (await subscribed(bob)).track
    stream = rtc.VideoStream(Picture().track) if local else rtc.AudioStream(track)

    async def read() -> int:
        return len([event async for event in stream])

    readers = [asyncio.ensure_future(read()) for _ in range(3)]
    await asyncio.sleep(0.05)
    await asyncio.gather(stream.aclose(), stream.aclose())
    await stream.aclose()
    async with asyncio.timeout(5):
        await asyncio.gather(*readers)


async def test_a_track_that_is_refused_and_taken_again_is_heard_again(studio: Studio):
    ada, bob = await studio.pair()
    events: list[str] = []
    for name in ("track_subscribed", "track_unsubscribed"):
        bob.on(name, lambda *_, name=name: events.append(name))
    async with Tone(440) as tone:
        await ada.local_participant.publish_track(tone.track)
        publication = await subscribed(bob)
        old = publication.track
        stream = rtc.AudioStream(old)
        assert await heard(stream) == pytest.approx(440, abs=10)
        for wanted in (False, True, False, True):
            publication.set_subscribed(wanted)
        async with asyncio.timeout(20):
            assert all([event.frame async for event in stream])
        await until(lambda: publication.track is not None)
        assert publication.track is not old and events[:2] == ["track_subscribed", "track_unsubscribed"]
        assert await heard(rtc.AudioStream(publication.track)) == pytest.approx(440, abs=10)
        # What was the track before ends at once for whoever comes late.
        assert [event async for event in rtc.AudioStream(old)] == []


async def test_a_stream_that_is_left_by_break_is_given_back(studio: Studio):
    ada, bob = await studio.pair()
    sinks = lambda: bridge_for_loop().engine.statistics()["sinks"]  # noqa: E731
    async with Tone() as tone:
        await ada.local_participant.publish_track(tone.track)
        track = (await subscribed(bob)).track

        async def listen() -> None:
            async for event in rtc.AudioStream(track):
                assert event.frame.samples_per_channel == 480
                break

        before = sinks()
        for _ in range(5):
            await listen()
        gc.collect()
        await until(lambda: sinks() == before)


async def test_a_stream_of_a_participant_reads_what_it_publishes_later_and_ends_when_it_leaves(studio: Studio):
    ada, bob = await studio.pair()
    microphone = rtc.TrackSource.SOURCE_MICROPHONE
    theirs = rtc.AudioStream.from_participant(participant=bob.remote_participants["ada"], track_source=microphone)
    mine = rtc.AudioStream.from_participant(participant=ada.local_participant, track_source=microphone)
    options = rtc.TrackPublishOptions(source=microphone)
    async with Tone(440) as low, Tone(1000) as high:
        first = await ada.local_participant.publish_track(low.track, options)
        assert await heard(mine) == pytest.approx(440, abs=10)
        assert await heard(theirs) == pytest.approx(440, abs=10)
        await ada.local_participant.unpublish_track(first.sid)
        await ada.local_participant.publish_track(high.track, options)
        await until(lambda: first.sid not in bob.remote_participants["ada"].track_publications)
        await subscribed(bob)
        assert await heard(theirs, 120) == pytest.approx(1000, abs=10)
        gone, ourselves = bob.remote_participants["ada"], ada.local_participant
        await ada.disconnect()
        async with asyncio.timeout(20):
            async for _ in theirs:
                pass
            async for _ in mine:
                pass
            for late in (gone, ourselves):
                stream = rtc.AudioStream.from_participant(participant=late, track_source=microphone)
                assert [event async for event in stream] == []


async def test_a_stream_that_follows_a_source_of_the_other_kind_ends_and_the_event_comes(studio: Studio, caplog):
    ada, bob = await studio.pair()
    camera = rtc.TrackSource.SOURCE_CAMERA
    stream = rtc.AudioStream.from_participant(participant=bob.remote_participants["ada"], track_source=camera)
    async with Picture() as picture:
        await ada.local_participant.publish_track(picture.track, rtc.TrackPublishOptions(source=camera))
        await subscribed(bob, rtc.TrackKind.KIND_VIDEO)
        async with asyncio.timeout(5):
            assert [event async for event in stream] == []
    assert "read it with a VideoStream" in caplog.text


async def test_handlers_that_fail_in_either_way_are_logged_once_and_stop_nothing(studio: Studio, caplog):
    ada, bob = await studio.pair()
    got: list[bytes] = []

    async def later(packet: rtc.DataPacket) -> None:
        raise ValueError("later")

    def at_once(packet: rtc.DataPacket) -> None:
        raise ValueError("at once")

    bob.on("data_received", later)
    bob.on("data_received", at_once)
    bob.on("data_received", lambda packet: got.append(packet.data))
    with caplog.at_level(logging.ERROR):
        await ada.local_participant.publish_data(b"x")
        await until(lambda: got and "later" in caplog.text)
    assert [caplog.text.count(f"ValueError: {word}") for word in ("later", "at once")] == [1, 1]


async def test_async_functions_are_handlers_of_streams_calls_and_predicates_are_not(studio: Studio):
    ada, bob = await studio.pair()
    texts: list[str] = []

    async def read(reader: rtc.TextStreamReader, sender: str) -> None:
        texts.append(sender + await reader.read_all())

    async def echo(invocation: rtc.RpcInvocationData) -> str:
        await asyncio.sleep(0)
        return invocation.payload

    bob.register_text_stream_handler("t", read)
    bob.local_participant.register_rpc_method("echo", echo)
    await ada.local_participant.send_text("hello", topic="t")
    await until(lambda: texts == ["adahello"])
    call = ada.local_participant.perform_rpc(destination_identity="bob", method="echo", payload="x")
    assert await call == "x"
    waiting = asyncio.ensure_future(bob.wait_for("data_received", predicate=lambda packet: packet.no_such_thing))
    await asyncio.sleep(0)
    await ada.local_participant.publish_data(b"x")
    with pytest.raises(AttributeError, match="no_such_thing"):
        async with asyncio.timeout(10):
            await waiting


async def test_whoever_waits_in_a_room_that_ends_is_told(studio: Studio):
    ada, bob = await studio.pair()
    bob.local_participant.register_rpc_method("slow", lambda _: asyncio.sleep(60))
    publication = await ada.local_participant.publish_track(Tone().track)
    call = ada.local_participant.perform_rpc(destination_identity="bob", method="slow", payload="")
    waiting = [
        asyncio.ensure_future(each)
        for each in (ada.wait_for("reconnected"), call, ada.local_participant.publish_track(Picture().track))
    ]
    await asyncio.sleep(0)
    await ada.disconnect()
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in outcomes[:2]] == [DisconnectedError, rtc.RpcError]
    assert isinstance(outcomes[2], DisconnectedError | rtc.PublishTrackError | StateError)
    local = ada.local_participant
    for call in (
        local.publish_data(b"x"),
        local.publish_track(Tone().track),
        local.set_name("x"),
        local.send_text("x"),
        local.publish_data_track(name="x"),
        local.publish_dtmf(code=1, digit="1"),
    ):
        with pytest.raises((DisconnectedError, rtc.PublishDataTrackError, StateError)):
            async with asyncio.timeout(5):
                await call
    assert publication.track is None


async def test_settings_of_a_track_that_is_gone_are_ignored(studio: Studio):
    ada, bob = await studio.pair()
    async with Tone() as tone:
        publication = await ada.local_participant.publish_track(tone.track)
        theirs = await subscribed(bob)
        events: list[str] = []
        for name in ("track_subscribed", "track_unsubscribed"):
            bob.on(name, lambda *_, name=name: events.append(name))
        await bob.disconnect()
        events.clear()
        theirs.set_subscribed(False)
        theirs.set_subscribed(True)
        theirs.set_enabled(False)
        tone.track.mute()
        await ada.local_participant.unpublish_track(publication.sid)
        tone.track.unmute()
        await asyncio.sleep(0.05)
        assert events == []


async def test_tracks_that_change_places_at_once_are_told_apart(studio: Studio):
    """The next track may get the section of the one before, which the server must hear of first."""
    ada, bob = await studio.pair()
    local, connection = ada.local_participant, ada._connection
    theirs = bob.remote_participants["ada"].track_publications
    offers: list[set[int]] = []
    removed: list[int] = []
    listen = connection.peers._accepted
    connection.peers._accepted = lambda sections: (
        offers.append({section.sending for section in sections}),
        listen(sections),
    )
    async with Tone() as tone:
        for _ in range(10):
            publication = await local.publish_track(tone.track)
            sender = local._tracks.get(publication.sid).sender
            assert not any(gone in offers[-1] for gone in removed) and sender in offers[-1]
            await local.unpublish_track(publication.sid)
            removed.append(sender)
            assert sender in connection.peers._leaving
        publication = await local.publish_track(tone.track)
        assert not connection.peers._leaving
        assert any(not seen & {*removed, local._tracks.get(publication.sid).sender} for seen in offers)
        await until(lambda: list(theirs) == [publication.sid])


async def test_a_data_track_is_received_as_long_as_somebody_holds_a_stream_of_it(studio: Studio):
    ada, bob = await studio.pair()
    seen: list[rtc.RemoteDataTrack] = []
    bob.on("data_track_published", seen.append)
    mine = await ada.local_participant.publish_data_track(name="d")
    await until(lambda: seen)
    asked: list[bool] = []
    ask = bob._data_tracks.subscribe
    bob._data_tracks.subscribe = lambda sid, wanted: (asked.append(wanted), ask(sid, wanted))

    async def one_frame() -> bytes:
        async for frame in seen[0].subscribe():
            return frame.payload
        raise AssertionError("the stream ended")

    for _ in range(2):
        reading = asyncio.ensure_future(one_frame())
        while not reading.done():
            mine.try_push(rtc.DataTrackFrame(b"x"))
            await asyncio.wait([reading], timeout=0.02)
        assert reading.result() == b"x"
        del reading
        gc.collect()
    assert asked == [True, False, True, False]
    one, other = seen[0].subscribe(), seen[0].subscribe()
    one.close()
    one.close()
    assert asked[4:] == [True]
    await other.aclose()
    assert asked[4:] == [True, False]


async def test_an_interceptor_that_returns_something_else_than_text_fails_the_call_at_once(studio: Studio):
    class Broken(rtc.RpcInterceptor):
        async def intercept_incoming(self, invocation, next):
            return 5

    ada, bob = await studio.pair()
    bob.local_participant.register_rpc_method("m", lambda invocation: "fine")
    bob.local_participant.add_rpc_interceptor(Broken())
    with pytest.raises(rtc.RpcError, match="must return str or None, not int"):
        async with asyncio.timeout(5):
            await ada.local_participant.perform_rpc(destination_identity="bob", method="m", payload="")

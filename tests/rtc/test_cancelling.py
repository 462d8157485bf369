"""Every public coroutine can be cancelled at every turn of the loop, and the room goes on or ends as if nothing was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from greenroom import rtc

from .conftest import Studio, Tone

pytestmark = pytest.mark.loopback

Action = Callable[[rtc.Room, Tone], Awaitable[object]]


async def _stream(room: rtc.Room, tone: Tone) -> None:
    async with await room.local_participant.stream_text(topic="t") as writer:
        await writer.write("x" * 50_000)


async def _publish_and_take_down(room: rtc.Room, tone: Tone) -> None:
    track = rtc.LocalAudioTrack.create_audio_track("again", tone.source)
    publication = await room.local_participant.publish_track(track)
    await room.local_participant.unpublish_track(publication.sid)


ACTIONS: dict[str, Action] = {
    "publish_track": _publish_and_take_down,
    "publish_data": lambda room, tone: room.local_participant.publish_data(b"x" * 50_000),
    "send_text": lambda room, tone: room.local_participant.send_text("é" * 100_000, topic="t"),
    "stream_text": _stream,
    "perform_rpc": lambda room, tone: room.local_participant.perform_rpc(
        destination_identity="bob", method="echo", payload="x"
    ),
    "set_attributes": lambda room, tone: room.local_participant.set_attributes({"a": "b"}),
    "publish_data_track": lambda room, tone: room.local_participant.publish_data_track(name="d"),
    "wait_for_playout": lambda room, tone: tone.source.wait_for_playout(),
    "wait_for": lambda room, tone: room.wait_for("reconnected"),
    "get_rtc_stats": lambda room, tone: room.get_rtc_stats(),
    "disconnect": lambda room, tone: room.disconnect(),
}


@pytest.mark.parametrize("name", ACTIONS)
async def test_cancelling_leaves_a_working_room_and_nothing_behind(studio: Studio, name: str):
    before = asyncio.all_tasks()
    ada, bob = await studio.pair()
    bob.local_participant.register_rpc_method("echo", lambda invocation: invocation.payload)
    async with Tone() as tone:
        for turns in (0, 1, 2, 3, 5, 8, 13, 21):
            action = asyncio.ensure_future(ACTIONS[name](ada, tone))
            for _ in range(turns):
                await asyncio.sleep(0)
            action.cancel()
            await asyncio.wait([action])
        if name == "disconnect":
            await ada.disconnect()
            assert not ada.isconnected()
        else:
            async with asyncio.timeout(20):
                answer = await ada.local_participant.perform_rpc(
                    destination_identity="bob", method="echo", payload="still here"
                )
                assert answer == "still here"
                if name == "publish_track":
                    await _publish_and_take_down(ada, tone)
        async with asyncio.timeout(10):
            await asyncio.gather(ada.disconnect(), bob.disconnect())
    left = {task for task in asyncio.all_tasks() - before if "rtc/" in repr(task) or "runtime/" in repr(task)}
    assert left == set()

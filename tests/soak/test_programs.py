"""Programs as people write them: several loops, threads, forks, exits without a goodbye, cancelling at any moment."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import textwrap
from collections.abc import Awaitable

import pytest

from greenroom import rtc
from greenroom.runtime.bridge import bridge_for_loop
from greenroom.server import Server

from .conftest import COUNTED

pytestmark = pytest.mark.soak

PRELUDE = """
import asyncio, os, sys, threading
from greenroom import rtc
from greenroom.server import Server

async def call(room_name="lobby"):
    async with Server(host="127.0.0.1", port=0) as server:
        async with rtc.Room() as ada, rtc.Room() as bob:
            await ada.connect(server.url, server.token("ada", room_name))
            await bob.connect(server.url, server.token("bob", room_name))
            source = rtc.AudioSource(48000, 1)
            arrived = asyncio.ensure_future(bob.wait_for("track_subscribed", timeout=20))
            await asyncio.sleep(0)
            await ada.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("a", source))
            track = (await arrived)[0]
            frame = rtc.AudioFrame(bytes(960), 48000, 1, 480)
            stream = rtc.AudioStream(track)
            heard = asyncio.ensure_future(anext(stream))
            while not heard.done():
                await source.capture_frame(frame)
            await stream.aclose()
            await source.aclose()
"""


def run(program: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    text = PRELUDE + textwrap.dedent(program)
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "default", "-c", text],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_one_loop_after_another():
    done = run("asyncio.run(call())\nasyncio.run(call())\nprint('twice')")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "twice", "")


def test_threads_each_with_a_loop():
    done = run(
        """
        failures = []
        def work(number):
            try:
                asyncio.run(call(f"room {number}"))
            except BaseException as error:
                failures.append(error)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(failures, threading.active_count())
        """
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[] 1", "")


LEAVINGS = {
    "the loop is stopped": "asyncio.get_running_loop().stop()\n    await asyncio.Event().wait()",
    "the program exits": "sys.exit(0)",
    "the coroutine returns": "return",
}


@pytest.mark.parametrize("how", LEAVINGS.values(), ids=list(LEAVINGS))
def test_a_program_that_ends_with_live_rooms_exits_cleanly(how: str):
    done = run(
        f"""
kept = []
async def main():
    server = Server(host="127.0.0.1", port=0)
    await server.start()
    room = rtc.Room()
    await room.connect(server.url, server.token("ada", "lobby"))
    source = rtc.AudioSource(48000, 1)
    await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("a", source))
    kept.extend([server, room, source, rtc.AudioStream(rtc.LocalAudioTrack.create_audio_track("b", source))])
    print("live", flush=True)
    {how}
try:
    asyncio.run(main())
except RuntimeError as error:
    assert "stopped before" in str(error), error
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "live"
    assert "panic" not in done.stderr and "Fatal" not in done.stderr, done.stderr


def test_a_forked_child_is_told_and_the_parent_goes_on():
    done = run(
        """
        async def main():
            async with Server(host="127.0.0.1", port=0) as server, rtc.Room() as room:
                await room.connect(server.url, server.token("ada", "lobby"))
                source = rtc.AudioSource(48000, 1)
                track = rtc.LocalAudioTrack.create_audio_track("a", source)
                await room.local_participant.publish_track(track)
                child = os.fork()
                if child == 0:
                    frame = rtc.AudioFrame(bytes(960), 48000, 1, 480)
                    for use in (lambda: room.local_participant.publish_data("x"), lambda: source.capture_frame(frame)):
                        try:
                            asyncio.run(use())
                        except Exception as error:
                            print(error, flush=True)
                    os._exit(0)
                await asyncio.to_thread(os.waitpid, child, 0)
                await room.local_participant.publish_data("on")
                print("on")
        asyncio.run(main())
        """
    )
    *told, last = done.stdout.strip().splitlines()
    assert len(told) == 2 and all("made before" in each and "fork" in each for each in told), done.stderr
    assert last == "on" and done.returncode == 0


def test_a_loop_that_was_used_before_a_fork_is_refused_in_the_child():
    done = run(
        """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(call())
        if os.fork() == 0:
            try:
                loop.run_until_complete(call())
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.wait()
        loop.run_until_complete(call())
        print("on")
        """
    )
    told, last = done.stdout.strip().splitlines()
    assert told.startswith("EngineClosedError this event loop was used before the process was forked"), done.stderr
    assert last == "on" and done.returncode == 0


def test_a_forked_child_may_begin_anew():
    done = run(
        """
        asyncio.run(call())
        child = os.fork()
        if child == 0:
            asyncio.run(call())
            print("child", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        asyncio.run(call())
        print("parent")
        """
    )
    assert (done.returncode, done.stdout.split()) == (0, ["child", "parent"]), done.stderr


# -- cancelling --------------------------------------------------------------------------------------------------------


async def _whole_call(server: Server, room: rtc.Room, name: str) -> None:
    await room.connect(server.url, server.token("ada", name))
    source = rtc.AudioSource(48_000, 1)
    try:
        await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("a", source))
        for _ in range(10):
            await source.capture_frame(rtc.AudioFrame(bytes(960 * 2), 48_000, 1, 960))
    finally:
        await source.aclose()
    await room.disconnect()


@pytest.mark.timeout(120)
async def test_a_call_can_be_cancelled_at_any_moment_of_its_life():
    dice = random.Random(11)
    async with Server(host="127.0.0.1", port=0, departure_timeout=0.1) as server:
        whole = await _time_of(_whole_call(server, rtc.Room(), "measure"))

        async def cancelled_once(number: int) -> None:
            room = rtc.Room()
            task = asyncio.create_task(_whole_call(server, room, f"room {number}"))
            await asyncio.wait([task], timeout=dice.random() * whole * 2)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
            async with asyncio.timeout(10):
                await room.disconnect()
            assert not room.isconnected()

        for batch in range(0, 200, 8):
            await asyncio.gather(*(cancelled_once(number) for number in range(batch, batch + 8)))
        async with asyncio.timeout(30):
            while any(server.statistics()[name] for name in COUNTED):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert not any(bridge_for_loop().engine.statistics()[name] for name in COUNTED)


async def _time_of(call: Awaitable[None]) -> float:
    clock = asyncio.get_running_loop().time
    began = clock()
    await call
    return clock() - began

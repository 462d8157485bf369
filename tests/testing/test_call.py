"""Agents under test: what they do is heard and seen, and what goes wrong in them fails the test."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import agents, rtc, testing
from greenroom.errors import ConfigError

pytestmark = pytest.mark.loopback
pytest_plugins = ["pytester"]


async def echo(job: agents.JobContext) -> None:
    """Sends back what it hears."""
    source = rtc.AudioSource(48_000, 1)

    async def repeat(track: rtc.Track) -> None:
        async for event in rtc.AudioStream(track):
            await source.capture_frame(event.frame)

    tasks: set[asyncio.Task[None]] = set()

    @job.room.on("track_subscribed")
    def on_track(track: rtc.Track, *_: object) -> None:
        tasks.add(asyncio.create_task(repeat(track)))

    await job.connect()
    await job.room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("echo", source))


async def painter(job: agents.JobContext) -> None:
    """Shows the colour that it is told."""
    await job.connect()
    source = rtc.VideoSource(320, 240)
    await job.room.local_participant.publish_track(rtc.LocalVideoTrack.create_video_track("canvas", source))

    @job.room.on("data_received")
    def paint(packet: rtc.DataPacket) -> None:
        shown = testing.colour(packet.data.decode())
        pixels = bytes((shown.red, shown.green, shown.blue, 255)) * (320 * 240)
        source.capture_frame(rtc.VideoFrame(320, 240, rtc.VideoBufferType.RGBA, pixels))


async def test_an_echo_is_heard():
    async with testing.room(echo) as call:
        await call.speak(testing.tone(440))
        await call.hears(testing.tone(440), of=call.agent)
        await call.hush()
        await call.hears(testing.silence(), of=call.agent)
        assert call.room.remote_participants[call.agent].kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


async def test_a_painter_is_seen_by_everybody():
    async with testing.room(painter) as call:
        other = await call.join("other")
        await call.happens("track_subscribed", about=call.agent)
        await call.send("blue")
        await call.sees(testing.colour("blue"), of=call.agent)
        await other.sees(testing.colour("blue"), of=call.agent)


async def test_an_echo_over_a_bad_network():
    async with testing.room(echo, link=testing.Link(loss=0.05, delay=0.02, jitter=0.01)) as call:
        await call.speak(testing.tone(440))
        await call.hears(testing.tone(440), of=call.agent, within=20)


async def test_a_worker_with_a_request_function():
    async def accept(request: agents.JobRequest) -> None:
        await request.accept(painter, identity="picasso")

    async with testing.room(agents.WorkerOptions(request_fnc=accept, agent_name="painter")) as call:
        assert call.agent == "picasso"


async def test_what_an_entrypoint_raises_fails_the_test():
    async def broken(job: agents.JobContext) -> None:
        await job.connect()
        raise ValueError("no model")

    with pytest.raises(AssertionError, match=r"the agent failed:(?s:.*)no model"):
        async with testing.room(broken) as call:
            await call.happens("participant_disconnected")


async def test_an_agent_that_never_joins_is_told():
    async def reject(request: agents.JobRequest) -> None:
        await request.reject()

    with pytest.raises(AssertionError, match="did its request function reject the job"):
        async with testing.room(agents.WorkerOptions(request_fnc=reject), within=0.5):
            pass


async def test_what_is_no_agent_is_refused():
    with pytest.raises(ConfigError, match="not int"):
        async with testing.room(5):
            pass


def test_the_fixtures_are_there_for_every_project(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        from greenroom import testing

        async def greeter(job):
            await job.connect()

        async def test_people(greenroom_server):
            ada, bob = await greenroom_server.join("ada"), await greenroom_server.join("bob")
            await ada.send("hi")
            await bob.receives("hi")

        async def test_agent(greenroom_call):
            call = await greenroom_call(greeter)
            assert call.agent
        """
    )
    done = pytester.runpytest_subprocess("-o", "asyncio_mode=auto")
    done.assert_outcomes(passed=2)

"""Media from a client's source through a room to another client's sink, judged by content."""

import asyncio

import numpy as np
import pytest

from greenroom import _engine as native

pytestmark = pytest.mark.loopback

RATE = 48_000


def tone(frequency: float, start: int, samples: int, amplitude: int = 8000) -> bytes:
    time = (start + np.arange(samples)) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.int16).tobytes()


def peak_frequency(pcm: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * RATE / len(pcm))


async def publish_audio(client, source):
    sender = client.link.handle()
    client.link.engine.add_sender(
        client.peer,
        sender,
        source,
        cid="cid-audio",
        stream_id="-",
        codec="opus",
        bitrate=0,
        fps=0,
        layers=[],
        dtx=False,
        red=True,
    )
    answer, _ = await client.negotiate()
    section = next(section for section in answer.sections if section.receiving and section.kind == "audio")
    assert section.track_id == "cid-audio"
    track = client.call.server.handle()
    client.call.server.engine.add_track(
        client.call.room, track, client.far, section.mid, kind="audio", layers=[], detect_speaker=True
    )
    return track


async def publish_video(client, source):
    sender = client.link.handle()
    client.link.engine.add_sender(
        client.peer,
        sender,
        source,
        cid="cid-video",
        stream_id="-",
        codec="vp8",
        bitrate=1_000_000,
        fps=30,
        layers=[],
        dtx=False,
        red=False,
    )
    answer, _ = await client.negotiate()
    section = next(section for section in answer.sections if section.track_id == "cid-video")
    track = client.call.server.handle()
    client.call.server.engine.add_track(
        client.call.room, track, client.far, section.mid, kind="video", layers=[], detect_speaker=False
    )
    return track


async def subscribe(client, track):
    server = client.call.server
    server.engine.subscribe(track, client.far, stream_id="PA_x|TR_y", track_id="TR_y", cname="PA_x")
    needed = await server.next(client.far, native.SectionsNeeded)
    _, negotiated = await client.negotiate(audio=needed.audio, video=needed.video)
    await server.next(client.far, native.SubscriptionBound)
    section = next(section for section in negotiated.sections if section.stream_id == "PA_x|TR_y")
    return section.mid


async def test_a_tone_arrives_as_the_same_tone(call):
    alice, bob = await call.join(), await call.join()
    source_handle = alice.link.handle()
    source = native.AudioSource(alice.link.engine, source_handle, RATE, 1, 0.05)
    track = await publish_audio(alice, source)
    mid = await subscribe(bob, track)
    sink_handle = bob.link.handle()
    sink = native.AudioSink(
        bob.link.engine, sink_handle, sample_rate=RATE, num_channels=1, frame_samples=480, capacity=0
    )
    sink.attach_receiver(bob.peer, mid)

    async def speak():
        for index in range(10**6):
            if not source.capture(index + 1, tone(440, index * 480, 480), 480):
                await alice.link.next(source_handle, native.Captured)

    speaking = asyncio.create_task(speak())
    heard = bytearray()
    while len(heard) < 2 * RATE * 2:
        frame = sink.read()
        if frame is None:
            await bob.link.next(sink_handle, native.Readable)
        else:
            heard += frame
    speaking.cancel()
    pcm = np.frombuffer(bytes(heard), dtype=np.int16)[-RATE:]
    assert abs(peak_frequency(pcm) - 440) <= 2
    assert 4500 <= np.sqrt(np.mean(pcm.astype(float) ** 2)) <= 6500


async def test_a_colour_arrives_as_the_same_colour(call):
    alice, bob = await call.join(), await call.join()
    source = native.VideoSource(alice.link.engine, alice.link.handle(), 640, 480, False)
    mid = await subscribe(bob, await publish_video(alice, source))
    sink_handle = bob.link.handle()
    sink = native.VideoSink(bob.link.engine, sink_handle, format=0, capacity=0)
    sink.attach_receiver(bob.peer, mid)
    red = bytes([255, 0, 0, 255]) * (640 * 480)

    async def show():
        while True:
            source.capture(0, 640, 480, red, 0, 0)
            await asyncio.sleep(1 / 30)

    showing = asyncio.create_task(show())
    while (frame := sink.read()) is None:
        await bob.link.next(sink_handle, native.Readable)
    showing.cancel()
    format_, width, height, data, _, _ = frame
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(height, width, 4)
    assert (format_, width, height) == (0, 640, 480)
    assert np.abs(pixels[240, 320].astype(int) - [255, 0, 0, 255]).max() <= 6


async def test_a_client_that_udp_does_not_reach_connects_over_tcp(call):
    alice = await call.join(udp=False)
    alice.link.engine.send_data([alice.peer], "_reliable", b"over tcp")
    arrived = await call.server.next(alice.far, native.Data)
    assert arrived.payload == b"over tcp"
    large = bytes(range(256)) * 200
    call.server.engine.send_data([alice.far], "_reliable", large)
    assert (await alice.link.next(alice.peer, native.Data)).payload == large


async def test_two_connections_of_one_engine_each_have_their_own_over_tcp(call):
    alice = await call.join(udp=False)
    bob = await call.join(udp=False, link=alice.link)
    for client in (alice, bob):
        client.link.engine.send_data([client.peer], "_reliable", b"from here")
        assert (await call.server.next(client.far, native.Data)).payload == b"from here"


async def test_whoever_sees_nothing_asks_for_a_key_frame_again(call):
    alice, bob = await call.join(), await call.join()
    source = native.VideoSource(alice.link.engine, alice.link.handle(), 640, 480, False)
    mid = await subscribe(bob, await publish_video(alice, source))
    sink = native.VideoSink(bob.link.engine, bob.link.handle(), format=0, capacity=0)
    sink.attach_receiver(bob.peer, mid)
    async with asyncio.timeout(10):
        while bob.link.engine.receiver_statistics(bob.peer, mid).get("keyframe_requests", 0) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

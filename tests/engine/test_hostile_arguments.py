"""Absurd arguments to every method of the native classes: a clear error or nothing, never an abort or a dead engine."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom import _engine as native

pytestmark = pytest.mark.loopback

#: What a method may say to absurd arguments. Anything else (a panic, SystemError, MemoryError) is a defect.
REFUSALS = (TypeError, ValueError, OverflowError, BufferError, OSError, native.EngineClosedError)
EDGES = [
    0,
    1,
    2,
    3,
    7,
    255,
    256,
    65_535,
    65_536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
]
INTEGERS = st.sampled_from([*EDGES, *(-edge for edge in EDGES)]) | st.integers(-8, 50_000)
SMALL = st.integers(0, 8)
FLOATS = st.sampled_from(
    [0.0, -0.0, 0.01, 0.05, 1.0, 600.0, 600.1, 1e300, -1.0, float("nan"), float("inf"), -float("inf")]
)
TEXTS = st.sampled_from(
    ["", "a", "audio", "video", "opus", "vp8", "h264", "127.0.0.1", "::1", "0", "\0", "a\r\na=x:y\r\n"]
)
TEXTS |= st.text(max_size=20)
BYTES = st.binary(max_size=64) | st.sampled_from([bytes(960), bytes(1920), bytes(6), bytes(100_000)])
FLAGS = st.booleans()
RATES = INTEGERS | st.sampled_from([8000, 16_000, 44_100, 48_000])
KEYRING = native.Keyring(salt=b"salt", ratchet_window=4, failure_tolerance=4, ring_size=16, hkdf=True)
KEYS = st.sampled_from([None, KEYRING])


@pytest.fixture(scope="module")
def engine() -> Iterator[native.Engine]:
    engine = native.Engine("hostile")
    yield engine
    engine.close()


def attempt(method: Callable[..., object], *args: object, **kwargs: object) -> object:
    try:
        return method(*args, **kwargs)
    except REFUSALS as error:
        assert str(error), f"{method} refused without a word"
        return None


def audio_sink(
    engine: native.Engine, sample_rate: int, num_channels: int, frame_samples: int, capacity: int
) -> native.AudioSink:
    return native.AudioSink(
        engine,
        native.new_handle(),
        sample_rate=sample_rate,
        num_channels=num_channels,
        frame_samples=frame_samples,
        capacity=capacity,
    )


def assert_alive(engine: native.Engine) -> None:
    """The engine's thread still answers, and no command has made it fail."""
    assert engine.peer_statistics(native.new_handle()) == {}
    failures = [event for event in engine.drain() if event[0] == "engine_failed"]
    assert not failures, failures


_fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

#: Arguments of each command; handles come from a few, so that commands meet the things that others made.
COMMANDS: dict[str, tuple[list[st.SearchStrategy[object]], dict[str, st.SearchStrategy[object]]]] = {
    "open_room": ([SMALL | INTEGERS], {}),
    "close_room": ([SMALL | INTEGERS], {}),
    "open_server_peer": ([SMALL | INTEGERS, SMALL | INTEGERS], {"offers": FLAGS}),
    "open_client_peer": ([SMALL | INTEGERS], {"local_addresses": st.lists(TEXTS, max_size=2), "data_channels": FLAGS}),
    "add_track": (
        [SMALL | INTEGERS, SMALL | INTEGERS, SMALL, TEXTS],
        {
            "kind": TEXTS,
            "layers": st.lists(st.tuples(TEXTS, INTEGERS, INTEGERS, INTEGERS), max_size=5),
            "detect_speaker": FLAGS,
            "priority": INTEGERS,
            "encrypted": FLAGS,
        },
    ),
    "prefer": ([SMALL, TEXTS], {"codecs": st.lists(TEXTS, max_size=3), "stereo": FLAGS, "dtx": FLAGS}),
    "forget_preference": ([SMALL, TEXTS], {}),
    "remove_track": ([SMALL | INTEGERS], {}),
    "mute_track": ([SMALL | INTEGERS, FLAGS], {}),
    "subscribe": ([SMALL, SMALL], {"stream_id": TEXTS, "track_id": TEXTS, "cname": TEXTS}),
    "unsubscribe": ([SMALL, SMALL], {}),
    "set_subscription": ([SMALL, SMALL], {"paused": FLAGS, "quality": INTEGERS, "fps": INTEGERS}),
    "close_peer": ([SMALL | INTEGERS], {}),
    "accept_offer": ([SMALL, INTEGERS, TEXTS], {}),
    "create_offer": ([SMALL], {"audio": INTEGERS, "video": INTEGERS, "ice_restart": FLAGS}),
    "accept_answer": ([SMALL, INTEGERS, TEXTS], {}),
    "add_candidate": ([SMALL, TEXTS], {}),
    "send_data": ([st.lists(SMALL | INTEGERS, max_size=3), TEXTS, BYTES], {"request": INTEGERS}),
    "encrypt_sender": ([SMALL | INTEGERS, KEYS, TEXTS, INTEGERS], {}),
    "decrypt_receiver": ([SMALL, TEXTS, KEYS, TEXTS], {"trailer": BYTES, "enabled": FLAGS}),
    "leave_receiver_clear": ([SMALL, TEXTS], {}),
    "remove_sender": ([SMALL | INTEGERS], {}),
    "mute_sender": ([SMALL | INTEGERS, FLAGS], {}),
    "set_sender_layers": ([SMALL, st.lists(FLAGS, max_size=5)], {}),
    "sender_statistics": ([SMALL | INTEGERS], {}),
    "receiver_statistics": ([SMALL, TEXTS], {}),
    "peer_statistics": ([SMALL | INTEGERS], {}),
}


def calls() -> st.SearchStrategy[tuple[str, tuple[object, ...], dict[str, object]]]:
    def call(name: str) -> st.SearchStrategy[tuple[str, tuple[object, ...], dict[str, object]]]:
        args, kwargs = COMMANDS[name]
        return st.tuples(st.just(name), st.tuples(*args), st.fixed_dictionaries(kwargs))

    return st.sampled_from(sorted(COMMANDS)).flatmap(call)


def test_every_command_is_in_the_table() -> None:
    public = {name for name in dir(native.Engine) if not name.startswith("_")}
    assert public - {"fileno", "drain", "close", "statistics", "listen", "add_sender"} == set(COMMANDS)


@_fuzz
@given(st.lists(calls(), min_size=1, max_size=30))
def test_commands_in_any_order_with_any_arguments(
    engine: native.Engine, calls: list[tuple[str, tuple[object, ...], dict[str, object]]]
) -> None:
    for name, args, kwargs in calls:
        attempt(getattr(engine, name), *args, **kwargs)
    assert_alive(engine)


@_fuzz
@given(TEXTS, INTEGERS, INTEGERS, st.lists(TEXTS, max_size=2))
def test_listen(host: str, udp_port: int, tcp_port: int, advertise: list[str]) -> None:
    engine = native.Engine("listening")
    try:
        attempt(engine.listen, host, udp_port, tcp_port, advertise)
        assert_alive(engine)
    finally:
        engine.close()


@_fuzz
@given(st.data())
def test_senders(engine: native.Engine, data: st.DataObject) -> None:
    peer, sender = native.new_handle(), native.new_handle()
    engine.open_client_peer(peer, local_addresses=["127.0.0.1"], data_channels=False)
    audio = native.AudioSource(engine, native.new_handle(), 48_000, 1, 1.0)
    video = native.VideoSource(engine, native.new_handle(), 64, 64, False)
    layer = st.tuples(TEXTS, INTEGERS, INTEGERS, INTEGERS, INTEGERS)
    source = data.draw(st.sampled_from([audio, video]))
    attempt(
        engine.add_sender,
        data.draw(st.just(peer) | INTEGERS),
        data.draw(st.just(sender) | INTEGERS),
        source,
        cid=data.draw(TEXTS),
        stream_id=data.draw(TEXTS),
        codec=data.draw(st.sampled_from(["opus", "vp8", "h264"]) | TEXTS),
        bitrate=data.draw(INTEGERS),
        fps=data.draw(INTEGERS),
        layers=data.draw(st.lists(layer, max_size=4)),
        dtx=data.draw(FLAGS),
        red=data.draw(FLAGS),
    )
    engine.create_offer(peer)
    audio.capture(1, bytes(1920), 960)
    for side in (64, 2, 66):
        video.capture(5, side, side, bytes(side * side * 3 // 2), 0, 0)
    assert_alive(engine)
    engine.close_peer(peer)


@_fuzz
@given(BYTES, INTEGERS, st.none() | INTEGERS, INTEGERS, st.none() | TEXTS, INTEGERS, BYTES)
def test_keyrings(
    salt: bytes, window: int, tolerance: int | None, size: int, identity: str | None, index: int, data: bytes
) -> None:
    def ring(*sizes: object) -> native.Keyring:
        window, tolerance, size = sizes
        return native.Keyring(salt=salt, ratchet_window=window, failure_tolerance=tolerance, ring_size=size, hkdf=True)

    for keys in (attempt(ring, window, tolerance, size), ring(4, 4, 16)):
        if keys is None:
            continue
        attempt(keys.set, identity, index, data)
        attempt(keys.export, identity, index)
        attempt(keys.ratchet, identity, index)
        sealed = attempt(keys.seal, identity or "", index, data)
        attempt(keys.open, identity or "", index, data, data)
        if sealed is not None:
            assert keys.open(identity or "", index, *sealed) == data


@_fuzz
@given(RATES, INTEGERS, FLOATS, st.lists(st.tuples(INTEGERS, BYTES, INTEGERS), max_size=8))
def test_audio_sources(
    engine: native.Engine, rate: int, channels: int, queue: float, captures: list[tuple[int, bytes, int]]
) -> None:
    for handle, arguments in ((native.new_handle(), (rate, channels, queue)), (native.new_handle(), (48_000, 1, 0.05))):
        source = attempt(native.AudioSource, engine, handle, *arguments)
        if source is None:
            continue
        for request, data, samples in captures:
            attempt(source.capture, request, data, samples)
            attempt(source.notify_drained, request)
            attempt(source.cancel, request)
            assert source.queued >= 0
        source.clear()
        source.close()
        source.close()
        attempt(source.capture, 1, bytes(960), 480)
    assert_alive(engine)


@_fuzz
@given(RATES, INTEGERS, INTEGERS, INTEGERS, TEXTS, INTEGERS)
def test_audio_sinks(
    engine: native.Engine, rate: int, channels: int, frame_samples: int, capacity: int, mid: str, peer: int
) -> None:
    source = native.AudioSource(engine, native.new_handle(), 48_000, 2, 60.0)
    options = [(rate, channels, frame_samples, capacity), (48_000, 1, frame_samples, capacity), (8000, 2, 80, capacity)]
    for option in options:
        sink = attempt(audio_sink, engine, *option)
        if sink is None:
            continue
        sink.attach_source(source)
        source.capture(1, bytes(192_000), 48_000)
        sink.read()
        assert sink.dropped >= 0
        attempt(sink.attach_receiver, peer, mid)
        sink.close()
        sink.close()
        attempt(sink.attach_source, source)
        sink.read()
    assert_alive(engine)
    source.close()


@_fuzz
@given(st.tuples(*[INTEGERS] * 3), BYTES, INTEGERS, INTEGERS, INTEGERS, TEXTS)
def test_video_sources_and_sinks(
    engine: native.Engine, frame: tuple[int, int, int], data: bytes, time: int, rotation: int, capacity: int, mid: str
) -> None:
    source = attempt(native.VideoSource, engine, native.new_handle(), frame[1], frame[2], True)
    source = source or native.VideoSource(engine, native.new_handle(), 64, 64, True)
    sinks = [
        attempt(lambda value: native.VideoSink(engine, native.new_handle(), format=value, capacity=capacity), value)
        for value in (frame[0], -1, 5)
    ]
    for sink in filter(None, sinks):
        sink.attach_source(source)
        attempt(sink.attach_receiver, rotation, mid)
    attempt(source.capture, *frame, data, time, rotation)
    attempt(source.capture, 5, 2, 2, bytes(6), time, 90)
    for sink in filter(None, sinks):
        sink.read()
        assert sink.dropped >= 0
        sink.close()
        sink.close()
    source.close()
    source.close()
    attempt(source.capture, 5, 2, 2, bytes(6), time, 0)
    assert_alive(engine)


def test_a_closed_engine_refuses_every_command_and_lets_every_object_be_closed() -> None:
    engine = native.Engine("closing")
    audio = native.AudioSource(engine, native.new_handle(), 48_000, 1, 0.1)
    video = native.VideoSource(engine, native.new_handle(), 64, 64, False)
    ear = audio_sink(engine, 48_000, 1, 480, 0)
    eye = native.VideoSink(engine, native.new_handle(), format=-1, capacity=0)
    engine.close()
    engine.close()
    samples: dict[str, tuple[object, ...]] = {
        "open_room": (1,),
        "close_room": (1,),
        "remove_track": (1,),
        "close_peer": (1,),
        "create_offer": (1,),
        "accept_offer": (1, 1, ""),
        "add_candidate": (1, ""),
        "send_data": ([1], "_reliable", b""),
        "peer_statistics": (1,),
    }
    for name, args in samples.items():
        with pytest.raises(native.EngineClosedError, match=r"\w"):
            getattr(engine, name)(*args)
    with pytest.raises(native.EngineClosedError):
        native.AudioSource(engine, native.new_handle(), 48_000, 1, 0.1)
    with pytest.raises(native.EngineClosedError):
        engine.listen("127.0.0.1", 0, 0, [])
    attempt(audio.capture, 1, bytes(960), 480)
    attempt(video.capture, 5, 2, 2, bytes(6), 0, 0)
    attempt(ear.attach_source, audio)
    attempt(eye.attach_source, video)
    ear.read(), eye.read(), engine.drain()
    for thing in (audio, video, ear, eye):
        thing.close()


def test_objects_of_one_engine_given_to_another() -> None:
    first, second = native.Engine("first"), native.Engine("second")
    try:
        source = native.AudioSource(first, native.new_handle(), 48_000, 1, 0.1)
        sink = audio_sink(second, 48_000, 1, 480, 0)
        sink.attach_source(source)
        video = native.VideoSource(first, native.new_handle(), 64, 64, False)
        eye = native.VideoSink(second, native.new_handle(), format=-1, capacity=0)
        eye.attach_source(video)
        assert_alive(first)
        assert second.peer_statistics(1) == {}
        # The other engine has no such source, so the sink ends at once instead of waiting for ever.
        assert {event[0] for event in second.drain()} == {"ended"}
    finally:
        first.close()
        second.close()


def test_the_same_handle_twice() -> None:
    engine = native.Engine("twice")
    try:
        for _ in range(2):
            engine.open_room(1)
            engine.open_server_peer(1, 2, offers=False)
            engine.open_client_peer(3, local_addresses=["127.0.0.1"], data_channels=True)
        sources = [native.AudioSource(engine, 4, 48_000, 1, 0.1) for _ in range(2)]
        assert_alive(engine)
        counted = engine.statistics()
        assert (counted["rooms"], counted["peers"]) == (1, 2)
        for source in sources:
            source.close()
        engine.close_room(1)
        engine.close_peer(3)
        assert_alive(engine)
        counted = engine.statistics()
        assert (counted["rooms"], counted["peers"], counted["sources"]) == (0, 0, 0)
    finally:
        engine.close()


def test_many_threads_at_once_while_it_closes() -> None:
    engine = native.Engine("crowded")
    source = native.AudioSource(engine, native.new_handle(), 48_000, 1, 1.0)
    picture = native.VideoSource(engine, native.new_handle(), 64, 64, False)
    wrong: list[BaseException] = []
    begun = threading.Barrier(5)

    def work(part: int) -> None:
        begun.wait()
        try:
            for index in itertools.count():
                match part:
                    case 0:
                        source.capture(index, bytes(960), 480)
                        source.clear()
                    case 1:
                        picture.capture(5, 64, 64, bytes(6144), 0, 0)
                    case 2:
                        engine.drain()
                    case _:
                        engine.open_client_peer(native.new_handle(), local_addresses=[], data_channels=True)
                engine.peer_statistics(index)
        except native.EngineClosedError:
            return
        except BaseException as error:  # a panic is a BaseException
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    for _ in range(200):
        engine.statistics()
        engine.peer_statistics(0)
    engine.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_the_child_is_told_and_the_parent_goes_on() -> None:
    engine = native.Engine("forked")
    source = native.AudioSource(engine, native.new_handle(), 48_000, 1, 0.1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            try:
                engine.peer_statistics(1)
            except native.EngineClosedError as error:
                status = 0 if str(error) else 2
            source.close()
            engine.close()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    source.capture(1, bytes(960), 480)
    assert_alive(engine)
    engine.close()

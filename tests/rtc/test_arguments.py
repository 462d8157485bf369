"""Every public method of the client, with every argument wrong in turn: one of our errors that names the argument."""

from __future__ import annotations

import inspect
from enum import Enum

import pytest

from greenroom import rtc
from greenroom.errors import ArgumentError, ConfigError, FrameError, GreenroomError
from greenroom.rtc import options

from .conftest import Picture, Studio, Tone, until

pytestmark = pytest.mark.loopback

FRAME = rtc.AudioFrame.create(48000, 1, 480)
PICTURE = rtc.VideoFrame(2, 2, rtc.VideoBufferType.RGBA, bytes(16))

#: Programs do not make these, or they are records that are judged where they are used.
NOT_CALLED = (
    *("Track", "Publication", "Participant", "Reader", "Manager", "FrameCryptor", "DataTrack", "DataTrackStream"),
    *("Info", "Data", "Event", "Packet", "Stats", "DTMF", "Permission", "Transcription", "Segment", "Options"),
    *("Writer", "RpcInterceptor", "RtcConfiguration", "DataTrackFrame"),
)
#: Kept for compatibility and not looked at, or the program's own affair.
NOT_JUDGED = {"loop", "emit", "off", "remove_rpc_interceptor", "unregister_rpc_method"}
NOT_JUDGED |= {"unregister_text_stream_handler", "unregister_byte_stream_handler", "next", "remove_stream", "get_plane"}
NOT_JUDGED |= {"userdata", "flip_y"}
#: Told of by a warning.
WARNED_OF = {"Room.on.event", "Room.once.event"}
#: Named by another word in the complaint.
CALLED = {"url": "server URL", "format": "video buffer type", "type": "video buffer type", "out": "data"}
#: Said by numpy, or of the array's shape and dtype.
CALLED |= {"array": "array", "dtype": "dtype", "num_channels": "channels"}

#: What would be right, by the argument's name; "Class.method.argument" goes before it.
RIGHT: dict[str, object] = {
    "url": "ws://localhost:7880",
    "token": "token",
    "options": None,
    "event": "connected",
    "predicate": None,
    "callback": print,
    "handler": print,
    "topic": "topic",
    "scenario": 1,
    "payload": "text",
    "destination_identities": ["bob"],
    "name": "name",
    "data": b"data",
    "text": "text",
    "method": "method",
    "method_name": "method",
    "destination_identity": "bob",
    "metadata": "text",
    "attributes": {"a": "b"},
    "code": 1,
    "digit": "1",
    "track_sid": "TR_1",
    "allow_all_participants": True,
    "file_path": __file__,
    "sample_rate": 48000,
    "num_channels": 1,
    "queue_size_ms": 50,
    "width": 2,
    "height": 2,
    "participant_identity": "bob",
    "key": b"key",
    "key_index": 0,
    "enabled": True,
    "subscribed": True,
    "quality": 1,
    "fps": 10,
    "track_source": 1,
    "interceptor": rtc.RpcInterceptor(),
    "VideoFrame.__init__.data": bytes(16),
    "VideoFrame.__init__.type": 0,
    "type": 0,
    "AudioFrame.__init__.data": bytes(960),
    "samples_per_channel": 480,
}


class Wrong:
    """Nothing takes this."""

    def __repr__(self) -> str:
        return "<wrong>"


def methods(thing: object, name: str):
    """The methods with arguments that a class of the client has, and its constructor."""
    for member in ("__init__", *(each for each in dir(thing) if not each.startswith("_"))):
        static = inspect.getattr_static(thing, member)
        function = static.__func__ if isinstance(static, staticmethod | classmethod) else static
        if not inspect.isfunction(function) or not function.__module__.startswith("greenroom."):
            continue
        parameters = list(inspect.signature(function).parameters.values())
        parameters = parameters if isinstance(static, staticmethod) else parameters[1:]
        parameters = [
            each for each in parameters if each.kind is not each.VAR_POSITIONAL and each.name not in NOT_JUDGED
        ]
        if parameters and member not in NOT_JUDGED and name not in NOT_JUDGED:
            yield member, parameters


def right(path: str, parameter: inspect.Parameter, own: dict[str, object]) -> object:
    for key in (f"{path}.{parameter.name}", parameter.name):
        for table in (own, RIGHT):
            if key in table:
                return table[key]
    return parameter.default


async def complaint(call, arguments: dict[str, object]) -> BaseException | None:
    try:
        result = call(**arguments)
        if inspect.isawaitable(result):
            await result
    except BaseException as error:
        return error
    return None


async def judge(subject: object, name: str, own: dict[str, object], *, constructor: bool) -> list[str]:
    """What is wrong with the complaints about wrong arguments."""
    faults = []
    kind = subject if inspect.isclass(subject) else type(subject)
    for member, parameters in methods(kind, name):
        if (member == "__init__") is not constructor and not isinstance(
            inspect.getattr_static(kind, member), staticmethod | classmethod
        ):
            continue
        call = subject if member == "__init__" else getattr(subject, member)
        path = f"{name}.{member}"
        for wrong in parameters:
            arguments = {each.name: right(path, each, own) for each in parameters}
            arguments = {key: value for key, value in arguments.items() if value is not inspect.Parameter.empty}
            error = await complaint(call, arguments | {wrong.name: Wrong()})
            if f"{path}.{wrong.name}" in WARNED_OF:
                continue
            words = str(error)
            named = CALLED.get(wrong.name, wrong.name) in words
            if not isinstance(error, GreenroomError) or not named:
                faults.append(f"{path}({wrong.name}=<wrong>): {error!r}")
    return faults


def classes() -> dict[str, type]:
    found = {name: getattr(rtc, name) for name in rtc.__all__ if inspect.isclass(getattr(rtc, name))}
    return {name: each for name, each in found.items() if not issubclass(each, Enum | Exception)}


async def test_constructors_and_factories(studio: Studio):
    tone, picture = Tone(), Picture()
    own = {
        "track": tone.track,
        "audio_source": tone.source,
        "video_source": picture.source,
        "video_fps": 10,
        "VideoStream.__init__.track": picture.track,
        "VideoStream.from_track.track": picture.track,
        "participant": (await studio.join("ada")).local_participant,
        "LocalAudioTrack.create_audio_track.source": tone.source,
        "LocalVideoTrack.create_video_track.source": picture.source,
        "KeyProvider.__init__.options": rtc.KeyProviderOptions(),
    }
    faults = []
    for name, each in classes().items():
        if not each.__module__.startswith("greenroom.rtc"):
            continue
        if name.endswith(NOT_CALLED):
            for member in ("create_audio_track", "create_video_track"):
                if hasattr(each, member):
                    function = getattr(each, member)
                    for wrong in ("name", "source"):
                        arguments = {"name": "name", "source": own[f"{name}.{member}.source"]} | {wrong: Wrong()}
                        error = await complaint(function, arguments)
                        if not isinstance(error, ArgumentError) or wrong not in str(error):
                            faults.append(f"{name}.{member}({wrong}=<wrong>): {error!r}")
            continue
        faults += await judge(each, name, own, constructor=True)
    assert not faults, "\n".join(faults)


async def test_methods_of_everything_in_a_room(studio: Studio):
    ada, bob = await studio.pair(encryption=rtc.E2EEOptions(rtc.KeyProviderOptions(shared_key=b"key")))
    tone, picture = Tone(), Picture()
    data_frame = rtc.DataTrackFrame(b"x")
    await ada.local_participant.publish_track(tone.track)
    await until(lambda: bob.remote_participants["ada"].track_publications)
    (publication,) = bob.remote_participants["ada"].track_publications.values()
    await until(lambda: publication.track is not None)
    own = {
        "AVSynchronizer.push.frame": FRAME,
        "AudioSource.capture_frame.frame": FRAME,
        "VideoSource.capture_frame.frame": PICTURE,
        "LocalParticipant.publish_track.track": picture.track,
        "transcription": rtc.Transcription("ada", "TR_1", []),
        "frame": data_frame,
        "VideoSource.capture_frame.metadata": None,
    }
    writer = await ada.local_participant.stream_text()
    subjects = [
        rtc.Room(),
        ada.local_participant,
        publication,
        tone.source,
        picture.source,
        rtc.AVSynchronizer(audio_source=tone.source, video_source=picture.source, video_fps=10),
        writer,
        await ada.local_participant.stream_bytes("name"),
        ada.e2ee_manager,
        ada.e2ee_manager.frame_cryptors()[0],
        ada.e2ee_manager.key_provider,
    ]
    faults = []
    for subject in subjects:
        faults += await judge(subject, type(subject).__name__, own, constructor=False)
    assert not faults, "\n".join(faults)


async def test_media():
    import numpy as np

    own = {
        "AudioFrame.from_ndarray.array": np.zeros((480, 1), np.int16),
        "VideoFrame.from_ndarray.array": np.zeros((2, 2, 4), np.uint8),
        "source": "no such file.wav",
        "samples": bytes(960),
        "input_rate": 48000,
        "output_rate": 16000,
        "planes": [(bytes(16), 8)],
        "data": FRAME,
        "VideoFrame.__init__.data": bytes(16),
        "AudioFrame.__init__.data": bytes(960),
        "x": 0,
        "y": 0,
        "delay_ms": 10,
        "quality": "medium",
        "frame": None,
        "image": None,
    }
    subjects = [
        *(getattr(rtc, name) for name in ("AudioFrame", "AudioMixer", "AudioProcessingModule", "AudioResampler")),
        *(rtc.VideoFrame, FRAME, PICTURE, rtc.AudioMixer(48000, 1), rtc.AudioResampler(48000, 16000)),
        rtc.AudioProcessingModule(echo_cancellation=True),
    ]
    faults = []
    for subject in subjects:
        constructor = inspect.isclass(subject)
        name = subject.__name__ if constructor else type(subject).__name__
        faults += await judge(subject, name, own, constructor=constructor)
    assert not faults, "\n".join(faults)


async def test_methods_of_data_tracks(studio: Studio):
    ada, bob = await studio.pair()
    seen: list[rtc.RemoteDataTrack] = []
    bob.on("data_track_published", seen.append)
    mine = await ada.local_participant.publish_data_track(name="d")
    await until(lambda: seen)
    faults = []
    for subject in (mine, seen[0]):
        faults += await judge(subject, type(subject).__name__, {}, constructor=False)
    assert not faults, "\n".join(faults)


def test_fields_of_options():
    faults = []
    for name in ("TrackPublishOptions", "VideoEncoding", "AudioEncoding", "IceServer", "ParticipantTrackPermission"):
        kind = getattr(options, name)
        for field in inspect.signature(kind).parameters:
            with pytest.raises(ArgumentError, match=f"{name}.{field} must be"):
                kind(**{field: Wrong()})
            made = kind()
            with pytest.raises(ArgumentError, match=f"{name}.{field} must be"):
                setattr(made, field, Wrong())
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"auto_subscribe": "no"}, "auto_subscribe must be True or False"),
        ({"connect_timeout": 0}, "connect_timeout in seconds must be above 0"),
        ({"connect_timeout": "15"}, "connect_timeout in seconds must be a number"),
        ({"encryption": b"key"}, "encryption must be an E2EEOptions"),
        ({"rtc_config": {}}, "rtc_config must be an? RtcConfiguration"),
        ({"rtc_config": rtc.RtcConfiguration(ice_servers="stun:host")}, "ice_servers must be a list"),
        ({"rtc_config": rtc.RtcConfiguration(ice_servers=["stun:host"])}, "each of ice_servers must be an IceServer"),
        (
            {"rtc_config": rtc.RtcConfiguration(ice_transport_type=7)},
            "ice_transport_type must be one of TRANSPORT_RELAY",
        ),
        ({"data_stream": rtc.DataStreamOptions(max_unread_byte_length=-1)}, "max_unread_byte_length must be 0 to"),
    ],
)
async def test_options_of_a_room(wrong, words):
    with pytest.raises(ConfigError, match=words):
        await rtc.Room().connect("ws://localhost:7880", "token", rtc.RoomOptions(**wrong))


async def test_values_that_would_have_done_something_else(studio: Studio):
    """What Python would have taken for something: a number for as many zero bytes, a name for its letters."""
    local = (await studio.join("ada")).local_participant
    for call, words in (
        (lambda: local.publish_data(5), "payload must be bytes"),
        (lambda: local.publish_data("x", destination_identities="bob"), "destination_identities must be a list of str"),
        (lambda: local.send_bytes(5), "data must be bytes"),
        (lambda: local.set_metadata(5), "metadata must be a str, not int 5"),
        (lambda: local.set_attributes({"a": 1}), r"attributes\['a'\] must be a str"),
        (lambda: local.publish_dtmf(code=300, digit="x"), "code must be 0 to 255"),
        (
            lambda: local.perform_rpc(destination_identity="b", method="m", payload="", response_timeout=-1),
            "above 0",
        ),
        (lambda: local.publish_data(memoryview(b"abcdef")[::2]), None),
    ):
        if words is None:
            await call()
            continue
        with pytest.raises(ConfigError, match=words):
            await call()


async def test_wrong_frames():
    with pytest.raises(ArgumentError, match="frame must be an AudioFrame, not VideoFrame"):
        await rtc.AudioSource(48000, 1).capture_frame(PICTURE)
    with pytest.raises(ArgumentError, match="frame must be a VideoFrame, not AudioFrame"):
        rtc.VideoSource(2, 2).capture_frame(FRAME)
    with pytest.raises(FrameError, match="VIDEO_ROTATION_90"):
        rtc.VideoSource(2, 2).capture_frame(PICTURE, rotation=45)

"""How a local track is described to the server and handed to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greenroom.errors import ConfigError
from greenroom.rtc.audio_source import AudioSource
from greenroom.rtc.enums import TrackKind, TrackSource, VideoCodec
from greenroom.rtc.options import TrackPublishOptions
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.rtc.track import LocalTrack

__all__ = ["Layer", "Plan", "add_track_request", "negotiated_codec", "plan"]

AUDIO_BITRATE = 48_000
_CODECS = {VideoCodec.VP8: "vp8", VideoCodec.H264: "h264"}
_RIDS = ("q", "h", "f")
_STREAMS = {
    TrackSource.SOURCE_CAMERA: "camera",
    TrackSource.SOURCE_MICROPHONE: "camera",
    TrackSource.SOURCE_SCREENSHARE: "screen",
    TrackSource.SOURCE_SCREENSHARE_AUDIO: "screen",
}

# (longer side, shorter side, bit/s, frames/s), small to large
_WIDE = (
    (160, 90, 90_000, 20),
    (320, 180, 160_000, 20),
    (384, 216, 180_000, 20),
    (640, 360, 450_000, 20),
    (960, 540, 800_000, 25),
    (1280, 720, 1_700_000, 30),
    (1920, 1080, 3_000_000, 30),
    (2560, 1440, 5_000_000, 30),
    (3840, 2160, 8_000_000, 30),
)
_CLASSIC = (
    (160, 120, 70_000, 20),
    (240, 180, 125_000, 20),
    (320, 240, 140_000, 20),
    (480, 360, 225_000, 20),
    (640, 480, 450_000, 25),
    (720, 540, 600_000, 25),
    (960, 720, 1_300_000, 30),
    (1440, 1080, 2_300_000, 30),
    (1920, 1440, 3_800_000, 30),
)
_SCREEN = (
    (640, 360, 200_000, 3),
    (1280, 720, 800_000, 15),
    (1920, 1080, 2_500_000, 15),
    (3840, 2160, 5_000_000, 30),
)


class Layer(NamedTuple):
    """One encoding of a video. Bit rate in bit/s."""

    rid: str
    width: int
    height: int
    bitrate: int
    fps: int


class Plan(NamedTuple):
    """What a local track is encoded to.

    Attributes:
        codec: "opus", "vp8" or "h264".
        layers: of a video, low to high; one = no simulcast. Empty for audio.
        encryption: an EncryptionType.
    """

    codec: str
    bitrate: int
    fps: int
    layers: tuple[Layer, ...]
    dtx: bool
    red: bool
    encryption: int


def plan(track: LocalTrack, options: TrackPublishOptions, *, encryption: int = m.Encryption.NONE) -> Plan:
    """Choose encodings from the options and the source.

    Raises:
        ConfigError: the codec cannot be sent.
    """
    if track.kind is TrackKind.KIND_AUDIO:
        bitrate = options.audio_encoding.max_bitrate or AUDIO_BITRATE
        dtx = options.dtx if options.HasField("dtx") else True
        red = options.red if options.HasField("red") else True
        # Servers take RED apart, which they cannot do with what is encrypted.
        return Plan("opus", bitrate, 0, (), dtx, red and encryption == m.Encryption.NONE, encryption)
    known = {each.value: each.name for each in VideoCodec}
    codec = _CODECS.get(options.video_codec)
    if codec is None:
        names = ", ".join(known[value] for value in _CODECS)
        chosen = known.get(options.video_codec, options.video_codec)
        raise ConfigError(f"{chosen} cannot be published; choose one of {names}")
    layers = _layers(track, options)
    return Plan(codec, layers[-1].bitrate, layers[-1].fps, layers, False, False, encryption)


def add_track_request(track: LocalTrack, options: TrackPublishOptions, chosen: Plan, cid: str) -> m.AddTrackRequest:
    """How the track is announced."""
    request = m.AddTrackRequest(
        cid=cid,
        name=track.name,
        type=m.TrackType.AUDIO if track.kind is TrackKind.KIND_AUDIO else m.TrackType.VIDEO,
        source=m.TrackSource.Name(int(options.source)),
        muted=track.muted,
        stream=options.stream or _STREAMS.get(TrackSource(options.source), ""),
        encryption=chosen.encryption,  # type: ignore[arg-type]
    )
    if track.kind is TrackKind.KIND_AUDIO:
        _describe_audio(request, track, options, chosen)
        return request
    top = chosen.layers[-1]
    request.width, request.height = top.width, top.height
    for quality, layer in enumerate(_by_quality(chosen.layers)):
        if layer is not None:
            request.layers.add(
                quality=quality, width=layer.width, height=layer.height, bitrate=layer.bitrate, rid=layer.rid
            )
    request.simulcast_codecs.add(codec=chosen.codec, cid=cid)
    return request


def negotiated_codec(info: m.TrackInfo, chosen: Plan) -> str:
    """The codec the server chose: it may replace one that it has disabled.

    Raises:
        ConfigError: it chose one that cannot be sent.
    """
    if chosen.codec == "opus" or not info.codecs or not info.codecs[0].mime_type:
        return chosen.codec
    codec = info.codecs[0].mime_type.lower().removeprefix("video/")
    if codec not in _CODECS.values():
        raise ConfigError(f"the server wants {codec}, which cannot be sent")
    return codec


def _describe_audio(request: m.AddTrackRequest, track: LocalTrack, options: TrackPublishOptions, chosen: Plan) -> None:
    source = track._source
    request.stereo = isinstance(source, AudioSource) and source.num_channels == 2
    request.disable_dtx = not chosen.dtx
    request.disable_red = not chosen.red
    if request.stereo:
        request.audio_features.append(m.AudioTrackFeature.TF_STEREO)
    if not chosen.dtx:
        request.audio_features.append(m.AudioTrackFeature.TF_NO_DTX)
    if options.preconnect_buffer:
        request.audio_features.append(m.AudioTrackFeature.TF_PRECONNECT_BUFFER)


def _layers(track: LocalTrack, options: TrackPublishOptions) -> tuple[Layer, ...]:
    source = track._source
    if isinstance(source, AudioSource):
        raise ConfigError(f"{track!r} has an audio source")
    width, height = source.width, source.height
    screen = TrackSource(options.source) is TrackSource.SOURCE_SCREENSHARE
    bitrate, fps = _best_encoding(width, height, screen)
    bitrate = options.video_encoding.max_bitrate or bitrate
    fps = round(options.video_encoding.max_framerate) or fps
    top = (width, height, bitrate, fps)
    simulcast = options.simulcast if options.HasField("simulcast") else True
    lower = _lower_layers(width, height, bitrate, fps, screen) if simulcast else []
    encodings = [*lower, top]
    if len(encodings) == 1:
        return (Layer("", *top),)
    return tuple(Layer(rid, *encoding) for rid, encoding in zip(_RIDS, encodings, strict=False))


def _lower_layers(width: int, height: int, bitrate: int, fps: int, screen: bool) -> list[tuple[int, int, int, int]]:
    longer = max(width, height)
    if screen:
        if longer < 480:
            return []
        lower = max(150_000, round(bitrate / (4 * max(fps / 3, 1))))
        return [(width // 2, height // 2, min(lower, bitrate), 3)]
    presets = _WIDE if _is_wide(width, height) else _CLASSIC
    wanted = (1, 3) if presets is _WIDE else (3, 5)
    count = 2 if longer >= 960 else 1 if longer >= 480 else 0
    lower_layers = []
    for index in wanted[:count]:
        preset_width, _, preset_bitrate, preset_fps = presets[index]
        scale = longer / preset_width
        if scale <= 1:
            break
        size = (_even(width / scale), _even(height / scale))
        lower_layers.append((*size, min(preset_bitrate, bitrate), min(preset_fps, fps)))
    return lower_layers


def _best_encoding(width: int, height: int, screen: bool) -> tuple[int, int]:
    presets = _SCREEN if screen else _WIDE if _is_wide(width, height) else _CLASSIC
    longer = max(width, height)
    for preset_width, _, bitrate, fps in presets:
        if preset_width >= longer:
            return bitrate, fps
    return presets[-1][2], presets[-1][3]


def _is_wide(width: int, height: int) -> bool:
    aspect = max(width, height) / min(width, height)
    return abs(aspect - 16 / 9) < abs(aspect - 4 / 3)


def _by_quality(layers: tuple[Layer, ...]) -> list[Layer | None]:
    if len(layers) == 1:
        # One encoding is the server's HIGH quality.
        return [None, None, layers[0]]
    return list(layers)


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)

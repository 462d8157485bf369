"""From a client's AddTrackRequest to a published track: pending tracks, matching them to sections, track info."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.protocol.member import Member

__all__ = ["Pending", "PublishDesk", "SectionLike", "Track", "engine_layers", "mime_name", "track_info"]

_RID_ORDER = {"q": 0, "h": 1, "f": 2, "2": 0, "1": 1, "0": 2}
_MIME = {
    "audio/opus": "audio/opus",
    "audio/red": "audio/red",
    "audio/pcmu": "audio/PCMU",
    "audio/pcma": "audio/PCMA",
    "video/vp8": "video/VP8",
    "video/vp9": "video/VP9",
    "video/h264": "video/H264",
    "video/h265": "video/H265",
    "video/av1": "video/AV1",
}
_STREAMS = {
    m.TrackSource.CAMERA: "camera",
    m.TrackSource.MICROPHONE: "camera",
    m.TrackSource.SCREEN_SHARE: "screen",
    m.TrackSource.SCREEN_SHARE_AUDIO: "screen",
}


class SectionLike(Protocol):
    """What is used of the engine's `Section`."""

    mid: str
    kind: str
    receiving: bool
    track_id: str
    rids: list[str]
    sending: int
    codecs: list[str]


@dataclass(slots=True, eq=False)
class Track:
    """A published track."""

    info: m.TrackInfo
    handle: int
    member: Member
    peer: int
    cid: str
    announced: bool = False

    @property
    def sid(self) -> str:
        """Its session id."""
        return self.info.sid

    @property
    def kind(self) -> str:
        """Either "audio" or "video"."""
        return kind_name(self.info.type)


@dataclass(slots=True)
class Pending:
    """A track that was announced and whose media section has not come yet."""

    info: m.TrackInfo
    cids: tuple[str, ...]


@dataclass(slots=True)
class PublishDesk:
    """The tracks of one participant on their way to being published, and the sections of those that are."""

    pending: dict[str, Pending] = field(default_factory=dict)
    mids: dict[str, str] = field(default_factory=dict)

    def add(self, request: m.AddTrackRequest, info: m.TrackInfo) -> None:
        """Remember a track that waits for its section."""
        cids = (request.cid, *(codec.cid for codec in request.simulcast_codecs))
        self.pending[request.cid] = Pending(info, tuple(cid for cid in cids if cid))

    def find_pending(self, sid: str) -> m.TrackInfo | None:
        """The info of the pending track with this sid."""
        return next((each.info for each in self.pending.values() if each.info.sid == sid), None)

    def match(self, section: SectionLike) -> Pending | None:
        """Take out the pending track that a section brings: by track id, else the first of its kind."""
        for cid, pending in self.pending.items():
            if section.track_id and section.track_id in pending.cids:
                return self.pending.pop(cid)
        for cid, pending in self.pending.items():
            if kind_name(pending.info.type) == section.kind:
                return self.pending.pop(cid)
        return None

    def ended(self, sections: Sequence[SectionLike]) -> list[str]:
        """Take out and return the sids of tracks whose section stopped sending, or sends one that was announced since.

        The latter is what a client offers that takes a track down and puts another up before it is asked for its offer.
        """
        announced = {cid for pending in self.pending.values() for cid in pending.cids}
        kept = {section.mid for section in sections if section.receiving and section.track_id not in announced}
        gone = [mid for mid in self.mids if mid not in kept]
        return [self.mids.pop(mid) for mid in gone]


def kind_name(kind: m.TrackType) -> str:
    """Either "audio" or "video"."""
    return "audio" if kind == m.TrackType.AUDIO else "video"


def mime_name(mime: str) -> str:
    """A MIME type in the spelling that clients compare with."""
    return _MIME.get(mime.lower(), mime)


def track_info(request: m.AddTrackRequest, sid: str) -> m.TrackInfo:
    """The info of a track as it was asked for; what only the offer tells is filled in later."""
    layers = sorted(request.layers, key=lambda layer: int(layer.quality))
    info = m.TrackInfo(
        sid=sid,
        type=request.type,
        name=request.name,
        muted=request.muted,
        width=request.width,
        height=request.height,
        disable_dtx=request.disable_dtx,
        source=request.source,
        layers=layers,
        stereo=request.stereo,
        disable_red=request.disable_red,
        encryption=request.encryption,
        stream=request.stream or _STREAMS.get(request.source, "unknown"),
        audio_features=_audio_features(request),
        backup_codec_policy=request.backup_codec_policy,
        packet_trailer_features=request.packet_trailer_features,
    )
    for codec in request.simulcast_codecs:
        if codec.cid:
            info.codecs.append(_codec_info(request, codec, layers))
    if info.codecs:
        info.mime_type = info.codecs[0].mime_type
    scalable = any(codec.video_layer_mode == m.VideoLayer.MULTIPLE_SPATIAL_LAYERS_PER_STREAM for codec in info.codecs)
    info.simulcast = len(layers) > 1 and not scalable
    return info


def preferred_codecs(request: m.AddTrackRequest) -> tuple[str, ...]:
    """What the client is to send a track with, best first; nothing = as usual."""
    if request.type == m.TrackType.AUDIO:
        return ("audio/opus",) if request.disable_red else ()
    return tuple(mime_name(f"video/{codec.codec}") for codec in request.simulcast_codecs if codec.codec)


def published_info(info: m.TrackInfo, section: SectionLike) -> None:
    """Fill in what the accepted section tells: its mid, codec and rids."""
    info.mid = section.mid
    if section.codecs:
        info.mime_type = mime_name(section.codecs[0])
    ranked = sorted(section.rids, key=_rank)
    for layer, rid in zip(info.layers, ranked, strict=False):
        layer.rid = rid
    if not info.codecs:
        info.codecs.add(cid=section.track_id, layers=info.layers)
    if len(ranked) > 1:
        info.simulcast = True
        info.codecs[0].video_layer_mode = m.VideoLayer.ONE_SPATIAL_LAYER_PER_STREAM
    info.codecs[0].mime_type = info.mime_type
    info.codecs[0].mid = section.mid
    info.codecs[0].sdp_cid = section.track_id


def engine_layers(info: m.TrackInfo, rids: Sequence[str]) -> tuple[tuple[str, int, int, int], ...]:
    """(rid, quality, width, height) per layer, lowest first; one with an empty rid when there is no simulcast."""
    if not rids:
        return (("", int(m.VideoQuality.HIGH), info.width, info.height),)
    layers = {layer.rid: layer for layer in info.layers if layer.rid}
    found = []
    for index, rid in enumerate(sorted(rids, key=_rank)):
        layer = layers.get(rid)
        if layer is None:
            found.append((rid, min(_rank(rid), 2) if _rank(rid) < 3 else min(index, 2), 0, 0))
        else:
            found.append((rid, min(int(layer.quality), 2), layer.width, layer.height))
    return tuple(found)


def quality_for_size(info: m.TrackInfo, width: int, height: int) -> int:
    """The lowest quality whose layer covers width x height, whichever way the picture is turned."""
    wanted = sorted((width, height))
    for layer in info.layers:
        size = sorted((layer.width, layer.height))
        if size[0] >= wanted[0] and size[1] >= wanted[1]:
            return min(int(layer.quality), 2)
    return int(m.VideoQuality.HIGH)


def _rank(rid: str) -> int:
    return _RID_ORDER.get(rid, 3)


def _audio_features(request: m.AddTrackRequest) -> list[m.AudioTrackFeature]:
    features = list(request.audio_features)
    if request.stereo and m.AudioTrackFeature.TF_STEREO not in features:
        features.append(m.AudioTrackFeature.TF_STEREO)
    if request.disable_dtx and m.AudioTrackFeature.TF_NO_DTX not in features:
        features.append(m.AudioTrackFeature.TF_NO_DTX)
    return features


def _codec_info(
    request: m.AddTrackRequest, codec: m.SimulcastCodec, layers: Sequence[m.VideoLayer]
) -> m.SimulcastCodecInfo:
    name = codec.codec.lower()
    mime = name if "/" in name else f"{kind_name(request.type)}/{name}"
    own = sorted(codec.layers, key=lambda layer: int(layer.quality)) or layers
    mode = codec.video_layer_mode
    if mode == m.VideoLayer.MODE_UNUSED and request.type == m.TrackType.VIDEO:
        scalable = name.removeprefix("video/") in ("vp9", "av1")
        mode = (
            m.VideoLayer.MULTIPLE_SPATIAL_LAYERS_PER_STREAM if scalable else m.VideoLayer.ONE_SPATIAL_LAYER_PER_STREAM
        )
    return m.SimulcastCodecInfo(mime_type=mime_name(mime), cid=codec.cid, layers=own, video_layer_mode=mode)

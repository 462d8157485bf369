"""What a client says in the URL with which it opens the signalling socket, in both versions of the path."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from greenroom.errors import ProtocolError
from greenroom.wire import messages as m

__all__ = ["PROTOCOL_VERSION", "JoinParameters", "decode_v0", "decode_v1", "encode_v0", "encode_v1"]

#: The signalling protocol spoken here.
PROTOCOL_VERSION = 17

_MAX_JOIN_REQUEST = 1024 * 1024
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinParameters:
    """How a client wants to join, whichever path it came through.

    Attributes:
        single: one peer connection on which only the client offers; else two.
        attributes: initial attributes, or None when the client set none.
        offer: the publisher offer bundled with the request.
        reconnect: resume the session that this identity has.
        sid: the participant sid the client believes it has (resume).
    """

    single: bool
    client: m.ClientInfo
    auto_subscribe: bool = True
    auto_subscribe_data_track: bool = False
    adaptive_stream: bool = False
    metadata: str = ""
    attributes: Mapping[str, str] | None = None
    add_tracks: tuple[m.AddTrackRequest, ...] = ()
    offer: m.SessionDescription | None = None
    reconnect: bool = False
    reconnect_reason: int = 0
    sid: str = ""
    sync_state: m.SyncState | None = None
    publish_only: str = field(default="")


def decode_v1(join_request: str) -> JoinParameters:
    """Read the `join_request` query value.

    Raises:
        ProtocolError: with the text that LiveKit servers answer (status 400).
    """
    if not join_request:
        raise ProtocolError("join_request is required")
    try:
        padded = join_request + "=" * (-len(join_request) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise ProtocolError("cannot base64 decode wrapped join request") from error
    wrapped = m.WrappedJoinRequest()
    request = m.JoinRequest()
    try:
        wrapped.ParseFromString(raw)
    except m.DecodeError as error:
        raise ProtocolError("cannot unmarshal wrapped join request") from error
    inner = wrapped.join_request
    if wrapped.compression == m.WrappedJoinRequest.GZIP:
        inner = _gunzip(inner)
    if len(inner) > _MAX_JOIN_REQUEST:
        raise ProtocolError("join request too large")
    try:
        request.ParseFromString(inner)
    except m.DecodeError as error:
        raise ProtocolError("cannot unmarshal join request") from error
    settings = request.connection_settings
    return JoinParameters(
        single=True,
        client=request.client_info,
        auto_subscribe=settings.auto_subscribe,
        auto_subscribe_data_track=settings.auto_subscribe_data_track,
        adaptive_stream=settings.adaptive_stream,
        metadata=request.metadata,
        attributes=dict(request.participant_attributes) or None,
        add_tracks=tuple(request.add_track_requests),
        offer=request.publisher_offer if request.publisher_offer.sdp else None,
        reconnect=request.reconnect,
        reconnect_reason=request.reconnect_reason,
        sid=request.participant_sid,
        sync_state=request.sync_state if request.HasField("sync_state") else None,
    )


def encode_v1(request: m.JoinRequest, *, compress: bool = True) -> str:
    """The `join_request` query value: URL-safe base64 with padding."""
    inner = request.SerializeToString()
    wrapped = m.WrappedJoinRequest(compression=m.WrappedJoinRequest.NONE, join_request=inner)
    if compress:
        packer = zlib.compressobj(wbits=31)
        wrapped.compression = m.WrappedJoinRequest.GZIP
        wrapped.join_request = packer.compress(inner) + packer.flush()
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


def decode_v0(query: Mapping[str, str]) -> JoinParameters:
    """Read the query parameters of `/rtc`; with `join_request` among them, version 1 applies.

    Raises:
        ProtocolError: a parameter cannot be decoded (status 400).
    """
    if "join_request" in query:
        return decode_v1(query["join_request"])
    return JoinParameters(
        single=False,
        client=_client_info(query),
        auto_subscribe=_flag(query, "auto_subscribe", True),
        auto_subscribe_data_track=_flag(query, "auto_subscribe_data_track", False),
        adaptive_stream=_flag(query, "adaptive_stream", False),
        attributes=_attributes(query.get("attributes", "")),
        reconnect=_flag(query, "reconnect", False),
        reconnect_reason=_number(query, "reconnect_reason"),
        sid=query.get("sid", ""),
        publish_only=query.get("publish", ""),
    )


def encode_v0(request: m.JoinRequest) -> dict[str, str]:
    """The query parameters of `/rtc` that say the same as a join request."""
    client, settings = request.client_info, request.connection_settings
    query = {
        "sdk": m.ClientInfo.SDK.Name(client.sdk).lower(),
        "os": client.os,
        "os_version": client.os_version,
        "device_model": client.device_model,
        "protocol": str(client.protocol),
        "client_protocol": str(client.client_protocol),
        "version": client.version,
        "auto_subscribe": str(int(settings.auto_subscribe)),
        "adaptive_stream": str(int(settings.adaptive_stream)),
        "capabilities": ",".join(m.ClientInfo.Capability.Name(each) for each in client.capabilities),
    }
    if request.reconnect:
        query |= {
            "reconnect": "1",
            "sid": request.participant_sid,
            "reconnect_reason": str(int(request.reconnect_reason)),
        }
    return {name: value for name, value in query.items() if value}


def _gunzip(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        inner = unpacker.decompress(packed, _MAX_JOIN_REQUEST + 1)
    except zlib.error as error:
        raise ProtocolError("cannot decompress join request") from error
    if not unpacker.eof and len(inner) <= _MAX_JOIN_REQUEST:
        raise ProtocolError("cannot decompress join request")
    return inner


def _client_info(query: Mapping[str, str]) -> m.ClientInfo:
    capabilities = query.get("capabilities", "").split(",")
    info = m.ClientInfo(
        version=query.get("version", ""),
        protocol=_number(query, "protocol"),
        client_protocol=_number(query, "client_protocol"),
        os=query.get("os", ""),
        os_version=query.get("os_version", ""),
        device_model=query.get("device_model", ""),
        browser=query.get("browser", ""),
        browser_version=query.get("browser_version", ""),
        network=query.get("network", ""),
        capabilities=[each for each in capabilities if each in m.ClientInfo.Capability.keys()],
    )
    sdk = query.get("sdk", "").upper()
    sdk = {"IOS": "SWIFT", "REACTNATIVE": "REACT_NATIVE", "UNITYWEB": "UNITY_WEB"}.get(sdk, sdk)
    if sdk in m.ClientInfo.SDK.keys():
        info.MergeFrom(m.ClientInfo(sdk=sdk))
    return info


def _attributes(encoded: str) -> dict[str, str] | None:
    if not encoded:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("cannot decode attributes") from error
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ProtocolError("cannot decode attributes")
    return value


def _flag(query: Mapping[str, str], name: str, default: bool) -> bool:
    return query[name] in _TRUE if query.get(name) else default


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    return min(int(text), 2**31 - 1) if text.isascii() and text.isdigit() and len(text) < 20 else 0

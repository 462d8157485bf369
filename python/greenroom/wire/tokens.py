"""Access tokens: JWTs, signed with HS256, that name a participant and what it may do."""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greenroom.errors import ConfigError, TokenError

if TYPE_CHECKING:
    from jwt.types import Options

    from greenroom.wire import messages as m

__all__ = [
    "DEFAULT_LIFETIME",
    "LEEWAY",
    "Claims",
    "VideoGrants",
    "decode_token",
    "encode_token",
    "peek_claims",
]

#: Seconds a token is good for when nothing else is said.
DEFAULT_LIFETIME = 6 * 3600.0
#: Seconds by which two machines' clocks may differ.
LEEWAY = 60.0

_KINDS = ("standard", "ingress", "egress", "sip", "agent", "connector", "bridge")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoGrants:
    """What the holder may do.

    None means "not said": then `can_publish` and `can_subscribe` are allowed, and
    `can_publish_data` follows `can_publish`.
    """

    room_create: bool = False
    room_list: bool = False
    room_record: bool = False
    room_admin: bool = False
    room_join: bool = False
    room: str = ""
    destination_room: str = ""
    can_publish: bool | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: Sequence[str] = ()
    can_update_own_metadata: bool = False
    can_subscribe_metrics: bool = False
    can_manage_agent_session: bool = False
    ingress_admin: bool = False
    hidden: bool = False
    recorder: bool = False
    agent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Everything a token says.

    Attributes:
        identity: the participant, `sub` in the token.
        kind: "standard", "ingress", "egress", "sip", "agent", "connector" or "bridge".
        others: claims passed through as they are, by name: "sip", "agent", "inference" and the like.
        room_config: settings used if this join creates the room.
        api_key: who signed (`iss`); filled by `decode_token`.
        expires_at: Unix time in seconds; filled by `decode_token`.
        issued_at: Unix time in seconds (`iat`, else `nbf`); filled by `decode_token`.
    """

    identity: str = ""
    name: str = ""
    kind: str = "standard"
    kind_details: Sequence[str] = ()
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    video: VideoGrants | None = None
    others: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    sha256: str = ""
    room_preset: str = ""
    room_config: m.RoomConfiguration | None = None
    api_key: str = ""
    expires_at: float = 0.0
    issued_at: float = 0.0


def encode_token(claims: Claims, key: str, secret: str, *, now: float, lifetime: float = DEFAULT_LIFETIME) -> str:
    """Sign a token.

    Args:
        claims: what it says.
        key: the API key, `iss`.
        secret: the API key's secret.
        now: Unix time in seconds.
        lifetime: seconds until it expires.

    Raises:
        ConfigError: key or secret is empty.
        TokenError: a join without identity or room, an unknown kind, or a lifetime without end.
    """
    import jwt

    if not key or not secret:
        raise ConfigError("an API key and its secret are needed to sign a token")
    video = claims.video
    if video is not None and video.room_join and not (claims.identity and video.room):
        raise TokenError("a token to join needs an identity and a room")
    if claims.kind not in _KINDS:
        raise TokenError(f"unknown participant kind {claims.kind!r}; one of {', '.join(_KINDS)}")
    if not math.isfinite(lifetime):
        raise TokenError(f"a token's lifetime must be a number of seconds, not {lifetime}")
    payload = _payload(claims) | {"iss": key, "nbf": int(now), "iat": int(now), "exp": int(now + lifetime)}
    with _any_key_length():
        return jwt.encode(payload, secret, algorithm="HS256")


def decode_token(token: str, keys: Mapping[str, str], *, now: float) -> Claims:
    """Check a token's signature and times and read it.

    Args:
        token: the JWT.
        keys: secret per API key; the token's `iss` chooses.
        now: Unix time in seconds.

    Raises:
        TokenError: "invalid API key" when `iss` is unknown, else "invalid authorization token: ...".
    """
    import jwt

    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenError(f"invalid authorization token: {error}") from error
    secret = keys.get(issuer) if isinstance(issuer, str) else None
    if not secret:
        raise TokenError("invalid API key")
    try:
        with _any_key_length():
            payload = jwt.decode(token, secret, algorithms=["HS256"], options=_OWN_TIME_CHECKS)
        _check_times(payload, now)
        return _claims(payload)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise TokenError(f"invalid authorization token: {error}") from error


def peek_claims(token: str) -> Claims:
    """Read a token without checking it, as a client does with its own.

    Raises:
        TokenError: it is not a JWT.
    """
    import jwt

    try:
        return _claims(jwt.decode(token, options={"verify_signature": False}))
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise TokenError(f"not an access token: {error}") from error


_OWN_TIME_CHECKS: Options = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
}


@contextmanager
def _any_key_length() -> Iterator[None]:
    """Let short secrets pass without a word: their length is the operator's business, said once at a server's start."""
    from jwt.warnings import InsecureKeyLengthWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        yield


def _check_times(payload: Mapping[str, Any], now: float) -> None:
    expires, begins = payload.get("exp"), payload.get("nbf")
    if not isinstance(expires, int | float):
        raise TokenError("it has no expiry time")
    if now > expires + LEEWAY:
        raise TokenError("token is expired")
    if isinstance(begins, int | float) and now < begins - LEEWAY:
        raise TokenError("token is not valid yet")


def _payload(claims: Claims) -> dict[str, object]:
    payload: dict[str, object] = {
        "sub": claims.identity,
        "name": claims.name,
        "kind": "" if claims.kind == "standard" else claims.kind,
        "kindDetails": list(claims.kind_details),
        "metadata": claims.metadata,
        "attributes": dict(claims.attributes),
        "sha256": claims.sha256,
        "roomPreset": claims.room_preset,
    }
    payload = {name: value for name, value in payload.items() if value}
    payload |= {name: dict(value) for name, value in claims.others.items()}
    if claims.video is not None:
        grants = {_camel(each.name): getattr(claims.video, each.name) for each in dataclasses.fields(VideoGrants)}
        payload["video"] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in grants.items()
            if value is not None and value not in ("", ()) and (value is not False or name in _THREE_WAY)
        }
    if claims.room_config is not None:
        from google.protobuf.json_format import MessageToDict

        payload["roomConfig"] = MessageToDict(claims.room_config)
    return payload


_THREE_WAY = ("canPublish", "canSubscribe", "canPublishData")
_OTHERS = ("sip", "agent", "inference", "observability", "agentEndpoint", "agentThread")


def _claims(payload: Mapping[str, Any]) -> Claims:
    identity = payload.get("sub") or payload.get("jti") or ""
    kind = payload.get("kind") or "standard"
    attributes = payload.get("attributes") or {}
    texts = (identity, kind, payload.get("name") or "", payload.get("metadata") or "")
    if not all(isinstance(each, str) for each in (*texts, *attributes.values())):
        raise TokenError("a claim that must be a string is not one")
    return Claims(
        identity=identity,
        name=texts[2],
        kind=kind if kind in _KINDS else "standard",
        kind_details=tuple(str(each) for each in payload.get("kindDetails") or ()),
        metadata=texts[3],
        attributes=dict(attributes),
        video=_grants(payload["video"]) if isinstance(payload.get("video"), dict) else None,
        others={name: payload[name] for name in _OTHERS if isinstance(payload.get(name), dict)},
        sha256=str(payload.get("sha256") or ""),
        room_preset=str(payload.get("roomPreset") or ""),
        room_config=_room_config(payload.get("roomConfig")),
        api_key=str(payload.get("iss") or ""),
        expires_at=float(payload.get("exp") or 0.0),
        issued_at=float(payload.get("iat") or payload.get("nbf") or 0.0),
    )


def _grants(video: Mapping[str, Any]) -> VideoGrants:
    fields = {each.name: each for each in dataclasses.fields(VideoGrants)}
    values: dict[str, Any] = {}
    for name, value in video.items():
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        if snake not in fields or value is None:
            continue
        if snake == "can_publish_sources":
            values[snake] = tuple(str(each) for each in value)
        elif snake in ("room", "destination_room"):
            values[snake] = str(value)
        elif isinstance(value, bool):
            values[snake] = value
        else:
            raise TokenError(f"grant {name} must be true or false")
    return VideoGrants(**values)


def _room_config(value: object) -> m.RoomConfiguration | None:
    if not isinstance(value, dict):
        return None
    from google.protobuf.json_format import ParseDict, ParseError

    from greenroom.wire import messages

    try:
        return ParseDict(value, messages.RoomConfiguration(), ignore_unknown_fields=True)
    except ParseError as error:
        raise TokenError(f"roomConfig cannot be read: {error}") from error


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)

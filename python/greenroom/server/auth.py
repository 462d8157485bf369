"""Who is asking: the token of a request, checked, and what it must grant."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from greenroom.errors import TokenError
from greenroom.wire.tokens import Claims, VideoGrants, decode_token

__all__ = ["PERMISSION_DENIED", "Refusal", "claims_of", "grants_of"]

PERMISSION_DENIED = "permissions denied"
_BEARER = "Bearer "


class Refusal(Exception):
    """A request is answered with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def claims_of(request: web.BaseRequest, keys: Mapping[str, str], now: float) -> Claims | None:
    """The claims of a request's token, or None when it carries none.

    Args:
        request: its `Authorization` header or `access_token` parameter holds the token.
        keys: secret per API key.
        now: Unix time.

    Raises:
        Refusal: 401, with the text that clients expect.
    """
    header = request.headers.get("Authorization", "")
    if header and not header.startswith(_BEARER):
        raise Refusal(401, "invalid authorization header. Must start with Bearer ")
    token = header[len(_BEARER) :] or request.query.get("access_token", "")
    if not token:
        return None
    try:
        return decode_token(token, keys, now=now)
    except TokenError as error:
        raise Refusal(401, error.message) from error


def grants_of(claims: Claims | None) -> VideoGrants:
    """The room grants of a token; none when there is no token."""
    return (claims.video if claims is not None else None) or VideoGrants()

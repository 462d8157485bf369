"""Webhook bodies and the token that proves who sent them."""

from __future__ import annotations

import base64
import hashlib

from google.protobuf.json_format import MessageToJson, Parse, ParseError

from greenroom.errors import ProtocolError, TokenError
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, decode_token, encode_token

__all__ = ["CONTENT_TYPE", "decode_webhook", "encode_webhook"]

CONTENT_TYPE = "application/webhook+json"
_LIFETIME = 300.0


def encode_webhook(event: m.WebhookEvent, key: str, secret: str, *, now: float) -> tuple[bytes, str]:
    """The body of a webhook and the value of its `Authorization` header (the token alone, without "Bearer").

    Args:
        event: what happened.
        key: the API key that signs.
        secret: its secret.
        now: Unix time in seconds.
    """
    body = MessageToJson(event, indent=None).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return body, encode_token(Claims(sha256=digest), key, secret, now=now, lifetime=_LIFETIME)


def decode_webhook(body: bytes, token: str, keys: dict[str, str], *, now: float) -> m.WebhookEvent:
    """Check and read a webhook.

    Args:
        body: as it came.
        token: the `Authorization` header.
        keys: secret per API key.
        now: Unix time in seconds.

    Raises:
        TokenError: the token is not good, or is for another body.
        ProtocolError: the body is no event.
    """
    claims = decode_token(token, keys, now=now)
    if claims.sha256 != base64.b64encode(hashlib.sha256(body).digest()).decode():
        raise TokenError("the webhook's token was made for another body")
    try:
        return Parse(body, m.WebhookEvent(), ignore_unknown_fields=True)
    except (ParseError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a webhook event: {error}") from error

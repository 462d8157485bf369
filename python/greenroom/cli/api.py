"""The server's HTTP API as the commands use it: one JSON request, one JSON reply."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from greenroom.errors import ConfigError, RequestError, UnauthorizedError, UnreachableError
from greenroom.wire.tokens import Claims, VideoGrants, encode_token

__all__ = ["Api", "http_url"]


@dataclass(frozen=True, slots=True)
class Api:
    """A server and the key to it."""

    url: str
    key: str
    secret: str

    async def call(self, method: str, request: dict[str, Any], grants: VideoGrants) -> dict[str, Any]:
        """Call "Service/Method" with the request's fields and return the reply's.

        Raises:
            UnreachableError: no server answers at the URL.
            UnauthorizedError: the server does not accept the key, or the grants do not suffice.
            RequestError: the server refused; has its reason.
        """
        import aiohttp

        token = encode_token(Claims(video=grants), self.key, self.secret, now=time.time(), lifetime=600)
        address = f"{http_url(self.url)}/twirp/livekit.{method}"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(15)) as session,
                session.post(address, json=request, headers={"Authorization": f"Bearer {token}"}) as reply,
            ):
                body = await _json(reply)
                if reply.status == 200:
                    return body
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise UnreachableError(f"no server answers at {self.url}: is it running, and is --url right?") from error
        message = str(body.get("msg") or reply.reason)
        if reply.status in (401, 403):
            raise UnauthorizedError(f"{self.url} refused the key {self.key!r}: {message}")
        raise RequestError(message, reason=str(body.get("code") or reply.status))


def http_url(url: str) -> str:
    """ws:// and wss:// as http:// and https://, without a final slash.

    Raises:
        ConfigError: it is not a URL of a server.
    """
    parts = urlsplit(url)
    schemes = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
    if parts.scheme not in schemes or not parts.netloc:
        raise ConfigError(f"{url!r} is not a server's URL: it must be like ws://localhost:7880")
    return urlunsplit((schemes[parts.scheme], parts.netloc, parts.path.rstrip("/"), "", ""))


async def _json(reply: Any) -> dict[str, Any]:
    try:
        body = await reply.json(content_type=None)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}

"""Where a client opens its signalling socket, and what a refused one means."""

from __future__ import annotations

from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from greenroom.errors import ConfigError, ConnectError, RoomNotFoundError, UnauthorizedError, UnreachableError
from greenroom.wire import messages as m
from greenroom.wire.join import encode_v0, encode_v1

__all__ = ["join_error", "server_address", "signal_url"]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def signal_url(url: str, request: m.JoinRequest, *, single: bool) -> str:
    """The socket's URL: `/rtc/v1` with everything in `join_request`, or `/rtc` with a query.

    `url` is what the user gave: ws, wss, http or https, with a path prefix or without.

    Raises:
        ConfigError: it is not such a URL.
    """
    parts = _parts(url)
    path = parts.path.rstrip("/")
    if single:
        value = encode_v1(request, compress=request.HasField("publisher_offer"))
        query = f"join_request={quote(value)}"
        return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, f"{path}/rtc/v1", query, ""))
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, f"{path}/rtc", urlencode(encode_v0(request)), ""))


def server_address(url: str) -> tuple[str, int]:
    """The host and port of a server's URL.

    Raises:
        ConfigError: it is not a ws, wss, http or https URL.
    """
    parts = _parts(url)
    return parts.hostname or "", parts.port or (443 if _SCHEMES[parts.scheme] == "wss" else 80)


def join_error(url: str, status: int, text: str) -> ConnectError:
    """What an HTTP status and the server's text say about why we cannot join. 0 = the server was not reached."""
    detail = text.strip() or (f"status {status}" if status else "no answer")
    if status == 0:
        return UnreachableError(f"no server answers at {url}: {detail}")
    if status in (401, 403):
        return UnauthorizedError(f"the server refused the token: {detail}")
    if status == 404 and "room does not exist" in detail:
        return RoomNotFoundError(f"the room does not exist and may not be created by joining: {detail}")
    if status == 404:
        return UnreachableError(f"there is no LiveKit server at {url}: {detail}")
    return ConnectError(f"the server refused to let us join (status {status}): {detail}")


def _parts(url: str) -> SplitResult:
    parts = urlsplit(url if isinstance(url, str) else "")
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(f"{url!r} is not a server URL; it should look like ws://localhost:7880 or wss://host")
    try:
        parts.port  # noqa: B018 - parses it
    except ValueError as error:
        raise ConfigError(f"{url!r} has no usable port: {error}") from error
    return parts

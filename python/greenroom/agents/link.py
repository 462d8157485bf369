"""The worker's websocket to the server."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from urllib.parse import quote

from greenroom.runtime.socket import MessageSocket, SocketRefusedError
from greenroom.runtime.websocket import WebSocket
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants, encode_token

__all__ = ["HEARTBEAT_INTERVAL", "WorkerLink"]

#: Seconds between websocket pings.
HEARTBEAT_INTERVAL = 30
#: Bytes.
_MAX_MESSAGE = 2 * 1024 * 1024
#: Seconds.
_CONNECT_TIMEOUT = 10.0
_TOKEN_LIFETIME = 3600.0


class WorkerLink(MessageSocket[m.WorkerMessage, m.ServerMessage]):
    """A worker's connection to `/agent` of a server."""

    name = "worker"
    received = m.ServerMessage

    @classmethod
    async def open(
        cls,
        credentials: tuple[str, str, str],
        proxy: str | None,
        on_message: Callable[[m.ServerMessage], None],
        on_closed: Callable[[str], None],
    ) -> WorkerLink:
        """Connect with URL, key and secret.

        Raises:
            SocketRefusedError: the server answered with something else than a websocket, or not at all.
        """
        url, key, secret = credentials
        claims = Claims(video=VideoGrants(agent=True))
        token = encode_token(claims, key, secret, now=time.time(), lifetime=_TOKEN_LIFETIME)
        hosted = os.environ.get("LIVEKIT_WORKER_TOKEN")
        address = f"{url.rstrip('/')}/agent" + (f"?worker_token={quote(hosted)}" if hosted else "")
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                socket = await WebSocket.open(address, token, max_size=_MAX_MESSAGE, proxy=proxy)
        except SocketRefusedError as refused:
            raise SocketRefusedError(_refusal(url, refused), url, refused.status) from refused
        except TimeoutError as error:
            raise SocketRefusedError(
                f"no answer from {url} (LIVEKIT_URL, --url) within {_CONNECT_TIMEOUT:g} s", url, 0
            ) from error
        return cls(socket, on_message, on_closed, HEARTBEAT_INTERVAL)

    @classmethod
    async def check(cls, credentials: tuple[str, str, str], proxy: str | None) -> None:
        """See whether a worker could connect.

        Raises:
            SocketRefusedError: it could not; the message says what to change.
        """
        link = await cls.open(credentials, proxy, lambda message: None, lambda detail: None)
        await link.close()


def _refusal(url: str, refused: SocketRefusedError) -> str:
    match refused.status:
        case 0 if "WRONG_VERSION_NUMBER" in str(refused):
            return f"{url} does not speak TLS (LIVEKIT_URL, --url): is it ws:// instead of wss://?"
        case 0:
            return f"no server at {url} (LIVEKIT_URL, --url): {refused}"
        case 401:
            return f"{url} does not know the API key, or its secret is another (LIVEKIT_API_KEY, LIVEKIT_API_SECRET)"
        case 404:
            return f"{url} answers, but takes no agent workers: is it the server's URL?"
        case status:
            return f"{url} refused the worker with HTTP status {status}"

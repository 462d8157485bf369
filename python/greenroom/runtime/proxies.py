"""The HTTP proxy that the environment names for a server."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

__all__ = ["proxy_for"]


def proxy_for(url: str) -> str | None:
    """The proxy between us and a server, or None: then we connect to it directly.

    `https_proxy` is for wss and https, `http_proxy` for ws and http; `wss_proxy` and `ws_proxy` go before these, and
    `all_proxy` comes after them. The names may be in capitals. What `no_proxy` lists and this machine itself are never
    reached through a proxy.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if parts.hostname is None or _is_loopback(parts.hostname) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    secure = parts.scheme in ("wss", "https")
    found = getproxies()
    return next((found[name] for name in (("wss", "https") if secure else ("ws", "http")) if name in found), None) or (
        found.get("all")
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

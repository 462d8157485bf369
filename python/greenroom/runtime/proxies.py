"""The HTTP proxy that the environment names for a server."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

__all__ = ["proxy_for"]


def proxy_for(url: str) -> str | None:
    """The proxy between us and a server, or None: then we connect to it directly.

    `https_proxy` is for wss and https, `http_proxy` for ws and http; `wss_proxy` and `ws_proxy` go before these, and
    `all_proxy` comes after them. The names may be in capitals. Hosts and domains that `no_proxy` lists, with a port or
    without, and this machine itself are never reached through a proxy.
    """
    parts = urlsplit(url)
    if parts.hostname is None or _is_loopback(parts.hostname) or _is_excepted(parts.hostname, parts.port):
        return None
    schemes = ("wss", "https", "all") if parts.scheme in ("wss", "https") else ("ws", "http", "all")
    return next((proxy for scheme in schemes if (proxy := _variable(f"{scheme}_proxy"))), None)


def _variable(name: str) -> str:
    """An environment variable in small letters or capitals; an empty one in small letters hides the other."""
    value = os.environ.get(name)
    if value is None and not (name == "http_proxy" and "REQUEST_METHOD" in os.environ):
        # In a CGI program HTTP_PROXY is the client's header "Proxy", not a setting.
        value = os.environ.get(name.upper())
    return value or ""


def _is_excepted(host: str, port: int | None) -> bool:
    for entry in _variable("no_proxy").lower().split(","):
        name = entry.strip().lstrip(".")
        if name == "*":
            return True
        for there in (host, f"{host}:{port}"):
            if name and (there == name or there.endswith(f".{name}")):
                return True
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

"""What a server can be told. Everything has a default that works on one machine."""

from __future__ import annotations

import ipaddress
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from greenroom.errors import ConfigError
from greenroom.protocol.settings import Limits

__all__ = ["Limits", "ServerOptions", "Webhooks"]

_SHORT_SECRET = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Where room events are posted.

    Attributes:
        urls: each gets every event.
        api_key: whose secret signs them; "" = the first key.
    """

    urls: Sequence[str] = ()
    api_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a server listens, whom it lets in, and how its rooms behave. Durations are seconds, sizes bytes.

    Attributes:
        host: address to bind, for HTTP and for media.
        port: TCP port for HTTP, websockets and the API; 0 = a free one.
        udp_port: the one UDP port for all media; 0 = a free one.
        tcp_port: the one TCP port for media where UDP does not get through; 0 = a free one.
        metrics_port: TCP port of `/metrics` for Prometheus; 0 = a free one, None = no metrics.
        metrics_host: address to bind for the metrics. Whoever reaches it may read them.
        advertise: IP addresses that clients reach this server's media at; empty = those it binds.
        keys: secret per API key. Empty = one key is made up for this run.
        auto_create: joining creates a room that does not exist.
        empty_timeout: a room nobody joined ends after this.
        departure_timeout: a room that the last one has left ends after this.
        join_timeout: a participant whose media does not connect by then is removed.
        max_participants: per room; 0 = no limit.
        remote_unmute: the API may unmute tracks, not only mute them.
        signal_size: the largest signalling message accepted.
        request_size: the largest body of an API request accepted.
        send_queue_size: bytes that may wait for one slow signalling socket before it is closed.
        half_open_timeout: how long a client may take for its request, or to take what it is sent.
        reoffer_jobs: a running job whose worker died is offered to another worker.
        region: told to clients.
    """

    host: str = "127.0.0.1"
    port: int = 0
    udp_port: int = 0
    tcp_port: int = 0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    advertise: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    auto_create: bool = True
    empty_timeout: float = 300.0
    departure_timeout: float = 20.0
    join_timeout: float = 60.0
    max_participants: int = 0
    remote_unmute: bool = False
    limits: Limits = field(default_factory=Limits)
    signal_size: int = 2 * 1024 * 1024
    request_size: int = 10 * 1024 * 1024
    send_queue_size: int = 8 * 1024 * 1024
    half_open_timeout: float = 10.0
    webhooks: Webhooks = field(default_factory=Webhooks)
    reoffer_jobs: bool = False
    region: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.keys, Mapping):
            raise ConfigError('keys must be a mapping like {"devkey": "secret"}')
        for name in ("port", "udp_port", "tcp_port", "metrics_port"):
            if name == "metrics_port" and self.metrics_port is None:
                continue
            if not isinstance(getattr(self, name), int):
                raise ConfigError(f"{name} must be a number, not {getattr(self, name)!r}")
            if not 0 <= getattr(self, name) < 65536:
                raise ConfigError(f"{name} must be 0 to 65535, not {getattr(self, name)}")
        _check_ip("host", self.host)
        _check_ip("metrics_host", self.metrics_host)
        if isinstance(self.advertise, str):
            raise ConfigError(f"advertise must be a list of IP addresses, not the text {self.advertise!r}")
        for address in self.advertise:
            _check_ip("advertise", address)
        for name in ("empty_timeout", "departure_timeout", "join_timeout", "max_participants"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("signal_size", "request_size", "send_queue_size", "half_open_timeout"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be more than 0, not {getattr(self, name)}")
        for key, secret in self.keys.items():
            if not key or not secret:
                raise ConfigError("an API key and its secret must not be empty")
        if self.webhooks.api_key and self.webhooks.api_key not in self.keys:
            raise ConfigError(f"webhooks are to be signed with {self.webhooks.api_key!r}, which is not among the keys")

    @property
    def short_secrets(self) -> tuple[str, ...]:
        """The API keys whose secret is easy to guess."""
        return tuple(key for key, secret in self.keys.items() if len(secret) < _SHORT_SECRET)

    def usable_keys(self) -> dict[str, str]:
        """The keys, or one made up for this run."""
        return dict(self.keys) or {"dev" + secrets.token_hex(6): secrets.token_urlsafe(32)}


def _check_ip(name: str, address: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        example = "like 127.0.0.1, or 0.0.0.0 for all of this machine's" if "host" in name else "like 203.0.113.7"
        raise ConfigError(f"{name} must be an IP address, {example}, not {address!r}") from None

"""This machine's IP addresses, for the candidates of a media connection. Linux, macOS and Windows, no dependency."""

from __future__ import annotations

import ipaddress
import socket

__all__ = ["local_addresses"]


def local_addresses(server_host: str, server_port: int) -> list[str]:
    """Addresses that media towards `server_host` can leave from, the best one first.

    The first is the one that the system routes from to the server (no packet is sent). Loopback addresses are used
    only when the server itself is reached over loopback; link-local ones never.
    """
    routed = [address for address in _routed_from(server_host, server_port) if address is not None]
    loopback = any(ipaddress.ip_address(address).is_loopback for address in routed)
    found = dict.fromkeys(routed)
    if not loopback:
        found.update(dict.fromkeys(_interface_addresses()))
    return [address for address in found if _usable(address, loopback)]


def _routed_from(host: str, port: int) -> list[str | None]:
    try:
        targets = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return [_source_address(family, target) for family, _, _, _, target in targets]


def _source_address(family: int, target: tuple[object, ...]) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _interface_addresses() -> list[str]:
    # A documentation address: connecting a UDP socket to it only asks the routing table.
    found = [
        _source_address(socket.AF_INET, ("192.0.2.1", 9)),
        _source_address(socket.AF_INET6, ("2001:db8::1", 9, 0, 0)),
    ]
    try:
        named = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_DGRAM)
    except OSError:
        named = []
    found += [str(entry[4][0]) for entry in named]
    return [address for address in found if address is not None]


def _usable(address: str, loopback: bool) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.is_unspecified or ip.is_link_local or ip.is_multicast:
        return False
    return loopback or not ip.is_loopback

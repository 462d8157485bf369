"""This machine's IP addresses, for the candidates of a media connection. Linux, macOS and Windows, no dependency."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

__all__ = ["local_addresses"]


async def local_addresses(server_host: str, server_port: int) -> list[str]:
    """Addresses that media towards `server_host` can leave from, the best one first.

    The first is the one that the system routes from to the server (no packet is sent). Loopback addresses are used
    only when the server itself is reached over loopback; link-local ones never.
    """
    targets = await _resolve(server_host, server_port)
    routed = [source for family, target in targets if (source := _source_address(family, target)) is not None]
    loopback = any(ipaddress.ip_address(address).is_loopback for address in routed)
    found = dict.fromkeys(routed)
    if not loopback:
        found.update(dict.fromkeys(await _interface_addresses()))
    return [address for address in found if _usable(address, loopback)]


async def _resolve(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    """What a name stands for, without holding up the loop; nothing for an unknown one."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host.partition("%")[0]).version == 6 else socket.AF_INET
        return [(family, (host, port))]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return [(family, target) for family, _, _, _, target in found]


def _source_address(family: int, target: tuple[object, ...]) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError:
        return None


async def _interface_addresses() -> list[str]:
    # A documentation address: connecting a UDP socket to it only asks the routing table.
    found = [
        _source_address(socket.AF_INET, ("192.0.2.1", 9)),
        _source_address(socket.AF_INET6, ("2001:db8::1", 9, 0, 0)),
    ]
    found += [str(target[0]) for _, target in await _resolve(socket.gethostname(), 0)]
    return [address for address in found if address is not None]


def _usable(address: str, loopback: bool) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.is_unspecified or ip.is_link_local or ip.is_multicast:
        return False
    return loopback or not ip.is_loopback

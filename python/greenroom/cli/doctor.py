"""`greenroom doctor`: what could keep calls from working on this machine, or with a server."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import os
import resource
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from greenroom.cli.api import Api, http_url
from greenroom.cli.output import console
from greenroom.errors import GreenroomError
from greenroom.wire.tokens import Claims, VideoGrants, encode_token

__all__ = ["Finding", "run"]

#: Seconds for each step that waits for someone.
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "good"; "note" where something is less than it could be; "bad" where calls will not work.
        advice: what to do about it; empty when it is good.
    """

    what: str
    level: str
    found: str
    advice: str = ""


async def run(url: str, key: str, secret: str) -> int:
    """Look at everything and print it; 1 when something is bad."""
    findings = [*machine(), await call_here()]
    if url:
        findings += await server(url, key, secret)
    table = Table(box=None, show_header=False, padding=(0, 1))
    marks = {"good": "[green]✓[/]", "note": "[yellow]![/]", "bad": "[red]✗[/]"}
    for finding in findings:
        table.add_row(marks[finding.level], finding.what, finding.found)
        if finding.advice:
            table.add_row("", "", f"[dim]{finding.advice}[/]")
    console.print(table)
    return int(any(finding.level == "bad" for finding in findings))


def machine() -> Iterator[Finding]:
    """The interpreter, the system's limits, the loopback interface and the programs that the demo can use."""
    yield Finding("python", "good", f"{sys.version.split()[0]}, {os.cpu_count()} cores")
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit >= 1024:
        yield Finding("open files", "good", f"at most {limit}")
    else:
        advice = f"`ulimit -n {most}` before starting a server: each participant takes a few"
        yield Finding("open files", "note", f"at most {limit}", advice)
    yield _socket_buffer()
    yield _loopback()
    yield _port()
    for program, use in (("ffmpeg", "the demo writes pictures instead of a film"), ("espeak-ng", "the demo hums")):
        if found := shutil.which(program):
            yield Finding(program, "good", found)
        else:
            yield Finding(program, "note", "not installed", f"without it {use}")


def _socket_buffer() -> Finding:
    path = Path("/proc/sys/net/core/rmem_max")
    size = int(path.read_text()) if path.exists() else 0
    if size >= 2_000_000 or not size:
        return Finding("socket buffer", "good", f"up to {size} bytes" if size else "unknown")
    advice = "`sysctl -w net.core.rmem_max=5000000` for servers with more than a few video publishers"
    return Finding("socket buffer", "note", f"up to {size} bytes", advice)


def _loopback() -> Finding:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
        try:
            one.bind(("127.0.0.1", 0))
            one.settimeout(1)
            one.sendto(b"greenroom", one.getsockname())
            one.recv(16)
        except OSError as error:
            advice = "a firewall or sandbox keeps this process from its own loopback interface"
            return Finding("UDP", "bad", f"does not work: {error}", advice)
    return Finding("UDP", "good", "works on the loopback interface")


def _port() -> Finding:
    with contextlib.closing(socket.socket()) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", 7880))
        except OSError:
            return Finding(
                "port 7880", "note", "is taken", "by a running server? `greenroom dev --port 0` takes another"
            )
    return Finding("port 7880", "good", "is free")


async def call_here() -> Finding:
    """A server in this process, joined by a client in this process: engine, ICE, DTLS and signalling."""
    from greenroom import rtc
    from greenroom.server import Server

    started = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE), Server(host="127.0.0.1", port=0, keys={"doctor": "doctor"}) as host:
            room = rtc.Room()
            try:
                await room.connect(host.url, host.token("doctor", "doctor"))
            finally:
                await room.disconnect()
    except TimeoutError:
        return Finding(
            "a call", "bad", f"not connected within {_PATIENCE:g} s", "`greenroom demo -v` shows where it stops"
        )
    except GreenroomError as error:
        return Finding("a call", "bad", str(error), "`greenroom demo -v` shows where it stops")
    return Finding("a call", "good", f"joined an own server in {(time.monotonic() - started) * 1000:.0f} ms")


async def server(url: str, key: str, secret: str) -> list[Finding]:
    """Whether a server answers, takes the key, and agrees on the time."""
    import aiohttp

    grants = VideoGrants(room_join=True, room="doctor")
    token = encode_token(Claims(identity="doctor", video=grants), key, secret, now=time.time(), lifetime=600)
    findings = []
    try:
        address = f"{http_url(url)}/rtc/validate"
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PATIENCE)) as session,
            session.get(address, params={"access_token": token}) as reply,
        ):
            await reply.read()
            date = reply.headers.get("Date")
    except (aiohttp.ClientError, TimeoutError) as error:
        return [Finding("server", "bad", f"{url} does not answer ({error or 'too slow'})", "is it running?")]
    except GreenroomError as error:
        return [Finding("server", "bad", str(error), "--url takes a server's address, like ws://localhost:7880")]
    findings.append(Finding("server", "good", f"{url} answers"))
    if date:
        findings.append(_clock(date))
    try:
        rooms = await Api(url, key, secret).call("RoomService/ListRooms", {}, VideoGrants(room_list=True))
        findings.append(Finding("key", "good", f"{key} is accepted, {len(rooms.get('rooms', []))} rooms are open"))
    except GreenroomError as error:
        advice = "--api-key and --api-secret must be a pair that the server was started with"
        findings.append(Finding("key", "bad", str(error), advice))
    return findings


def _clock(date: str) -> Finding:
    apart = abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time())
    if apart < 30:
        return Finding("clock", "good", "agrees with the server's")
    return Finding(
        "clock", "bad", f"{apart:.0f} s from the server's", "tokens will be refused: set one of the two clocks"
    )

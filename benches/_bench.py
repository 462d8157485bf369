"""What the measurements share: servers in processes of their own, children that print JSON, /proc, and tables.

The official server is run when LIVEKIT_SERVER names its binary; otherwise the official client is measured through our
server, and the table says so. The release build of the native module is used if there is one (`make bench` makes it).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from _probe import KEY, SECRET

ROOT = Path(__file__).resolve().parent.parent
SERVE = """
import asyncio, sys
from greenroom.server import Server
async def main():
    async with Server(host="127.0.0.1", port=0, keys={sys.argv[1]: sys.argv[2]}) as server:
        print(server.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""
LIVEKIT = """
port: {port}
bind_addresses: ["127.0.0.1"]
keys: {{{key}: {secret}}}
rtc: {{udp_port: {udp}, tcp_port: {tcp}, node_ip: 127.0.0.1, use_external_ip: false}}
logging: {{level: error}}
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One column: an SDK and the server it goes through."""

    sdk: str
    server: str

    @property
    def label(self) -> str:
        return self.sdk if self.sdk == self.server else f"{self.sdk} via {self.server}"


@dataclass(frozen=True, slots=True)
class RunningServer:
    url: str
    pid: int


def official_server() -> Path | None:
    """The binary that LIVEKIT_SERVER names."""
    named = os.environ.get("LIVEKIT_SERVER")
    return Path(named) if named and Path(named).is_file() else None


def sides() -> list[Side]:
    """Ours, and the official client through its own server if there is one."""
    return [Side("greenroom", "greenroom"), Side("livekit", "livekit" if official_server() else "greenroom")]


# -- processes ----------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Our environment, with the release build of the package in front if it was built."""
    library = release()
    if library is None:
        return dict(os.environ)
    overlay = ROOT / "target/bench/greenroom"
    overlay.mkdir(parents=True, exist_ok=True)
    for path in (ROOT / "python/greenroom").iterdir():
        target = library if path.name.startswith("_native.abi3") else path
        link = overlay / path.name
        if path.name == "__pycache__" or path.suffix == ".new" or (link.is_symlink() and link.readlink() == target):
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return {**os.environ, "PYTHONPATH": str(overlay.parent)}


def release() -> Path | None:
    """The release build; none if GREENROOM_BENCH is "development", which has the symbols that profilers want."""
    library = ROOT / "target/release/lib_native.so"
    return library if library.exists() and os.environ.get("GREENROOM_BENCH") != "development" else None


def child(program: str, *arguments: object, timeout: float = 180) -> dict[str, float]:
    """Run a program of this folder to its end and return the JSON object in the last line that it prints."""
    command = [sys.executable, str(ROOT / "benches" / program), *map(str, arguments)]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, timeout=timeout, check=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextlib.contextmanager
def server(kind: str) -> Iterator[RunningServer]:
    """`kind` is "greenroom" or "livekit"."""
    with ours() if kind == "greenroom" else livekit() as running:
        yield running


@contextlib.contextmanager
def ours() -> Iterator[RunningServer]:
    command = [sys.executable, "-c", SERVE, KEY, SECRET]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield RunningServer(process.stdout.readline().strip(), process.pid)
        finally:
            process.terminate()


@contextlib.contextmanager
def livekit() -> Iterator[RunningServer]:
    binary = official_server()
    if binary is None:
        raise SystemExit("LIVEKIT_SERVER does not name a livekit-server binary")
    ports = free_ports(3)
    config = LIVEKIT.format(port=ports[0], udp=ports[1], tcp=ports[2], key=KEY, secret=SECRET)
    with subprocess.Popen([binary, "--config-body", config], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{ports[0]}")
            yield RunningServer(f"ws://127.0.0.1:{ports[0]}", process.pid)
        finally:
            process.terminate()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing answers at {url}")


# -- /proc --------------------------------------------------------------------------------------------------------


def thread_cpu(pid: int | str = "self") -> dict[str, float]:
    """Seconds of processor time so far by thread name (threads of one name together)."""
    shares: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name = (task / "comm").read_text().strip()
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            shares[name] = shares.get(name, 0.0) + nanoseconds / 1e9
    return shares


# -- figures ------------------------------------------------------------------------------------------------------


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    return {name: statistics.median(each[name] for each in rounds if name in each) for name in rounds[0]}


def table(
    title: str, columns: Mapping[str, Mapping[str, float]], targets: Mapping[str, float], ratios: bool = True
) -> None:
    """One row per figure: each column's, how many times the last column's the first is, and the target for ours."""
    names = list(columns)
    print(f"\n{title} ({'release' if release() else 'development'} build)")
    print(f"{'':34}" + "".join(f"{name:>24}" for name in names) + f"{'ours/theirs':>14}{'target':>10}")
    for row in columns[names[0]]:
        values = [columns[name].get(row) for name in names]
        cells = "".join(f"{'-' if value is None else f'{value:.3g}':>24}" for value in values)
        first, last = values[0], values[-1]
        ratio = f"{first / last:.2f}" if ratios and first is not None and last and len(names) > 1 else ""
        target = f"{targets[row]:g}" if row in targets else ""
        print(f"{row:34}{cells}{ratio:>14}{target:>10}", flush=True)

"""How busy this machine is, or the share of it that is ours."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["CpuLoad"]

log = logging.getLogger("greenroom.agents")

_CGROUP = Path("/sys/fs/cgroup")


class CpuLoad:
    """The share of the processors' time that was used since the last call, 0 to 1, smoothed over a few calls.

    The processors are those of the machine; in a container with a limit they are what the limit allows, and with
    NUM_CPUS they are that many.

    Args:
        cgroup: where the container's limit and use are.
    """

    def __init__(self, cgroup: Path = _CGROUP) -> None:
        self._read = _reader(cgroup)
        self._last = self._read()
        self._load = 0.0

    def __call__(self) -> float:
        """Measure."""
        before, now = self._last, self._read()
        self._last = now
        total = now[1] - before[1]
        if total > 0:
            current = min(1.0, max(0.0, (now[0] - before[0]) / total))
            self._load += 0.4 * (current - self._load)
        return self._load


def _reader(cgroup: Path) -> Callable[[], tuple[float, float]]:
    """What gives busy and available processor time, both in the same unit, whichever it is."""
    limit = _container_limit(cgroup)
    count = _number_from_environment() or limit
    if count is None:
        return _of_machine
    use = cgroup / "cpu.stat" if limit is not None else None

    def of_share() -> tuple[float, float]:
        return (_container_use(use) if use is not None else _busy_seconds()), time.monotonic() * count

    return of_share


def _number_from_environment() -> float | None:
    text = os.environ.get("NUM_CPUS")
    if not text:
        return None
    try:
        if (count := float(text)) > 0:
            return count
    except ValueError:
        pass
    log.warning("NUM_CPUS=%r is no number of processors and is ignored", text)
    return None


def _container_limit(cgroup: Path) -> float | None:
    """How many processors a container may use; None = there is no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _container_use(use: Path) -> float:
    """Seconds that the container has computed."""
    for line in use.read_text().splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    return 0.0


def _of_machine() -> tuple[float, float]:
    try:
        busy, total = _ticks()
    except OSError:
        return time.process_time(), time.monotonic() * (os.cpu_count() or 1)
    return busy, total


def _busy_seconds() -> float:
    """Seconds that the machine has computed."""
    try:
        return _ticks()[0] / os.sysconf("SC_CLK_TCK")
    except OSError:
        return time.process_time()


def _ticks() -> tuple[int, int]:
    """The machine's busy and total time in ticks of the clock."""
    fields = [int(part) for part in Path("/proc/stat").read_bytes().split(b"\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)

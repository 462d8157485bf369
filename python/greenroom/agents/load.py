"""How busy this machine is."""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["CpuLoad"]


class CpuLoad:
    """The share of the processors' time that was used since the last call, 0 to 1, smoothed over a few calls."""

    def __init__(self) -> None:
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

    @staticmethod
    def _read() -> tuple[float, float]:
        """Busy and total time, in the same unit, whichever it is."""
        try:
            fields = [int(part) for part in Path("/proc/stat").read_bytes().split(b"\n", 1)[0].split()[1:9]]
        except OSError:
            cpus = float(os.cpu_count() or 1)
            return time.process_time(), time.monotonic() * cpus
        return sum(fields) - fields[3] - fields[4], sum(fields)

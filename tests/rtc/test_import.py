"""Importing the client is cheap: nothing is imported that only some programs need."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

before = resident()
import greenroom.rtc
grown = resident() - before
heavy = {"aiohttp", "numpy", "typer", "rich", "jwt", "google.protobuf.json_format", "greenroom.rtc._connection"}
print(f"{grown:.1f}", *sorted(heavy & set(sys.modules)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_importing_takes_less_than_30_mb_and_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    grown, *heavy = done.stdout.split()
    assert heavy == []
    assert float(grown) < 30

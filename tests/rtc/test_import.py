"""Importing the client is cheap: nothing is imported that only some programs need, nor what waits for a room."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Other people's, and our own that load them or that most programs do without.
LATER = {
    "aiohttp", "google.protobuf", "jwt", "livekit", "numpy", "rich", "typer",
    "greenroom.media.audio_mixer", "greenroom.media.audio_processing", "greenroom.media.audio_resampler",
    "greenroom.media.video", "greenroom.media.wav", "greenroom.protocol.client_streams", "greenroom.rtc._connection",
    "greenroom.rtc._dispatch", "greenroom.rtc.data_stream", "greenroom.rtc.data_track", "greenroom.rtc.e2ee",
    "greenroom.rtc.local_participant", "greenroom.rtc.rpc", "greenroom.rtc.synchronizer",
    "greenroom.rtc.transcription", "greenroom.rtc.video_source", "greenroom.rtc.video_stream",
    "greenroom.runtime.socket", "greenroom.wire._generated",
}  # fmt: skip
PROGRAM = """
import json, sys

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

before, memory = set(sys.modules), resident() if sys.platform == "linux" else 0
import greenroom.rtc
grown = resident() - memory if sys.platform == "linux" else 0
print(json.dumps([grown, sorted(set(sys.modules) - before)]))
"""


@pytest.fixture(scope="module")
def imported() -> tuple[float, set[str]]:
    """The MB and the modules that importing the client brings in."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    grown, modules = json.loads(done.stdout)
    return grown, set(modules)


def test_what_waits_until_it_is_used_is_not_imported(imported: tuple[float, set[str]]):
    assert LATER & imported[1] == set()


def test_few_modules_are_imported(imported: tuple[float, set[str]]):
    assert len(imported[1]) < 160
    assert len([name for name in imported[1] if name.startswith("greenroom")]) < 50


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_importing_takes_less_than_25_mb(imported: tuple[float, set[str]]):
    assert imported[0] < 25


def test_every_name_is_there_once_it_is_used():
    code = "import greenroom.rtc as r, greenroom.media as m; [getattr(p, n) for p in (r, m) for n in p.__all__]"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)

"""The `livekit` names can be greenroom's, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import greenroom.compat
greenroom.compat.install()
greenroom.compat.install()
from livekit import rtc
import livekit.rtc
from livekit.rtc import Room, TrackKind
from livekit.rtc.participant import LocalParticipant, PublishDataError
from livekit.rtc.audio_frame import AudioFrame
from livekit.rtc.e2ee import E2EEOptions, KeyProviderOptions
from livekit.rtc.version import __version__
from livekit import protocol
import greenroom.rtc
assert rtc.Room is Room is greenroom.rtc.Room
assert rtc.TrackKind.KIND_AUDIO == 1
assert E2EEOptions is greenroom.rtc.E2EEOptions and __version__ == __import__("greenroom").__version__
assert LocalParticipant is greenroom.rtc.LocalParticipant
assert AudioFrame is greenroom.rtc.AudioFrame
assert not any(name.startswith("livekit.rtc._") for name in __import__("sys").modules)
try:
    rtc.no_such_name
except AttributeError as error:
    assert "livekit.rtc" in str(error)
print("fine")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


def test_the_names_lead_to_greenroom():
    done = run("-c", PROGRAM)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_a_program_runs_unchanged(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text("import sys\nfrom livekit import rtc\nprint(rtc.Room.__module__, sys.argv[1:])\n")
    done = run("-m", "greenroom.compat", str(program), "a", "b")
    assert done.stdout == "greenroom.rtc.room ['a', 'b']\n", done.stderr
    assert run("-m", "greenroom.compat").returncode == 2


def test_the_two_are_not_mixed():
    code = "import sys, types; sys.modules['livekit.rtc'] = types.ModuleType('livekit.rtc')\n"
    done = run("-c", code + "import greenroom.compat; greenroom.compat.install()")
    assert "imported already" in done.stderr

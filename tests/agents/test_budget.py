"""What importing the agents brings in: nothing that costs start time or memory without being used."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from greenroom.server import Server

HEAVY = {
    "aiohttp", "argparse", "cryptography", "google.protobuf", "jwt", "livekit", "multiprocessing", "numpy",
    "prometheus_client", "rich", "typer", "watchfiles",
}  # fmt: skip
#: Ours, for running a worker or a job, for the server and its API, for video, files and encryption.
LATER = {
    "greenroom.agents.api", "greenroom.agents.executors", "greenroom.agents.forkserver", "greenroom.agents.health",
    "greenroom.agents.link", "greenroom.agents.plugin", "greenroom.agents.processes", "greenroom.agents.reload",
    "greenroom.agents.runner", "greenroom.agents.simulation", "greenroom.agents.testing",
    "greenroom.agents.worker_run", "greenroom.cli", "greenroom.media.video", "greenroom.media.wav",
    "greenroom.protocol.worker", "greenroom.rtc.data_track", "greenroom.rtc.e2ee", "greenroom.rtc.local_participant",
    "greenroom.runtime.socket", "greenroom.server", "greenroom.testing", "greenroom.wire._generated",
}  # fmt: skip

JOB = """
import asyncio, json, sys
from greenroom import rtc
from greenroom.agents.runner import import_for_joining

async def main(url, token):
    room = rtc.Room()
    await room.connect(url, token)
    source = rtc.AudioSource(48000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    await room.local_participant.publish_track(track)
    await source.capture_frame(rtc.AudioFrame(bytes(960), 48000, 1, 480))
    await room.disconnect()

import_for_joining()
before = set(sys.modules)
asyncio.run(main(*sys.argv[1:]))
print(json.dumps([sorted(set(sys.modules) - before), sorted(sys.modules)]))
"""


def test_importing_agents_imports_nothing_that_waits_until_it_is_used():
    code = "import sys, json; import greenroom.agents; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (HEAVY | LATER) & set(json.loads(done.stdout)) == set()


def test_importing_agents_imports_few_modules():
    code = "import sys; before = len(sys.modules); import greenroom.agents; print(len(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 165


@pytest.mark.loopback
async def test_a_job_that_joins_and_speaks_finds_everything_imported_and_needs_no_server_library():
    async with Server(host="127.0.0.1", port=0, keys={"devkey": "a secret that is long enough"}) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", JOB, server.url, server.token("agent", "lobby"), stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            output, _ = await child.communicate()
    later, modules = json.loads(output)
    assert later == []
    assert {"aiohttp", "numpy", "greenroom.server"} & set(modules) == set()

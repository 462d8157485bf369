"""An agent's program that is saved while it works on a livekit-server: its caller hears the next run.

The binary's path is in the environment variable LIVEKIT_SERVER; without it every test here is skipped.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_reload import dispatch, hears, started
from tests.interop.livekit_server import LivekitServer, livekit  # noqa: F401 - a fixture
from tests.interop.official import joined, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(150)]


async def test_a_saved_program_takes_over_its_jobs(livekit: LivekitServer, tmp_path: Path):  # noqa: F811
    async with joined(livekit, "ada") as ada, started(tmp_path, livekit.url) as program:
        await dispatch(livekit)
        agent = await hears(ada, 400)
        for frequency in (600, 800):
            program.save(frequency)
            assert (await hears(ada, frequency)).identity == agent.identity
        assert len(ada.room.remote_participants) == 1
        await until(lambda: program.noted_of("end", 600))
        begun = [words[1] for words in program.noted if words[0] == "begin"]
        assert begun == ["400", "600", "800"]

"""Workers that lose their server for long."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.agents.test_connections import survive

pytestmark = pytest.mark.soak

#: Seconds. A minute is longer than a client tries to come back, and than heartbeats take to notice silence.
OUTAGES = [float(each) for each in os.environ.get("GREENROOM_OUTAGES", "10").split(",")]


@pytest.mark.timeout(60 + 2 * max(OUTAGES))
async def test_workers_and_jobs_survive_outages():
    """All at once: each one cut, and each one stalled so that only silence tells. GREENROOM_OUTAGES=10,60 for more."""
    await asyncio.gather(*(survive(seconds, noticed=noticed) for seconds in OUTAGES for noticed in (True, False)))

"""What importing the agents brings in: nothing that costs start time or memory without being used."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "aiohttp", "argparse", "cryptography", "jwt", "multiprocessing", "numpy", "prometheus_client", "rich", "typer",
    "watchfiles", "greenroom.server", "greenroom.cli", "greenroom.agents.processes",
}  # fmt: skip


def test_importing_agents_imports_nothing_heavy():
    code = "import sys, json; import greenroom.agents; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY & set(json.loads(done.stdout)) == set()


def test_importing_agents_imports_few_modules():
    code = "import sys; before = len(sys.modules); import greenroom.agents; print(len(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 330

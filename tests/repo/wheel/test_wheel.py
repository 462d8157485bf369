"""The wheel as a user has it: alone in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

CALL = Path(__file__).parent / "call.py"


@pytest.fixture(scope="module")
def python(request, tmp_path_factory) -> Path:
    """The interpreter of a fresh environment with nothing but the wheel and what it asks for."""
    wheel = request.config.getoption("--wheel")
    if wheel is None:
        pytest.skip("no wheel to judge: `make test-wheel` builds one")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    interpreter = folder / "venv/bin/python"
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", wheel], check=True)
    return interpreter


def run(python: Path, *arguments: str | Path) -> str:
    """What the command prints, run where the source tree cannot be found."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-P", *arguments], cwd=python.parent, env=clean, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_call_is_made_with_the_wheel_alone(python):
    assert "heard 440" in run(python, CALL)


def test_it_brings_its_command_and_its_types(python):
    token = run(python, "-m", "greenroom", "token", "someone", "somewhere").strip()
    assert token.count(".") == 2
    site = Path(run(python, "-c", "import greenroom; print(greenroom.__path__[0])").strip())
    assert (site / "py.typed").exists() and (site / "_native.pyi").exists()


def test_a_plain_install_is_light(python):
    names = run(python, "-m", "pip", "list", "--format=freeze").split()
    packages = {name.split("==")[0].lower() for name in names} - {"pip", "setuptools"}
    assert "livekit" not in packages
    assert len(packages) <= 32, sorted(packages)

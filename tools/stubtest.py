"""Compares _native.pyi with the compiled module; tools/stubtest_allowed.txt lists what may differ, and why."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run stubtest over a copy of the stub and the module alone: the rest of the package has no stubs to judge."""
    package = ROOT / "python/greenroom"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "greenroom"
        copy.mkdir()
        (copy / "__init__.py").touch()
        (copy / "py.typed").touch()
        for name in ("_native.pyi", "_native.abi3.so"):
            (copy / name).symlink_to(package / name)
        command = [sys.executable, "-m", "mypy.stubtest", "greenroom._native"]
        command += ["--allowlist", str(ROOT / "tools/stubtest_allowed.txt"), "--ignore-missing-stub"]
        return subprocess.run(command, cwd=folder, env={"PYTHONPATH": folder, "MYPYPATH": folder}).returncode


if __name__ == "__main__":
    sys.exit(main())

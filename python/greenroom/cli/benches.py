"""Running the measurements of a source tree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from greenroom.cli.output import notes
from greenroom.errors import ConfigError

__all__ = ["run"]


def run(folder: Path, names: Sequence[str]) -> int:
    """Run benches/NAME.py for each name, or all; 0 when all of them ran.

    Raises:
        ConfigError: there are none, or none of that name.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if not found:
        raise ConfigError(f"no measurements in {folder}: run this in a source tree of greenroom, or give --folder")
    for name in names:
        if name not in found:
            raise ConfigError(f"there is no measurement {name!r}; there are {', '.join(found)}")
    failed = []
    for name in names or found:
        notes.rule(name)
        if subprocess.run([sys.executable, str(found[name])]).returncode:
            failed.append(name)
    if failed:
        notes.print(f"[red]failed[/] {', '.join(failed)}")
    return 1 if failed else 0

"""Creates .venv, installs what pyproject.toml names, and links the package into it: an editable install, no build."""

from __future__ import annotations

import subprocess
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
GROUPS = ("dev", "oracles", "oracles-agents")


def main() -> None:
    """Bring .venv up to date with pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if not (VENV / "bin/python").exists():
        venv.create(VENV, with_pip=True)
    subprocess.run([VENV / "bin/python", "-m", "pip", "install", "--quiet", *requirements(project)], check=True)
    link(project["project"])


def requirements(project: dict[str, Any]) -> list[str]:
    """Every requirement of a developer: the package's own, its extras' and the groups'."""
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    for group in GROUPS:
        wanted += project["dependency-groups"][group]
    return sorted(set(wanted))


def link(project: dict[str, Any]) -> None:
    """Make `import greenroom` find the source tree, with the metadata and the command an installed package has."""
    site = next((VENV / "lib").glob("python3*/site-packages"))
    for old in site.glob("greenroom-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    info = site / f"greenroom-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: greenroom\nVersion: {project['version']}\n")
    (info / "INSTALLER").write_text("greenroom-setup\n")
    entry_points = {"console_scripts": project["scripts"], **project.get("entry-points", {})}
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in names.items())
            for group, names in entry_points.items()
        )
    )
    (site / "greenroom.pth").write_text(f"{ROOT / 'python'}\n")
    command = VENV / "bin/greenroom"
    command.write_text(f"#!{VENV / 'bin/python'}\nfrom greenroom.cli import main\n\nmain()\n")
    command.chmod(0o755)


if __name__ == "__main__":
    main()

"""What the repo must not contain, and what its parts say of each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import greenroom

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_one_version_everywhere():
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    rust = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert python == rust == greenroom.__version__
    assert (
        f"## {python}" in (ROOT / "CHANGELOG.md").read_text() or "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    )


def test_the_terms_of_everything_that_is_compiled_in_are_shipped():
    done = subprocess.run([sys.executable, "tools/third_party.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    texts = (ROOT / "THIRD_PARTY_LICENSES").read_text()
    for library in ("libopus", "openh264 (Cisco)", "libvpx", "AWS-LC"):
        assert f"\n{library}\n" in texts, library
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]
    assert "THIRD_PARTY_LICENSES" in shipped


def test_lock_files_name_no_hosts():
    for lock in ROOT.glob("**/package-lock.json"):
        if "node_modules" not in lock.parts:
            assert "resolved" not in lock.read_text(), lock


def test_no_path_of_a_machine_is_written_down():
    machine = re.compile(rb"/(?:root|home/\w+)/\.?\w")
    for path in tracked():
        assert not machine.search(path.read_bytes()), path


def test_every_target_of_the_makefile_that_the_readme_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {one or other for one, other in named} <= targets


def test_links_of_the_documents_lead_somewhere():
    for document in tracked():
        if document.suffix == ".md":
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
                assert (document.parent / target).exists(), f"{document}: {target}"

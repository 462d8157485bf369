"""Writes THIRD_PARTY_LICENSES: whose code is compiled into the native module, and the terms of each.

`--check` compares the crates that it names with those of Cargo.lock instead of writing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "THIRD_PARTY_LICENSES"
#: C and C++ libraries inside of crates: the crate, the library, where its terms are.
BUNDLED = (
    ("opusic-sys", "libopus", "opus/COPYING"),
    ("openh264-sys2", "openh264 (Cisco)", "upstream/LICENSE"),
    ("aws-lc-sys", "AWS-LC", "aws-lc/LICENSE"),
)
LIBVPX = Path("/usr/share/doc/libvpx-dev/copyright")
#: The shortest of the terms that a crate may be had under comes first: they are what we take it under.
PREFERRED = ("LICENSE-MIT*", "LICENSE_MIT*", "LICENSE-ISC*", "LICENSE*", "LICENCE*", "COPYING*", "license*")
INTRODUCTION = """\
The native module of greenroom (greenroom/_native.abi3.so) contains the following libraries and crates.
Made by tools/third_party.py. greenroom itself is under the Apache License 2.0: see LICENSE.
"""


def main() -> int:
    """Write the file, or with --check say what it lacks."""
    packages = linked_packages()
    if "--check" in sys.argv[1:]:
        named = set(re.findall(r"^(\S+) \S+ \(", OUT.read_text(), re.MULTILINE))
        missing = sorted({package["name"] for package in packages} - named)
        if missing:
            print(f"{OUT.name} lacks {', '.join(missing)}: run python tools/third_party.py", file=sys.stderr)
        return 1 if missing else 0
    by_text: dict[str, list[str]] = {}
    for package in packages:
        title = f"{package['name']} {package['version']} ({package['license']})"
        by_text.setdefault(terms_of(package), []).append(title)
    folders = {package["name"]: Path(package["manifest_path"]).parent for package in packages}
    for crate, library, path in BUNDLED:
        by_text.setdefault((folders[crate] / path).read_text().strip(), []).append(library)
    by_text.setdefault(LIBVPX.read_text().strip(), []).append("libvpx")
    rule = "\n" + "=" * 100 + "\n"
    parts = ["\n".join(titles) + "\n" + "-" * 100 + "\n" + text + "\n" for text, titles in by_text.items()]
    OUT.write_text(INTRODUCTION + rule + rule.join(parts))
    print(f"{OUT.name}: {len(packages)} crates, {OUT.stat().st_size // 1024} kB")
    return 0


def linked_packages() -> list[dict[str, Any]]:
    """The crates that end up in the native module on Linux, sorted by name."""
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    reached: set[str] = set()
    waiting = [package["id"] for package in found["packages"] if package["name"] == "greenroom-binding"]
    while waiting:
        node = waiting.pop()
        if node in reached:
            continue
        reached.add(node)
        linked = [each for each in nodes[node]["deps"] if any(kind["kind"] is None for kind in each["dep_kinds"])]
        waiting += [each["pkg"] for each in linked]
    return sorted(
        (package for package in found["packages"] if package["id"] in reached and package["source"]),
        key=lambda package: str(package["name"]),
    )


def terms_of(package: dict[str, Any]) -> str:
    """The text of a crate's terms, or what it says of them where it has no text."""
    folder = Path(package["manifest_path"]).parent
    for pattern in PREFERRED:
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                return path.read_text(errors="replace").strip()
    return f"By {', '.join(package['authors']) or 'its authors'}, under {package['license']}; {package['repository']}"


if __name__ == "__main__":
    sys.exit(main())

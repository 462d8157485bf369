"""Builds the release wheel into dist/ and checks that it is self-contained and small."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
MOST_BYTES = 15 * 1024 * 1024
#: What every Linux has; anything else would have to be installed first.
SYSTEM = re.compile(r"^(libc|libm|libgcc_s|libpthread|libdl|librt|ld-linux[\w-]*)\.so")


def main() -> int:
    """Build, then say what is wrong with the result."""
    for old in DIST.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "maturin", "build", "--release", "--strip", "--locked", "--out", str(DIST)]
    subprocess.run(command, cwd=ROOT, check=True)
    (wheel,) = DIST.glob("*.whl")
    faults = [*name_faults(wheel), *content_faults(wheel)]
    for fault in faults:
        print(f"{wheel.name}: {fault}", file=sys.stderr)
    print(wheel)
    return 1 if faults else 0


def name_faults(wheel: Path) -> list[str]:
    """One wheel must do for every Python from 3.11 on."""
    return [] if "-cp311-abi3-" in wheel.name else ["is not an abi3 wheel for Python 3.11 and later"]


def content_faults(wheel: Path) -> list[str]:
    """The native module must be small and need nothing but the system's libraries; every package must be there."""
    faults = []
    with zipfile.ZipFile(wheel) as archive:
        sources = {str(path.relative_to(ROOT / "python")) for path in (ROOT / "python").rglob("*.py")}
        sources.add("greenroom/cli/web/index.html")
        missing = sorted(sources - set(archive.namelist()))
        faults += [f"lacks {', '.join(missing)}"] if missing else []
        terms = [name for name in archive.namelist() if name.endswith("/THIRD_PARTY_LICENSES")]
        faults += [] if terms else ["lacks the terms of the libraries in it"]
        (name,) = [name for name in archive.namelist() if name.endswith(".so")]
        size = archive.getinfo(name).file_size
        module = DIST / "unpacked" / Path(name).name
        module.parent.mkdir(exist_ok=True)
        module.write_bytes(archive.read(name))
    print(f"native module: {size / 1024 / 1024:.1f} MB, wheel: {wheel.stat().st_size / 1024 / 1024:.1f} MB")
    if size > MOST_BYTES:
        faults.append(f"native module has {size} bytes, the limit is {MOST_BYTES}")
    dynamic = subprocess.run(["readelf", "-d", str(module)], check=True, capture_output=True, text=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*?)\]", dynamic)
    faults += [f"needs {library}" for library in needed if not SYSTEM.match(library)]
    return faults


if __name__ == "__main__":
    sys.exit(main())

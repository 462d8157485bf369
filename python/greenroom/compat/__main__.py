"""`python -m greenroom.compat program.py arguments...`: run a program with the `livekit` names being greenroom's."""

import runpy
import sys
from pathlib import Path

from greenroom.compat import install


def main() -> int:
    """Run the program named on the command line."""
    if len(sys.argv) < 2:
        sys.stderr.write("usage: python -m greenroom.compat program.py [arguments...]\n")
        return 2
    install()
    sys.argv = sys.argv[1:]
    # As Python does for a script: what is imported from beside it is found.
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())

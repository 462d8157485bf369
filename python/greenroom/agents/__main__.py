"""`python -m greenroom.agents start agent.py`: run the worker that a file defines, whether or not it does so itself."""

from __future__ import annotations

import sys
from pathlib import Path

from greenroom.agents import cli
from greenroom.agents.loading import load
from greenroom.errors import ConfigError, GreenroomError

_USAGE = "usage: python -m greenroom.agents start|dev|connect|console|download-files [FILE] [OPTIONS]"
_FILES = ("main.py", "app.py", "agent.py", "app/main.py", "app/app.py", "app/agent.py")


def main() -> None:
    """Run the command line."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{_USAGE}\n")
        return
    command, *arguments = sys.argv[1:]
    try:
        file = Path(arguments.pop(0)) if arguments and not arguments[0].startswith("-") else _found()
        sys.argv[0] = str(file)
        cli.run_app(load(file, as_main=True).server, [command, *arguments])
    except GreenroomError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


def _found() -> Path:
    """The file that is meant when none is named."""
    for name in _FILES:
        if Path(name).is_file():
            return Path(name)
    raise ConfigError(f"name the agent's file: there is none of {', '.join(_FILES)} here")


if __name__ == "__main__":
    main()

"""The way in: builds the command line only when it is asked for, and turns errors into one line."""

from __future__ import annotations

import sys

from greenroom.errors import GreenroomError

__all__ = ["main"]


def main() -> None:
    """Run the command of this process; exits with its status."""
    from greenroom.cli.app import app
    from greenroom.cli.output import fail

    try:
        app()
    except GreenroomError as error:
        fail(str(error))
    except OSError as error:
        if not error.filename:
            raise
        fail(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        sys.exit(130)

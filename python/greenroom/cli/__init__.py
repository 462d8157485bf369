"""The `greenroom` command."""

from greenroom.cli.main import main

__all__ = ["main"]

"""What commands print: results to stdout, everything about the run to stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import NoReturn

from rich.console import Console

__all__ = ["console", "escaped", "fail", "log_to_json", "log_to_terminal", "notes"]

#: Results, for people and for pipes; without a terminal to ask, tables are as wide as they like.
console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
#: Progress, links and errors.
notes = Console(stderr=True, highlight=False)


def fail(message: str, status: int = 1) -> NoReturn:
    """Print one line saying what is wrong and what would be right, and exit."""
    notes.print(f"[bold red]error[/] {escaped(message)}", soft_wrap=True)
    sys.exit(status)


def log_to_terminal(level: int) -> None:
    """Readable, coloured logs on stderr."""
    from rich.logging import RichHandler

    handler = RichHandler(console=notes, show_path=False, rich_tracebacks=True, log_time_format="%H:%M:%S")
    logging.basicConfig(level=level, format="%(name)s  %(message)s", handlers=[handler], force=True)
    # It tells of every file, also of those that nobody waits for.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def log_to_json(level: int) -> None:
    """One JSON object per line on stderr, for machines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, exception, and what was passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for one record."""
        known = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in record.__dict__.items() if name not in known},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def escaped(text: str) -> str:
    """Text that `notes` and `console` print as it is."""
    from rich.markup import escape

    return escape(text)

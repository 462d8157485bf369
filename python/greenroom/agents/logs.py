"""Logs of workers and jobs: every line says which job and room it is about."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

from greenroom.agents.context import job_fields

__all__ = ["logger", "to_json", "to_terminal"]

logger = logging.getLogger("greenroom.agents")

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_KNOWN = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
#: Libraries whose details are of no use to who writes an agent.
_QUIET = ("asyncio", "aiohttp", "watchfiles")


def to_terminal(level: str) -> None:
    """Readable logs on stderr, coloured when it is a terminal."""
    _set_up(_TerminalFormatter(colour=sys.stderr.isatty() and not os.environ.get("NO_COLOR")), level)


def to_json(level: str) -> None:
    """One JSON object per line on stderr."""
    _set_up(_JsonFormatter(), level)


def _set_up(formatter: logging.Formatter, level: str) -> None:
    logging.addLevelName(5, "TRACE")
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class _TerminalFormatter(logging.Formatter):
    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        job = job_fields()
        where = f" [{job['job_id']} {job['room']}]" if job else ""
        level = f"{record.levelname:7}"
        if self._colour:
            level = f"\033[{_COLOURS.get(record.levelname, '0')}m{level}\033[0m"
            where = f"\033[36m{where}\033[0m" if where else ""
        text = f"{self.formatTime(record, '%H:%M:%S')} {level} {record.name}{where} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "name": record.name,
            "message": record.getMessage(),
            **job_fields(),
            **{name: value for name, value in record.__dict__.items() if name not in _KNOWN},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)

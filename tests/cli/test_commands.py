"""The commands as a shell runs them: what they print, and the one line that each mistake gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from greenroom.wire.tokens import decode_token

KEYS = {"key": "a-secret-of-more-than-thirty-two-bytes"}


def greenroom(
    *arguments: str, cwd: Path | None = None, stdin: IO[str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
    clean |= {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": KEYS["key"], "COLUMNS": "200", **environment}
    command = [sys.executable, "-m", "greenroom", *arguments]
    return subprocess.run(command, env=clean, cwd=cwd, stdin=stdin, capture_output=True, text=True, timeout=60)


def mistake(*arguments: str, cwd: Path | None = None, **environment: str) -> str:
    """The one line on stderr of a command that must fail and print nothing else."""
    done = greenroom(*arguments, cwd=cwd, **environment)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error ")
    return line


def test_a_token_says_what_was_asked_for():
    arguments = ["token", "ada", "salon", "--name", "Ada", "--attribute", "mood=calm", "--no-publish", "--hours", "2"]
    done = greenroom(*arguments)
    assert done.stderr == ""
    claims = decode_token(done.stdout.strip(), KEYS, now=time.time())
    assert (claims.identity, claims.name, dict(claims.attributes)) == ("ada", "Ada", {"mood": "calm"})
    assert claims.video is not None
    assert (claims.video.room, claims.video.can_publish, claims.video.can_subscribe) == ("salon", False, True)
    assert claims.expires_at == pytest.approx(time.time() + 7200, abs=60)


def test_mistakes_get_one_line_that_says_what_would_be_right():
    assert "name=value" in mistake("token", "ada", "salon", "--attribute", "mood")
    for hours in ("0", "-1", "nan", "1e300"):
        assert "longer" in mistake("token", "ada", "salon", "--hours", hours)
    assert "standard, " in mistake("token", "ada", "salon", "--kind", "robot")
    assert "ws://localhost:7880" in mistake("room", "--url", "localhost:7880", "list")


def test_a_server_that_cannot_listen_as_told_gets_one_line(tmp_path):
    assert "host must be an IP address" in mistake("dev", "--host", "localhost", "--port", "0")
    assert "not an address of this machine" in mistake("dev", "--host", "203.0.113.7", "--port", "0")
    assert "no file" in mistake("dev", "nowhere.py", "--port", "0")
    config = tmp_path / "greenroom.toml"
    for line, word in {"port = 70000": "port must be", 'advertise = ["here"]': "advertise must be"}.items():
        config.write_text(f'{line}\n[keys]\nkey = "secret"\n')
        assert word in mistake("serve", "--config", str(config))


def test_no_server_gets_one_line(unused_tcp_port):
    url = f"ws://127.0.0.1:{unused_tcp_port}"
    line = mistake("room", "--url", url, "list")
    assert url in line and "is it running" in line


def test_measurements_are_run_by_name_and_their_failure_is_told(tmp_path):
    (tmp_path / "benches").mkdir()
    (tmp_path / "benches/good.py").write_text("print('42 packets')")
    (tmp_path / "benches/bad.py").write_text("raise SystemExit(3)")
    (tmp_path / "benches/_shared.py").write_text("raise SystemExit(4)")
    done = greenroom("bench", "good", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "42 packets\n")
    done = greenroom("bench", cwd=tmp_path)
    assert done.returncode == 1 and "failed bad" in done.stderr
    assert "there are bad, good" in mistake("bench", "best", cwd=tmp_path)
    assert "source tree" in mistake("bench", "--folder", "nowhere", cwd=tmp_path)


def test_logs_for_machines_are_json_with_what_was_added(capsys):
    import logging

    from greenroom.cli.output import JsonFormatter

    formatter = JsonFormatter()
    record = logging.makeLogRecord({"name": "greenroom.server", "levelno": 20, "levelname": "INFO", "msg": "%s joined"})
    record.args = ("ada",)
    record.room = "salon"
    entry = json.loads(formatter.format(record))
    assert entry | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "greenroom.server",
        "message": "ada joined",
        "room": "salon",
    }


def test_times_in_logs_for_machines_have_milliseconds_and_their_zone():
    import logging
    from datetime import datetime

    from greenroom.agents.logs import _JsonFormatter
    from greenroom.cli.output import JsonFormatter

    record = logging.makeLogRecord({"created": 1795575440.0426, "msg": "joined"})
    for formatter in (JsonFormatter(), _JsonFormatter()):
        written = json.loads(formatter.format(record))["time"]
        assert written == "2026-11-25T02:57:20.042+00:00"
        assert datetime.fromisoformat(written).timestamp() == 1795575440.042


@pytest.mark.parametrize(("terminal", "wanted", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_logs_of_a_worker_are_coloured_on_terminals_that_want_it(terminal, wanted, coloured, capsys, monkeypatch):
    import logging
    import sys

    from greenroom.agents import logs

    if wanted:
        monkeypatch.setenv("NO_COLOR", wanted)
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.to_terminal("INFO")
        root.info("joined")
    finally:
        root.handlers[:], root.level = before[0], before[1]
    assert ("\033[" in capsys.readouterr().err) == coloured


def test_importing_the_command_costs_nothing_until_it_is_run():
    code = "import sys; import greenroom.cli; print({'typer', 'rich', 'aiohttp', 'numpy'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"

"""The documents name things that exist."""

from __future__ import annotations

import ast
import dataclasses
import re
import tomllib
from pathlib import Path

from greenroom.server import ServerOptions
from greenroom.server.config import options_from

ROOT = Path(__file__).parents[2]


def fences(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def test_settings_in_the_documents_are_the_servers():
    text = (ROOT / "docs/running.md").read_text()
    known = {field.name for field in dataclasses.fields(ServerOptions)}
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= known
    (example,) = fences(ROOT / "docs/running.md", "toml")
    assert options_from(tomllib.loads(example)).udp_port == 7881


def test_python_in_the_documents_is_python():
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for code in fences(document, "python"):
            compile(code, str(document), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

"""The documents name things that exist."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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


@pytest.mark.loopback
def test_the_example_of_the_readme_runs_as_printed(tmp_path):
    (code,) = fences(ROOT / "README.md", "python")
    program = tmp_path / "example.py"
    program.write_text(code)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"ada plays .*AudioFrame\(.*16000.*\n", done.stdout), done.stdout


def test_every_document_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text()
    pages = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md") if page.name != "README.md"]
    assert [str(page) for page in pages if f"({page})" not in index] == []


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs/decisions/0001-libraries.md").read_text().lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[^\w-]", each)[0] for each in python}
    for manifest in [ROOT / "Cargo.toml", *ROOT.glob("crates/*/Cargo.toml")]:
        tables = tomllib.loads(manifest.read_text())
        for table in ("dependencies", "build-dependencies"):
            names |= set(tables.get(table, {})) | set(tables.get("workspace", {}).get(table, {}))
    assert [name for name in sorted(names) if not name.startswith("greenroom-") and name not in page] == []


def test_python_in_the_documents_is_python():
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for code in fences(document, "python"):
            compile(code, str(document), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

"""The order of the layers, where the import linter cannot look: the native module and the Rust crates."""

from __future__ import annotations

import ast
import json
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python/greenroom"

#: What each crate may be built on.
CRATES = {
    "media": set(),
    "codec": {"media"},
    "peer": {"media"},
    "sfu": {"media"},
    "engine": {"media", "codec", "peer", "sfu"},
    "binding": {"media", "codec", "peer", "sfu", "engine"},
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, object]]:
    return {path.parent.name: tomllib.loads(path.read_text()) for path in (ROOT / "crates").glob("*/Cargo.toml")}


def test_crates_depend_downwards(manifests):
    assert manifests.keys() == CRATES.keys()
    for crate, manifest in manifests.items():
        own = {name.removeprefix("greenroom-") for name in manifest["dependencies"] if name.startswith("greenroom-")}
        assert own <= CRATES[crate], f"crates/{crate} may be built on {CRATES[crate]} only"


def test_only_the_binding_means_python(manifests):
    named = {crate for crate, manifest in manifests.items() for name in manifest["dependencies"] if "pyo3" in name}
    assert named == {"binding"}
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--no-deps", "--offline"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
    )
    direct = {
        package["name"]
        for package in metadata["packages"]
        if any(dependency["name"] == "pyo3" for dependency in package["dependencies"])
    }
    assert direct == {"greenroom-binding"}


def test_only_peer_knows_str0m(manifests):
    assert {crate for crate, manifest in manifests.items() if "str0m" in manifest["dependencies"]} == {"peer"}


def test_unsafe_stays_in_the_crates_that_need_it():
    allowed = ("codec/", "binding/", "media/src/video/kernels/")
    for path in (ROOT / "crates").glob("*/src/**/*.rs"):
        if "allow(unsafe_code)" in path.read_text():
            assert str(path.relative_to(ROOT / "crates")).startswith(allowed), path


def test_the_engine_never_asks_for_the_interpreter_lock():
    for path in (ROOT / "crates").glob("*/src/**/*.rs"):
        assert "Python::attach" not in path.read_text(), path


def test_only_the_door_imports_the_native_module():
    importers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("greenroom._native"))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "greenroom"
            and any(n.name == "_native" for n in node.names)
        )
        or (isinstance(node, ast.Import) and any(n.name.startswith("greenroom._native") for n in node.names))
    }
    assert importers == {"_engine.py"}


def test_tasks_are_made_in_one_place():
    """asyncio keeps only weak references to tasks: those that nobody owns vanish, and their errors with them."""
    makers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("create_task", "ensure_future")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("asyncio", "loop")
    }
    # The mixer is below runtime and keeps its one task itself.
    assert makers <= {"runtime/tasks.py", "media/audio_mixer.py"}

"""Names that are imported when they are used, in packages made for the purpose."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

INIT = """
from greenroom._lazy import when_used
from {name}.core import Core

with when_used(globals()):
    from {name}.rare import Rare
    from {name}.rare import Rare as Seldom
    from {name} import part

__all__ = ["Core", "Rare"]
"""

Make = Callable[..., object]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Write a package and import it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def write(init: str = INIT, **modules: str) -> object:
        name = f"lazy_{len(made)}_{tmp_path.name}".replace("-", "_")
        made.append(name)
        (tmp_path / name).mkdir()
        for module, text in {"core": "class Core: ...", "rare": "class Rare: ...", "part": "", **modules}.items():
            (tmp_path / name / f"{module}.py").write_text(text.format(name=name))
        (tmp_path / name / "__init__.py").write_text(init.format(name=name))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for name in [each for each in sys.modules if each.partition(".")[0] in made]:
        del sys.modules[name]


def loaded(package, module: str) -> bool:
    return f"{package.__name__}.{module}" in sys.modules


def test_what_is_in_the_block_is_imported_when_it_is_used(make: Make):
    package = make()
    assert loaded(package, "core") and not loaded(package, "rare")
    rare = package.Rare
    assert loaded(package, "rare") and rare is sys.modules[f"{package.__name__}.rare"].Rare
    assert package.Seldom is rare and package.Rare is rare
    assert vars(package)["Rare"] is rare
    assert not loaded(package, "part")
    assert package.part is sys.modules[f"{package.__name__}.part"]


def test_from_imports_and_stars_work_too(make: Make):
    package = make()
    names: dict[str, object] = {}
    exec(f"from {package.__name__} import Rare", names)
    assert names["Rare"] is package.Rare
    exec(f"from {make().__name__} import *", names)
    assert names["Rare"] is not package.Rare and names["Rare"].__name__ == "Rare"


def test_what_does_not_exist_is_said_as_ever_and_dir_knows_all_names(make: Make):
    package = make()
    with pytest.raises(AttributeError, match=r"has no attribute 'Rar'") as raised:
        package.Rar  # noqa: B018
    assert raised.value.name == "Rar"
    assert {"Core", "Rare", "Seldom"} <= set(dir(package))
    with pytest.raises(ImportError, match="cannot import name 'Rar'"):
        exec(f"from {package.__name__} import Rar")
    assert not loaded(package, "rare")


def test_a_mistake_in_the_module_is_raised_where_the_name_is_used_and_each_time(make: Make):
    package = make(rare="raise LookupError('broken')")
    for _ in range(2):
        with pytest.raises(LookupError, match="broken"):
            package.Rare  # noqa: B018


def test_a_failing_block_leaves_importing_as_it_was(make: Make):
    before = __import__
    with pytest.raises(ZeroDivisionError):
        make(INIT.replace("    from {name}.rare import Rare as Seldom", "    1 / 0"))
    assert __import__ is before


def test_what_other_threads_import_meanwhile_is_imported(make: Make, tmp_path: Path):
    (tmp_path / "somewhere_else.py").write_text(
        "from json.decoder import JSONDecoder\nassert isinstance(JSONDecoder, type)"
    )
    init = """
from greenroom._lazy import when_used
import threading

with when_used(globals()):
    thread = threading.Thread(target=exec, args=("import somewhere_else", {{"__name__": "elsewhere"}}))
    thread.start()
    thread.join()
    from {name}.rare import Rare
"""
    package = make(init)
    assert sys.modules.pop("somewhere_else").JSONDecoder
    assert not loaded(package, "rare")
    assert package.Rare.__name__ == "Rare"

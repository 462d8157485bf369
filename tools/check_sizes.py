"""Keeps modules and functions small: tools/sizes.toml has the limits, and each exception with its reason.

A line counts when it holds code or a comment; blank lines and docstrings (doc comments in Rust) are free. Rust unit
tests (`mod tests` at a file's end) and test files do not count.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMITS = tomllib.loads((ROOT / "tools/sizes.toml").read_text())


@dataclass(frozen=True, slots=True)
class Excess:
    """Something over its limit: "path" is a module, "path::name" a function or class of it."""

    where: str
    what: str
    size: int
    limit: int

    def __str__(self) -> str:
        return f"{self.where}: {self.size} {self.what}, the limit is {self.limit}"


def main() -> int:
    """Report every excess without an exception, and every exception that is no longer needed."""
    found = [*python_excesses(), *rust_excesses()]
    allowed: dict[str, str] = LIMITS["exceptions"]
    bad = [excess for excess in found if excess.where not in allowed]
    for excess in bad:
        print(excess)
    stale = sorted(allowed.keys() - {excess.where for excess in found})
    for where in stale:
        print(f"{where}: within its limits now, take its exception out of tools/sizes.toml")
    return 1 if bad or stale else 0


def python_excesses() -> Iterator[Excess]:
    """Modules, functions and classes of python/ and tools/ that are too large."""
    limits: dict[str, int] = LIMITS["python"]
    for path in sorted([*(ROOT / "python").rglob("*.py"), *(ROOT / "tools").glob("*.py")]):
        text = path.read_text()
        tree = ast.parse(text)
        counted = _python_lines(text, tree)
        name = str(path.relative_to(ROOT))
        if len(counted) > limits["module_lines"]:
            yield Excess(name, "lines", len(counted), limits["module_lines"])
        for qualified, node in _definitions(tree):
            where = f"{name}::{qualified}"
            if isinstance(node, ast.ClassDef):
                attributes = len(_attributes(node))
                if attributes > limits["class_attributes"]:
                    yield Excess(where, "attributes", attributes, limits["class_attributes"])
                continue
            lines = sum(1 for line in counted if node.lineno <= line <= (node.end_lineno or node.lineno))
            if lines > limits["function_lines"]:
                yield Excess(where, "lines", lines, limits["function_lines"])
            positional = [arg for arg in node.args.posonlyargs + node.args.args if arg.arg not in ("self", "cls")]
            if len(positional) > limits["positional_parameters"]:
                yield Excess(where, "positional parameters", len(positional), limits["positional_parameters"])


def _python_lines(text: str, tree: ast.Module) -> set[int]:
    """Numbers of the lines that count."""
    free: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                free.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return {number for number, line in enumerate(text.splitlines(), 1) if line.strip() and number not in free}


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield f"{prefix}{node.name}", node
            yield from _definitions(node, f"{prefix}{node.name}.")


def _attributes(node: ast.ClassDef) -> set[str]:
    """What instances carry: fields of a dataclass are its face and do not count, `self.x = ...` does."""
    return {
        target.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Assign | ast.AnnAssign)
        for target in (inner.targets if isinstance(inner, ast.Assign) else [inner.target])
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    }


FUNCTION = re.compile(r"^(\s*)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe |extern \"C\" )*fn (\w+)")


def rust_excesses() -> Iterator[Excess]:
    """Modules and functions of crates/ that are too large; rustfmt's indentation tells where a function ends."""
    limits: dict[str, int] = LIMITS["rust"]
    for path in sorted((ROOT / "crates").glob("*/src/**/*.rs")):
        if path.stem == "tests":
            continue
        name = str(path.relative_to(ROOT))
        lines = path.read_text().split("\n#[cfg(test)]\nmod tests {")[0].splitlines()
        counted = [line for line in lines if _counts(line)]
        if len(counted) > limits["module_lines"]:
            yield Excess(name, "lines", len(counted), limits["module_lines"])
        for function, size in _rust_functions(lines):
            if size > limits["function_lines"]:
                yield Excess(f"{name}::{function}", "lines", size, limits["function_lines"])


def _counts(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith(("///", "//!"))


def _rust_functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    for start, line in enumerate(lines):
        if not (match := FUNCTION.match(line)):
            continue
        indent, function = match.groups()
        size = 0
        for inner in lines[start:]:
            size += _counts(inner)
            if inner == f"{indent}}}" or (size == 1 and inner.rstrip().endswith(("}", ";"))):
                break
        yield function, size


if __name__ == "__main__":
    sys.exit(main())

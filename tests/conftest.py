"""Every test belongs to one tier, by its mark or else by its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

TIERS = ("unit", "loopback", "interop", "soak")
TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--wheel FILE`: the wheel that tests/repo/wheel installs and judges."""
    parser.addoption("--wheel", type=Path, default=None, help="the wheel that tests/repo/wheel judges")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has no tier: interop/ is interop, everything else is unit."""
    for item in items:
        if any(item.get_closest_marker(tier) for tier in TIERS):
            continue
        folders = item.path.relative_to(TESTS).parts
        item.add_marker("interop" if folders[0] == "interop" else "unit")

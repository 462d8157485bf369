"""The programs in docs/agents.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greenroom.agents import loading

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_program_of_the_page_is_a_worker(tmp_path: Path, text: str):
    file = tmp_path / "agent.py"
    file.write_text(text)
    loading.load(file).server.options.validate_config(True)


def test_the_page_has_programs():
    assert len(PROGRAMS) == 2

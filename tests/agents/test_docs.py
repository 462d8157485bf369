"""The programs in docs/agents.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greenroom.agents import loading

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
PROGRAMS = [text for text in EXAMPLES if "cli.run_app" in text]


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_program_of_the_page_is_a_worker(tmp_path: Path, text: str):
    file = tmp_path / "agent.py"
    file.write_text(text)
    loading.load(file).server.options.validate_config(True)


@pytest.mark.parametrize("text", [text for text in EXAMPLES if text not in PROGRAMS])
def test_another_example_of_the_page_runs(text: str):
    exec(text, {})


def test_the_page_has_programs():
    assert (len(PROGRAMS), len(EXAMPLES)) == (3, 4)

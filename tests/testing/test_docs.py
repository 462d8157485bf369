"""Every program on the page about testing is a test that passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.loopback
pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


@pytest.mark.timeout(120)
def test_the_programs_of_the_page_pass(pytester: pytest.Pytester):
    programs = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(programs) == 5
    for number, program in enumerate(programs):
        (pytester.path / f"test_program_{number}.py").write_text(program)
    done = pytester.runpytest_subprocess("-o", "asyncio_mode=auto")
    done.assert_outcomes(passed=6)

"""The browser of this folder's tests: one process for the session, fresh pages for each test."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio

from greenroom.server import Server
from tests.interop.browser.chromium import Chromium, Page

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def page_script() -> Path:
    """page.ts with livekit-client in one file."""
    subprocess.run(["npm", "run", "--silent", "build"], cwd=HERE, check=True)
    return HERE / "dist/page.js"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser process."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.fail("no Chromium: install it with `make setup`")
    with Chromium(executable) as browser:
        yield browser


@pytest_asyncio.fixture
async def new_page(chromium: Chromium, page_script: Path) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """A maker of pages."""
    async with chromium.pages(page_script) as page:
        yield page


KEYS = {"testkey": "a-secret-of-more-than-thirty-two-bytes"}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    """Our server on free ports."""
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as running:
        yield running


@pytest.fixture(params=["greenroom.rtc", "livekit.rtc"])
def sdk(request: pytest.FixtureRequest) -> ModuleType:
    """The Python end: our SDK, then the official one."""
    return importlib.import_module(request.param)


@pytest.fixture(params=[True, False], ids=["single", "dual"])
def single(request: pytest.FixtureRequest) -> bool:
    """Whether clients use one connection for both directions, or two."""
    return bool(request.param)

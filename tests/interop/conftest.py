"""A server of ours per test; nothing of it may be left over afterwards."""

import asyncio
import sys

import pytest

from greenroom.server import Server

KEYS = {"devkey": "a secret that is long enough to be one"}


@pytest.fixture
async def server():
    before = asyncio.all_tasks()
    async with Server(host="127.0.0.1", port=0, keys=KEYS) as running:
        yield running
    assert not running_tasks(before)


def running_tasks(before):
    """Tasks of ours that were not there before."""
    return [each for each in asyncio.all_tasks() - before if "greenroom" in repr(each.get_coro())]


def pytest_sessionfinish():
    """End the official client's threads while Python can still be called back by them."""
    module = sys.modules.get("livekit.rtc._ffi_client")
    if module is not None and module.FfiClient._instance is not None:
        module.FfiClient._instance._dispose()

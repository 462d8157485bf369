"""The page beside the server."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from greenroom.cli.playground import PAGE, playground

pytestmark = pytest.mark.loopback


async def test_the_page_and_its_parts_are_served_and_nothing_else():
    if not PAGE.exists():
        pytest.skip("the page is not built: `make playground`")
    async with playground("127.0.0.1") as page, aiohttp.ClientSession() as session:
        assert page is not None
        async with session.get(page.address) as reply:
            text = await reply.text()
            assert (reply.status, reply.content_type) == (200, "text/html")
        for part in ("page.js", "index.css"):
            assert part in text
            async with session.get(page.address + part) as reply:
                assert reply.status == 200
        for other in ("..%2fplayground.py", "../playground.py", "none.js"):
            async with session.get(page.address + other) as reply:
                assert reply.status in (403, 404)


async def test_a_link_carries_server_and_token_where_no_server_sees_them():
    if not PAGE.exists():
        pytest.skip("the page is not built: `make playground`")
    async with playground("127.0.0.1") as page:
        assert page is not None
        parts = urlsplit(page.link("ws://127.0.0.1:7880", "a.b+c"))
    assert parts.query == "" and parts.path == "/"
    assert parse_qs(parts.fragment) == {"url": ["ws://127.0.0.1:7880"], "token": ["a.b+c"]}

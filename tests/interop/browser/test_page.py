"""The harness itself: what the page makes, the page can judge."""

from __future__ import annotations

import pytest

from tests.interop.browser.chromium import PageError


async def test_a_page_has_the_clients_api_and_says_what_went_wrong(new_page):
    page = await new_page()
    assert await page.evaluate("typeof greenroom.connect") == "function"
    with pytest.raises(PageError, match="no publication TR_none"):
        await page.call("setSubscribed", "TR_none", True)


async def test_pages_are_apart(new_page):
    one, other = await new_page(), await new_page()
    await one.evaluate("localStorage.setItem('who', 'one')")
    assert await other.evaluate("localStorage.getItem('who')") is None


async def test_connecting_to_nothing_fails_with_the_clients_words(new_page, unused_tcp_port):
    page = await new_page()
    with pytest.raises(PageError, match="ConnectionError"):
        await page.call("connect", f"ws://127.0.0.1:{unused_tcp_port}", "no.token.here")

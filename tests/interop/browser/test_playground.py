"""The playground page, used as a person would."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import rtc
from greenroom.cli.playground import PAGE, playground
from tests.interop.browser.judge import joined, publishing


@pytest.fixture
async def at():
    """The playground's address."""
    if not PAGE.exists():
        pytest.skip("the page is not built: `make playground`")
    async with playground("127.0.0.1") as page:
        yield page


async def shown(page, text: str) -> None:
    """Return when the page shows that text somewhere."""
    expression = f"""new Promise((done) => {{
        const look = () => document.body.innerText.includes({text!r}) ? done() : setTimeout(look, 50);
        look();
    }})"""
    async with asyncio.timeout(20):
        await page.evaluate(expression)


async def test_a_link_joins_shows_who_is_there_and_lets_them_talk(new_page, server, at, tmp_path):
    async with joined(rtc, server.url, server.token("ada", "salon")) as room:
        async with publishing(rtc, room, colour=(30, 90, 200), frequency=440):
            page = await new_page(at.link(server.url, server.token("guest", "salon")))
            await shown(page, "salon, as guest")
            await shown(page, "ada")
            await shown(page, "VP8 640x480")
            said = asyncio.create_task(room.wait_for("data_received", timeout=10))
            await page.evaluate("words.value = 'good evening'; say.requestSubmit()")
            packet = await said
            assert (packet.data, packet.participant.identity) == (b"good evening", "guest")
            await room.local_participant.publish_data("good morning", topic="chat")
            await shown(page, "good morning")
            await page.evaluate("microphone.click()")
            await room.wait_for("track_subscribed", timeout=20)
            (tmp_path / "playground.png").write_bytes(await page.screenshot())
    await shown(page, "ada has left")
    await page.evaluate("leave.click()")
    await shown(page, "Join")


async def test_a_wrong_token_is_told(new_page, server, at):
    page = await new_page(at.link(server.url, "not.a.token"))
    await shown(page, "invalid")

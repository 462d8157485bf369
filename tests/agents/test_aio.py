"""The helpers of `utils`: channels, intervals, and the small ones."""

from __future__ import annotations

import asyncio
import logging

import pytest

from greenroom.agents import NOT_GIVEN, utils
from greenroom.agents.utils import aio


async def test_a_channel_gives_what_was_put_in_and_ends_when_it_is_closed():
    channel: aio.Chan[int] = aio.Chan(2)
    received: list[int] = []

    async def receive() -> None:
        async for value in channel:
            received.append(value)

    receiving = asyncio.create_task(receive())
    for value in range(5):
        await channel.send(value)
    channel.close()
    await receiving
    assert received == list(range(5)) and channel.closed and channel.empty()
    with pytest.raises(aio.ChanClosed):
        await channel.send(5)
    with pytest.raises(aio.ChanClosed):
        await channel.recv()


async def test_a_full_channel_lets_wait_or_says_so():
    channel: aio.Chan[str] = aio.Chan(1)
    with pytest.raises(aio.ChanEmpty):
        channel.recv_nowait()
    channel.send_nowait("first")
    with pytest.raises(aio.ChanFull):
        channel.send_nowait("second")
    sending = asyncio.create_task(channel.send("second"))
    await asyncio.sleep(0)
    assert (channel.qsize(), channel.full(), sending.done()) == (1, True, False)
    assert [await channel.recv(), await channel.recv()] == ["first", "second"]
    await sending


async def test_closing_wakes_who_waits():
    full: aio.Chan[int] = aio.Chan(1)
    full.send_nowait(1)
    empty: aio.Chan[int] = aio.Chan()
    waiting = [asyncio.create_task(full.send(2)), asyncio.create_task(empty.recv())]
    await asyncio.sleep(0)
    full.close()
    empty.close()
    assert [type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)] == [aio.ChanClosed] * 2
    assert await full.recv() == 1


async def test_a_cancelled_receiver_leaves_its_turn_to_the_next():
    channel: aio.Chan[int] = aio.Chan()
    first, second = asyncio.create_task(channel.recv()), asyncio.create_task(channel.recv())
    await asyncio.sleep(0)
    channel.send_nowait(7)
    first.cancel()
    assert await second == 7
    assert first.cancelled()


async def test_cancelled_tasks_are_waited_for():
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("slow")

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    await aio.cancel_and_wait(task)
    await aio.cancel_and_wait()
    assert ended == ["slow"] and task.cancelled()


async def test_an_interval_ticks_at_once_and_then_at_its_rate():
    loop = asyncio.get_running_loop()
    begun, counts = loop.time(), []
    async for count in utils.aio.interval(0.01):
        counts.append(count)
        if count == 3:
            break
    assert counts == [0, 1, 2, 3] and loop.time() - begun >= 0.03


def test_values_come_from_the_environment(monkeypatch, caplog):
    monkeypatch.setenv("FIRST", "")
    monkeypatch.setenv("SECOND", "2")
    monkeypatch.setenv("THIRD", "three")
    assert utils.resolve_env_var("given", "SECOND") == "given"
    assert utils.resolve_env_var(NOT_GIVEN, "FIRST", "SECOND") == "2"
    assert utils.resolve_env_var(NOT_GIVEN, "FIRST", default="none") == "none"
    assert [utils.resolve_env_int(name, 5) for name in ("FIRST", "SECOND", "THIRD")] == [5, 2, 5]
    assert "THIRD='three'" in caplog.text


async def test_exceptions_are_logged_and_go_on(caplog):
    log = logging.getLogger("mine")

    @utils.log_exceptions("it broke", log)
    def plain() -> None:
        raise LookupError("plainly")

    @utils.log_exceptions(logger=log)
    async def later() -> None:
        raise LookupError("later")

    with pytest.raises(LookupError):
        plain()
    with pytest.raises(LookupError):
        await later()
    assert [record.name for record in caplog.records] == ["mine", "mine"]
    assert caplog.records[0].getMessage() == "it broke" and "later failed" in caplog.records[1].getMessage()


def test_small_things():
    assert utils.shortuuid("job-") != utils.shortuuid("job-") and len(utils.shortuuid("job-")) == 16
    assert not utils.is_given(NOT_GIVEN) and utils.is_given(None)
    assert abs(utils.time_ms() - utils.time_ms()) < 60_000 and utils.nodename()

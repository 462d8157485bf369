"""Tasks that belong to somebody, addresses of this machine, and the way from the engine to the loop."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import socket
import threading

import pytest

from greenroom import _engine
from greenroom.runtime.addresses import local_addresses
from greenroom.runtime.bridge import bridge_for_loop
from greenroom.runtime.tasks import TaskSet

log = logging.getLogger("test")


# -- tasks -------------------------------------------------------------------------------------------------------------


async def test_closing_ends_every_task_and_waits_for_it():
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    tasks = TaskSet(log)
    for number in range(3):
        tasks.spawn(work(number), name="work")
    await asyncio.sleep(0)
    await tasks.close()
    assert sorted(ended) == [0, 1, 2] and len(tasks) == 0


async def test_a_failure_is_logged_once_and_a_cancellation_is_not(caplog):
    async def fail() -> None:
        raise LookupError("lost")

    tasks = TaskSet(log)
    tasks.spawn(fail(), name="failing")
    tasks.spawn(asyncio.sleep(60), name="sleeping")
    await tasks.close(grace=0.01)
    assert [record.getMessage() for record in caplog.records] == ["failing failed"]


async def test_a_task_can_close_its_own_set():
    tasks = TaskSet(log)
    reached = asyncio.Event()

    async def closer() -> None:
        await tasks.close()
        reached.set()

    tasks.spawn(closer(), name="closer")
    other = tasks.spawn(asyncio.sleep(60), name="other")
    async with asyncio.timeout(5):
        await reached.wait()
    assert other.cancelled()


async def test_within_the_grace_tasks_end_by_themselves():
    tasks = TaskSet(log)
    go = asyncio.Event()
    quick = tasks.spawn(go.wait(), name="quick")
    asyncio.get_running_loop().call_soon(go.set)
    await tasks.close(grace=30)
    assert quick.result() is True


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1")])
async def test_over_loopback_only_loopback_is_offered(host: str, expected: str):
    addresses = await local_addresses(host, 7880)
    assert expected in addresses
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses)


async def test_for_a_server_elsewhere_no_loopback_is_offered():
    for address in await local_addresses("192.0.2.1", 7880):
        ip = ipaddress.ip_address(address)
        assert not ip.is_loopback and not ip.is_unspecified and not ip.is_link_local


async def test_a_name_that_does_not_exist_still_gives_the_machines_own_addresses():
    assert await local_addresses("no-such-host.invalid", 7880) == await local_addresses("no-such-host.invalid", 1)


async def test_a_slow_name_service_does_not_hold_up_the_loop(monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    def getaddrinfo(*args: object, **kwargs: object) -> list[object]:
        asked.set()
        answer.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asking = asyncio.ensure_future(local_addresses("slow.example", 7880))
    while not asked.is_set():  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0)
    assert not asking.done()
    answer.set()
    await asking


# -- bridge ------------------------------------------------------------------------------------------------------------


@pytest.mark.loopback
class TestBridge:
    def test_each_loop_has_its_own_engine_which_ends_with_it(self):
        before = threading.active_count()

        async def use() -> object:
            assert bridge_for_loop() is bridge_for_loop()
            return bridge_for_loop().engine

        engines = {id(asyncio.run(use())) for _ in range(3)}
        assert engines
        gc.collect()
        assert threading.active_count() == before

    async def test_a_bound_method_does_not_keep_its_object_alive(self):
        bridge = bridge_for_loop()

        class Listener:
            def hear(self, event: _engine.Event) -> None:
                raise AssertionError

        listener = Listener()
        handle = _engine.new_handle()
        bridge.attach(handle, listener.hear)
        import weakref

        watched = weakref.ref(listener)
        del listener
        gc.collect()
        assert watched() is None
        bridge.detach(handle)
        bridge.detach(handle)

    async def test_a_closed_engine_is_replaced(self):
        first = bridge_for_loop()
        first.close()
        first.close()
        second = bridge_for_loop()
        assert second is not first and not second.closed
        assert second.engine.statistics()["peers"] == 0

    async def test_a_failing_listener_does_not_stop_the_others(self, caplog):
        bridge = bridge_for_loop()
        heard = asyncio.Event()
        handles = [_engine.new_handle(), _engine.new_handle()]
        sources = [_engine.AudioSource(bridge.engine, handle, 48000, 1, 0.05) for handle in handles]

        def fail(event: _engine.Event) -> None:
            raise LookupError("lost")

        bridge.attach(handles[0], fail)
        bridge.attach(handles[1], lambda event: heard.set())
        for source in sources:
            source.notify_drained(1)
        async with asyncio.timeout(10):
            await heard.wait()
        assert "handling Drained failed" in caplog.text
        for source in sources:
            source.close()

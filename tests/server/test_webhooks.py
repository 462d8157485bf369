"""Webhooks: signed, in order, tried again, bounded; and a receiver that does not answer holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from greenroom.server import Server, webhooks
from greenroom.server.options import Webhooks
from greenroom.wire import messages as m
from greenroom.wire.webhooks import decode_webhook
from tests.server.conftest import KEYS, raw_join, until

pytestmark = pytest.mark.loopback


class Receiver:
    """Answers webhooks as it likes, and remembers those it has answered well."""

    def __init__(self, answer: Callable[[Receiver, m.WebhookEvent], Awaitable[int]]) -> None:
        self.answer = answer
        self.calls: list[m.WebhookEvent] = []
        self.taken: list[m.WebhookEvent] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        event = decode_webhook(body, request.headers["Authorization"], dict(KEYS), now=time.time())
        self.calls.append(event)
        status = await self.answer(self, event)
        if status == 200:
            self.taken.append(event)
        return web.Response(status=status)


@contextlib.asynccontextmanager
async def receiving(answer: Callable[[Receiver, m.WebhookEvent], Awaitable[int]]) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def accept(receiver: Receiver, event: m.WebhookEvent) -> int:
    return 200


async def hang(receiver: Receiver, event: m.WebhookEvent) -> int:
    await asyncio.Event().wait()
    return 200


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_FIRST_DELAY", 0.01)
    monkeypatch.setattr(webhooks, "_DRAIN_TIMEOUT", 0.1)


def at(*urls: str) -> Webhooks:
    return Webhooks(urls=urls)


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_a_receiver_that_stumbles_is_asked_again_and_the_order_stays(status: int):
    async def stumble(receiver: Receiver, event: m.WebhookEvent) -> int:
        return status if len(receiver.calls) % 3 else 200

    async with receiving(stumble) as receiver, Server(keys=KEYS, webhooks=at(receiver.url)) as server:
        async with raw_join(server, "ada") as ada:
            await ada.receive("join")
        server.rooms["lab"].close()
        await until(lambda: receiver.taken and receiver.taken[-1].event == "room_finished")
        names = [each.event for each in receiver.taken]
        assert names == ["room_started", "participant_connection_aborted", "room_finished"]
        ids = [each.id for each in receiver.calls]
        assert sorted(set(ids), key=ids.index) == [each.id for each in receiver.taken], "a retry keeps its id"
        assert len(ids) == 3 * len(names)


async def test_a_refused_event_is_not_sent_again_and_the_next_one_tells_of_it():
    async def refuse_first(receiver: Receiver, event: m.WebhookEvent) -> int:
        return 400 if event.event == "room_started" else 200

    async with receiving(refuse_first) as receiver, Server(keys=KEYS, webhooks=at(receiver.url)) as server:
        async with raw_join(server, "ada") as ada:
            await ada.receive("join")
        server.rooms["lab"].close()
        await until(lambda: receiver.taken and receiver.taken[-1].event == "room_finished")
        assert [each.event for each in receiver.calls].count("room_started") == 1
        assert [each.num_dropped for each in receiver.taken] == [1, 0]


@pytest.mark.parametrize("answer", [hang, None])
async def test_a_receiver_that_hangs_or_is_not_there_holds_up_neither_rooms_nor_others(answer):
    """Neither the people in a room, nor another receiver, nor the end of the server."""
    async with receiving(answer or accept) as slow, receiving(accept) as quick:
        url = slow.url if answer else "http://127.0.0.1:1/hook"
        server = Server(keys=KEYS, webhooks=at(url, quick.url))
        await server.start()
        for number in range(100):
            async with raw_join(server, f"p{number}") as client:
                await client.receive("join")
                await client.send(ping=1)
                await client.receive("pong")
                await client.send(leave=m.LeaveRequest())
                await client.closed()
        await until(lambda: len(quick.taken) >= 101)
        queues = server._core.webhooks._queues
        assert all(len(queue.waiting) <= 200 for queue in queues.values()) and len(queues) <= 2
        async with asyncio.timeout(5):
            await server.stop()


async def test_the_queue_of_a_receiver_that_hangs_is_bounded_and_what_fell_out_is_counted():
    release = asyncio.Event()

    async def wait_once(receiver: Receiver, event: m.WebhookEvent) -> int:
        await release.wait()
        return 200

    async with receiving(wait_once) as receiver, Server(keys=KEYS, webhooks=at(receiver.url)) as server:
        sender = server._core.webhooks
        for number in range(1000):
            sender.job_event(m.Room(sid="RM_x", name="x"), f"event {number}", m.Job())
        await until(lambda: receiver.calls)
        release.set()
        await until(lambda: receiver.taken and receiver.taken[-1].event == "event 999")
        assert len(receiver.taken) <= 201
        assert sum(each.num_dropped for each in receiver.taken) + len(receiver.taken) == 1000


async def test_jobs_of_agents_are_told_too():
    async with receiving(accept) as receiver, Server(keys=KEYS, webhooks=at(receiver.url)) as server:
        job = m.Job(id="AJ_1", room=m.Room(sid="RM_x", name="x"))
        for name in ("agent_job_started", "agent_job_ended"):
            server._core.webhooks.job_event(m.Room(sid="RM_x", name="x"), name, job)
        await until(lambda: len(receiver.taken) == 2)
        assert [each.event for each in receiver.taken] == ["agent_job_started", "agent_job_ended"]
        assert {each.job.id for each in receiver.taken} == {"AJ_1"}

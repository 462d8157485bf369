"""Agents that tests run. They are at the top level of a module, so that processes can find them too."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time

from greenroom import rtc
from greenroom.agents import AutoSubscribe, JobContext, JobProcess, JobRequest


def prewarm(proc: JobProcess) -> None:
    proc.userdata["prewarmed"] = os.getpid()


async def talker(ctx: JobContext) -> None:
    """Joins by itself, says where it runs, and ends the job when somebody says so."""
    await ctx.connect()

    async def said_last() -> None:
        os.write(2, f"callback without argument of {ctx.job.id}\n".encode())

    ctx.add_shutdown_callback(said_last)

    @ctx.room.on("data_received")
    def on_data(packet: rtc.DataPacket) -> None:
        if packet.data == b"end":
            ctx.shutdown("as told")
        elif packet.data == b"block":
            time.sleep(4)

    await ctx.wait_for_participant(identity="ada")
    told = {
        "metadata": ctx.job.metadata,
        "identity": ctx.token_claims().identity,
        "prewarmed": ctx.proc.userdata.get("prewarmed"),
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "executor": ctx.proc.executor_type.value,
    }
    await ctx.agent.publish_data(json.dumps(told))


async def crasher(ctx: JobContext) -> None:
    await ctx.connect()
    raise LookupError("the agent's own mistake")


async def dier(ctx: JobContext) -> None:
    await ctx.connect()
    os._exit(3)


async def hoarder(ctx: JobContext) -> None:
    """Uses far more memory than it may."""
    await ctx.connect()
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1024) * 20_000))
        await asyncio.sleep(0.01)


async def hanger(ctx: JobContext) -> None:
    await ctx.connect()
    await asyncio.Event().wait()


async def sleeper(ctx: JobContext) -> None:
    """Blocks its event loop, for longer than anybody waits."""
    await ctx.connect()
    time.sleep(60)  # noqa: ASYNC251 - blocking is what it is for


async def stubborn(ctx: JobContext) -> None:
    """Ignores that it is cancelled, twice."""
    await ctx.connect()
    for _ in range(2):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


async def page_hanger(job: JobContext) -> None:
    await asyncio.Event().wait()


async def accept_page(req: JobRequest) -> None:
    await req.accept(page_hanger, auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE, identity=f"agent-of-{req.room.name}")


async def counts_callers(ctx: JobContext) -> None:
    """Asks the server who is there, before joining, and says it with the proxy that it would use."""
    there = await ctx.api.room.list_participants(ctx.job.room.name)
    told = {"there": [each.identity for each in there.participants], "proxy": ctx.proc.http_proxy}
    await ctx.connect()
    await ctx.wait_for_participant()
    await ctx.agent.publish_data(json.dumps(told))


async def counts_itself(ctx: JobContext) -> None:
    """Counts with the program's own metrics."""
    from prometheus_client import Counter

    Counter("calls_taken", "Jobs that have begun").inc()
    await ctx.connect()
    await asyncio.Event().wait()


async def looks_for_this(ctx: JobContext) -> None:
    """Says whether a module was imported that nothing here needs."""
    found = "this" in sys.modules
    await ctx.connect()
    await ctx.wait_for_participant()
    await ctx.agent.publish_data(str(found))

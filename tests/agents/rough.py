"""Programs that do what no program should. They are at the top level of a module, so that processes find them too."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

from greenroom.agents import JobContext, JobProcess


class Strange(BaseException):
    """An exception that is no Exception."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words for this")


def told(ctx: JobContext) -> str:
    return ctx.job.metadata


async def misbehave(ctx: JobContext) -> None:
    """Joins, and does what the job's metadata says."""
    await ctx.connect()
    match told(ctx):
        case "raise":
            raise LookupError("its own mistake")
        case "strange":
            raise Strange("neither fish nor flesh")
        case "exit":
            raise SystemExit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancelled":
            raise asyncio.CancelledError
        case "cancels itself":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(10)
        case "wordless":
            raise Unspeakable
        case "wordy":
            raise LookupError("x" * 3_000_000 + " and that was all")
        case "nested loop":
            asyncio.run(asyncio.sleep(0))
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
            await asyncio.sleep(10)
        case "leave":
            os._exit(7)


async def fork(ctx: JobContext) -> None:
    """Forks, and both go on as if nothing were: the child must not get far."""
    await ctx.connect()
    child = os.fork()
    if child == 0:
        await asyncio.sleep(0)
        os.write(2, b"the child went on\n")
        return
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    await ctx.agent.set_attributes({"child": str(os.waitstatus_to_exitcode(status))})


#: Ends those that nothing else ends.
mercy = threading.Event()


async def deaf(ctx: JobContext) -> None:
    """Ignores every cancellation, until mercy comes."""
    await ctx.connect()
    while not mercy.is_set():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def wait(ctx: JobContext) -> None:
    await ctx.connect()
    await asyncio.Event().wait()


async def answer(ctx: JobContext) -> None:
    """A program as it should be: joins and says where it runs."""
    await ctx.connect()
    await ctx.agent.set_attributes({"pid": str(os.getpid())})


async def forks_and_dies(ctx: JobContext) -> None:
    """Leaves a process behind that holds on to everything that was open."""
    await ctx.connect()
    if os.fork() == 0:
        time.sleep(8)  # noqa: ASYNC251 - as programs do
        os._exit(0)
    os._exit(9)


def prewarm_fails(proc: JobProcess) -> None:
    raise LookupError("nothing to prewarm")


def prewarm_hangs(proc: JobProcess) -> None:
    time.sleep(600)

"""An agent that joins, and stays."""

from __future__ import annotations

import asyncio
import os

from greenroom.agents import JobContext, JobExecutorType, WorkerOptions, cli


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.agent.set_attributes(
        {"worker": str(os.getppid() if EXECUTOR is JobExecutorType.PROCESS else os.getpid())}
    )
    await asyncio.Event().wait()


EXECUTOR = JobExecutorType(os.environ.get("TEST_EXECUTOR", "task"))

if __name__ == "__main__":
    cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            agent_name="many",
            max_jobs=10,
            job_executor_type=EXECUTOR,
            load_fnc=lambda: 0.0,
            entrypoint_timeout=0.1,
            port=0,
        )
    )

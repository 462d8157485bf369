"""The worker that benches/agents.py measures, in either framework (BENCH_FRAMEWORK, BENCH_EXECUTOR).

What a job does is its dispatch's metadata: "hello" says when it started and joined, "idle" stays, "echo" sends back
what it hears. Tells of it in one JSON object per line of its output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

OFFICIAL = os.environ["BENCH_FRAMEWORK"] == "official"
if OFFICIAL:
    from livekit import rtc
    from livekit.agents import JobContext, JobExecutorType, WorkerOptions, cli
else:
    from greenroom import rtc
    from greenroom.agents import JobContext, JobExecutorType, WorkerOptions, cli

LAGS: list[float] = []
MEASURING: list[asyncio.Task[None]] = []


def say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, "time": time.time(), **fields}) + "\n")
    sys.stdout.flush()


async def entrypoint(ctx: JobContext) -> None:
    info = ctx.info
    say("started", assigned=info.assigned_at or info.launched_at)
    what = ctx.job.metadata
    if what == "echo":
        prepare_echo(ctx)
    await ctx.connect()
    say("joined")


def prepare_echo(ctx: JobContext) -> None:
    tasks = set()

    @ctx.room.on("track_subscribed")
    def on_track_subscribed(track: rtc.Track, publication: object, participant: object) -> None:
        tasks.add(asyncio.create_task(echo(ctx, track)))

    @ctx.room.on("data_received")
    def on_data(packet: rtc.DataPacket) -> None:
        ordered = sorted(LAGS)
        say("lag", p99=ordered[int(len(ordered) * 0.99)] * 1000)

    if not MEASURING:
        MEASURING.append(asyncio.create_task(measure_lag()))


async def echo(ctx: JobContext, track: rtc.Track) -> None:
    source = rtc.AudioSource(48000, 1, queue_size_ms=100)
    local = rtc.LocalAudioTrack.create_audio_track("echo", source)
    await ctx.room.local_participant.publish_track(local)
    async for event in rtc.AudioStream(track):
        await source.capture_frame(event.frame)


async def measure_lag() -> None:
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.01)
        LAGS.append(time.perf_counter() - begin - 0.01)


if __name__ == "__main__":
    executor = {
        "process": JobExecutorType.PROCESS,
        "thread": JobExecutorType.THREAD,
        "task": getattr(JobExecutorType, "TASK", None),
    }[os.environ["BENCH_EXECUTOR"]]
    cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            agent_name="bench",
            job_executor_type=executor,
            num_idle_processes=2,
            load_threshold=float("inf"),
            load_fnc=lambda *_: 0.0,
            port=0,
        )
    )

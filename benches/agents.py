"""What agents cost: importing, starting jobs, and many jobs in one worker, beside the official framework.

    python benches/agents.py [--part PART] [--jobs 50] [--dispatches 100] [--seconds 5] [--only FRAMEWORK] [--json FILE]

`import`: time and memory that importing the agents adds to a bare interpreter, the least of several starts.
`dispatch`: jobs one after another; `started` is from the assignment to the first line of the entrypoint, `call` from
the dispatch to it, `joined` until the agent is in its room, all in ms.
`idle`: memory and threads that a joined job which does nothing adds (proportional set size of the worker's processes).
`echo`: so many rooms with one caller each who sends a tone and hears it back, all in one worker; `gaps` are silences
of 40 ms or more at the callers after the first second, `lag` how late the worker's event loop ran, in ms, and `cpu`
the processors' seconds per second of the worker.

The server runs in a process of its own; the workers do too. What is not installed has dashes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

KEY, SECRET = "devkey", "a secret that is long enough to be one"
WORKER = Path(__file__).with_name("agents_worker.py")
FRAMEWORKS = {"greenroom": "greenroom", "official": "livekit"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=list(PARTS), action="append")
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--dispatches", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", choices=list(FRAMEWORKS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for part in options.part or PARTS:
        results[part] = PARTS[part](options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def frameworks(options: argparse.Namespace) -> list[str]:
    found = ["greenroom"]
    if find_spec("livekit") and find_spec("livekit.agents"):
        found.append("official")
    return [each for each in found if options.only in (None, each)]


# -- import ----------------------------------------------------------------------------------------------------------


def imports(options: argparse.Namespace) -> dict[str, Any]:
    code = (
        "import resource, sys, time\n"
        "begin, base = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "import {module}\n"
        "took, most = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(took, most, len(sys.modules))\n"
    )
    found: dict[str, Any] = {}
    print(f"{'import':28}{'seconds':>10}{'MB in all':>12}{'modules':>10}")
    for name in frameworks(options):
        module = f"{FRAMEWORKS[name]}.agents"
        runs = []
        for _ in range(7):
            done = subprocess.run(
                [sys.executable, "-c", code.format(module=module)], capture_output=True, text=True, check=True
            )
            runs.append([float(each) for each in done.stdout.split()])
        best = [min(column) for column in zip(*runs, strict=True)]
        found[name] = dict(zip(("seconds", "mb", "modules"), best, strict=True))
        print(f"{module:28}{best[0]:10.3f}{best[1]:12.1f}{best[2]:10.0f}", flush=True)
    return found


# -- a server and a worker ------------------------------------------------------------------------------------------


class Stage:
    """A server in this process and a worker in another one, which prints one JSON object per line."""

    def __init__(self, framework: str, executor: str) -> None:
        self._framework = framework
        self._executor = executor
        self.lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> Stage:
        from greenroom.agents.api import Api
        from greenroom.server import Server

        self.server = Server(host="127.0.0.1", port=0, keys={KEY: SECRET})
        await self.server.start()
        self._api = Api(self.server.url, KEY, SECRET)
        settings = {"LIVEKIT_URL": self.server.url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        self.worker = await asyncio.create_subprocess_exec(
            sys.executable,
            str(WORKER),
            "start",
            env={**os.environ, **settings, "BENCH_FRAMEWORK": self._framework, "BENCH_EXECUTOR": self._executor},
            stdout=asyncio.subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_LOGS") else asyncio.subprocess.DEVNULL,
        )
        self._reader = asyncio.create_task(self._read())
        async with asyncio.timeout(60):
            while not self.server._core.dispatcher.machine.worker_count:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.worker.terminate()
        try:
            async with asyncio.timeout(20):
                await self.worker.wait()
        except TimeoutError:
            self.worker.kill()
            await self.worker.wait()
        self._reader.cancel()
        await self._api.aclose()
        await self.server.stop()

    async def _read(self) -> None:
        while line := await self.worker.stdout.readline():
            try:
                self.lines.put_nowait(json.loads(line))
            except ValueError:
                continue

    async def next(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                line = await self.lines.get()
                if line.get("event") == event:
                    return line

    async def dispatch(self, room: str, metadata: str) -> None:
        from greenroom.wire import messages as m

        request = m.CreateAgentDispatchRequest(agent_name="bench", room=room, metadata=metadata)
        await self._api.agent_dispatch.create_dispatch(request)

    async def end(self, room: str) -> None:
        await self._api.room.delete_room(room)

    def memory(self) -> tuple[float, int]:
        """Proportional set size in MB and threads of the worker and its descendants."""
        import psutil

        root = psutil.Process(self.worker.pid)
        processes = [root, *root.children(recursive=True)]
        pss = 0
        for process in processes:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            pss += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
        return pss / 1024, sum(process.num_threads() for process in processes)


def runs(options: argparse.Namespace) -> list[tuple[str, str]]:
    pairs = [("greenroom", "task"), ("greenroom", "process"), ("official", "process")]
    return [pair for pair in pairs if pair[0] in frameworks(options)]


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": statistics.median(ordered), "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]}


# -- dispatch --------------------------------------------------------------------------------------------------------


def dispatches(options: argparse.Namespace) -> dict[str, Any]:
    head = ("started", "call", "joined")
    print(f"\n{options.dispatches} dispatches".ljust(29) + "".join(f"{each + ' p50':>14}{'p99':>8}" for each in head))
    found: dict[str, Any] = {}
    for framework, executor in runs(options):
        figures = asyncio.run(_dispatch(framework, executor, options.dispatches))
        found[f"{framework} {executor}"] = figures
        columns = "".join(f"{figures[each]['p50']:14.1f}{figures[each]['p99']:8.1f}" for each in head)
        print(f"{framework + ' ' + executor:28}" + columns, flush=True)
    return found


async def _dispatch(framework: str, executor: str, count: int) -> dict[str, dict[str, float]]:
    times: dict[str, list[float]] = {"started": [], "call": [], "joined": []}
    async with Stage(framework, executor) as stage:
        for number in range(count + 3):
            called = time.time()
            await stage.dispatch(f"room-{number}", "hello")
            started = await stage.next("started")
            joined = await stage.next("joined")
            await stage.end(f"room-{number}")
            if number >= 3:  # the first ones warm up what is made once
                times["started"].append((started["time"] - started["assigned"]) * 1000)
                times["call"].append((started["time"] - called) * 1000)
                times["joined"].append((joined["time"] - called) * 1000)
    return {name: percentiles(values) for name, values in times.items()}


# -- idle ------------------------------------------------------------------------------------------------------------


def idle(options: argparse.Namespace) -> dict[str, Any]:
    count = min(options.jobs, 20)
    print(f"\n{count} idle joined jobs".ljust(29) + f"{'MB per job':>12}{'threads per job':>18}{'MB before':>12}")
    found: dict[str, Any] = {}
    for framework, executor in runs(options):
        figures = asyncio.run(_idle(framework, executor, count))
        found[f"{framework} {executor}"] = figures
        print(
            f"{framework + ' ' + executor:28}{figures['mb']:12.2f}{figures['threads']:18.2f}{figures['before']:12.1f}",
            flush=True,
        )
    return found


async def _idle(framework: str, executor: str, count: int) -> dict[str, float]:
    async with Stage(framework, executor) as stage:
        await stage.dispatch("first", "idle")  # the media engine and the like are made with the first job
        await stage.next("joined")
        await asyncio.sleep(3)
        before, threads = stage.memory()
        for number in range(count):
            await stage.dispatch(f"room-{number}", "idle")
            await stage.next("joined")
        await asyncio.sleep(3)
        after, more = stage.memory()
    return {"mb": (after - before) / count, "threads": (more - threads) / count, "before": before}


# -- echo ------------------------------------------------------------------------------------------------------------


def echo(options: argparse.Namespace) -> dict[str, Any]:
    print(
        f"\n{options.jobs} echoing jobs".ljust(29)
        + f"{'heard':>8}{'gaps':>8}{'lag p99':>10}{'cpu':>8}{'MB per job':>12}"
    )
    found: dict[str, Any] = {}
    for framework, executor in runs(options):
        if executor == "process" and framework == "greenroom":
            continue
        figures = asyncio.run(_echo(framework, executor, options.jobs, options.seconds))
        found[f"{framework} {executor}"] = figures
        lag = f"{figures['lag_p99']:10.1f}" if figures["lag_p99"] is not None else f"{'-':>10}"
        print(
            f"{framework + ' ' + executor:28}{figures['heard']:8d}{figures['gaps']:8d}{lag}{figures['cpu']:8.2f}"
            f"{figures['mb']:12.2f}",
            flush=True,
        )
    return found


async def _echo(framework: str, executor: str, count: int, seconds: float) -> dict[str, Any]:
    from greenroom import rtc

    async with Stage(framework, executor) as stage:
        before, _ = stage.memory()
        callers = [Caller(rtc.Room()) for _ in range(count)]
        for number, caller in enumerate(callers):
            await caller.call(stage, f"room-{number}")
        async with asyncio.timeout(60):
            await asyncio.gather(*(caller.heard.wait() for caller in callers))
        await asyncio.sleep(1)
        for caller in callers:
            caller.listening = True
        cpu = _cpu(stage)
        await asyncio.sleep(seconds)
        used = (_cpu(stage) - cpu) / seconds
        for caller in callers:
            caller.listening = False
        after, _ = stage.memory()
        lag = None
        if framework == "greenroom":
            for number, caller in enumerate(callers):
                await caller.room.local_participant.publish_data(b"lag")
                lag = (await stage.next("lag"))["p99"]
                if number == 0:
                    break
        gaps = sum(caller.gaps for caller in callers)
        for caller in callers:
            await caller.end()
    heard = sum(caller.frames > 0 for caller in callers)
    return {"heard": heard, "gaps": gaps, "lag_p99": lag, "cpu": used, "mb": (after - before) / count}


def _cpu(stage: Stage) -> float:
    import psutil

    root = psutil.Process(stage.worker.pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(each.user + each.system for each in times)


class Caller:
    """Somebody who sends a tone and listens for gaps in what comes back."""

    def __init__(self, room: Any) -> None:
        self.room = room
        self.heard = asyncio.Event()
        self.listening = False
        self.frames = 0
        self.gaps = 0
        self._silent = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def call(self, stage: Stage, room: str) -> None:
        from greenroom import rtc

        self.room.on("track_subscribed", self._listen)
        await self.room.connect(stage.server.url, stage.server.token("caller", room))
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("tone", source)
        await self.room.local_participant.publish_track(track)
        self._tasks.append(asyncio.create_task(self._speak(source)))
        await stage.dispatch(room, "echo")

    async def _speak(self, source: Any) -> None:
        import numpy as np

        from greenroom import rtc

        time = np.arange(4800) / 48000
        frame = rtc.AudioFrame((10000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16).tobytes(), 48000, 1, 4800)
        while True:
            await source.capture_frame(frame)

    async def _listen(self, track: Any) -> None:
        from greenroom import rtc

        async for event in rtc.AudioStream(track, sample_rate=8000):
            loud = max(event.frame.data) > 500
            if loud:
                self.heard.set()
            if not self.listening:
                continue
            self.frames += 1
            self._silent = 0 if loud else self._silent + 1
            self.gaps += self._silent == 4

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.room.disconnect()


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "import": imports,
    "dispatch": dispatches,
    "idle": idle,
    "echo": echo,
}

if __name__ == "__main__":
    main()

"""What must be flat: memory, threads, descriptors, tasks, and everything that the engines count."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from dataclasses import dataclass

import psutil

from greenroom.runtime.bridge import bridge_for_loop
from greenroom.server import Server

COUNTED = ("rooms", "peers", "tracks", "subscriptions", "sources", "sinks")


@dataclass(frozen=True)
class Footprint:
    """What this process holds now. Memory in bytes."""

    memory: int
    threads: int
    descriptors: int
    tasks: int
    server: dict[str, int]
    client: dict[str, int]

    @classmethod
    async def settled(cls, server: Server, within: float = 30.0) -> Footprint:
        """As soon as the engines hold nothing any more, or what they hold after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not cls.take(server).is_empty():
                    gc.collect()
                    await asyncio.sleep(0.05)
        gc.collect()
        with contextlib.suppress(AttributeError, OSError):
            # What the allocator keeps for later is not held.
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        return cls.take(server)

    def is_empty(self) -> bool:
        """Whether the engines hold nothing and only the caller's task runs."""
        return not any(self.server.values()) and not any(self.client.values()) and self.tasks == 1

    @classmethod
    def take(cls, server: Server) -> Footprint:
        process = psutil.Process()
        at_server, at_client = server.statistics(), bridge_for_loop().engine.statistics()
        return cls(
            memory=process.memory_info().rss,
            threads=process.num_threads(),
            descriptors=process.num_fds(),
            tasks=len(asyncio.all_tasks()),
            server={name: at_server[name] for name in (*COUNTED, "live_rooms", "sockets")},
            client={name: at_client[name] for name in COUNTED},
        )

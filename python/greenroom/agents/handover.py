"""Passing jobs from one run of a program to the next: the channel between both, and the worker's end of it.

Whoever runs the program anew holds one channel to each run. A run says `ready` when it could work, and waits; then the
run before it is told to `release` its jobs, and the new one to `take` them: it tells the server that they are its own,
and joins their rooms under their identities, which takes the agents of the run before out in the same moment. For every
job it says `settled` when that is done, or the job is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from greenroom.agents.job import JobType, RunningJobInfo
from greenroom.errors import GreenroomError
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.agents.api import Api
    from greenroom.agents.executors import Executor

__all__ = ["GAVE_UP", "VARIABLE", "Channel", "Estate", "Succession", "dispatch_again", "inherited"]

log = logging.getLogger("greenroom.agents")

#: Exit status of a run whose worker cannot work as it is set up.
GAVE_UP = 78
#: In the environment of a run: the number of its end of the channel.
VARIABLE = "GREENROOM_HANDOVER"
_LENGTH_BYTES = 4
#: Failed jobs that are remembered, to be run again.
_KEPT_FAILURES = 100


@dataclass(frozen=True, slots=True)
class Estate:
    """What one run leaves to the next: jobs that run, and jobs that have failed and are worth another try."""

    running: Sequence[RunningJobInfo] = ()
    failed: Sequence[RunningJobInfo] = ()


class Channel:
    """Messages between a run and who started it: a word and what belongs to it. Both are programs of this package."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Take one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def say(self, word: str, content: object = None) -> None:
        """Send a message. After the other side's end it is dropped."""
        if not self._writer.is_closing():
            payload = pickle.dumps((word, content))
            self._writer.write(len(payload).to_bytes(_LENGTH_BYTES, "big") + payload)

    async def hear(self) -> tuple[str, Any] | None:
        """The next message; None when the other side has ended."""
        try:
            size = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            message: tuple[str, Any] = pickle.loads(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    def close(self) -> None:
        """Close this end. Idempotent."""
        self._writer.close()


def inherited() -> Succession | None:
    """The place of this process among the runs of a program, if somebody runs it anew on changes."""
    number = os.environ.pop(VARIABLE, "")
    return Succession(socket.socket(fileno=int(number))) if number else None


class Releasing(Protocol):
    """A running worker, as far as it hands over its jobs."""

    jobs: dict[str, RunningJobInfo]

    async def release(self) -> Sequence[RunningJobInfo]:
        """Take no more jobs, leave the server, and name the jobs that run on here until their rooms are taken over."""

    async def stop(self) -> None:
        """End every job and the worker."""


class Succession:
    """One run's place: it begins with the jobs of the run before, and leaves its own to the run after."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._channel: Channel | None = None
        self._unsettled: set[str] = set()
        self._joined: set[str] = set()
        self._failed: dict[str, RunningJobInfo] = {}
        self._ended = asyncio.Event()

    async def begin(self) -> Estate:
        """Say that this run could work, and wait for what it is to work on.

        Returns:
            What the run before has left; nothing when its end of the channel is closed.
        """
        channel = self._channel = await Channel.open(self._end)
        channel.say("ready")
        message = await channel.hear()
        estate = message[1] if message is not None else Estate()
        self._unsettled = {info.job.id for info in estate.running}
        return estate

    async def serve(self, run: Releasing, executor: Executor) -> None:
        """Do as the starter says, until it is gone: then this run ends too."""
        while self._channel is not None and (message := await self._channel.hear()) is not None:
            match message:
                case "release", _:
                    running = await run.release()
                    await self._end_those_outside(run, executor)
                    self._channel.say("released", Estate(running, list(self._failed.values())))
                case "end", job_id:
                    executor.shutdown(job_id, "its next run has begun")
        await run.stop()

    async def _end_those_outside(self, run: Releasing, executor: Executor) -> None:
        """End the jobs that have not joined their rooms: they would take them from the next run, not the other way."""
        outside = run.jobs.keys() - self._joined
        for job_id in outside:
            executor.shutdown(job_id, "its next run begins")
        while outside & run.jobs.keys():
            self._ended.clear()
            await self._ended.wait()

    def job_joined(self, job_id: str) -> None:
        """A job's agent is in its room."""
        self._joined.add(job_id)
        self._settle(job_id)

    def job_ended(self, info: RunningJobInfo, error: str) -> None:
        """A job is over; `error` is "" when it went well."""
        self._joined.discard(info.job.id)
        self._ended.set()
        self._settle(info.job.id)
        if error and len(self._failed) < _KEPT_FAILURES:
            self._failed[info.job.id] = info

    def _settle(self, job_id: str) -> None:
        if job_id in self._unsettled and self._channel is not None:
            self._unsettled.discard(job_id)
            self._channel.say("settled", job_id)


async def dispatch_again(failed: Sequence[RunningJobInfo], key: str, secret: str) -> None:
    """Ask the server once more for agents that have failed, where all jobs of their dispatch are over."""
    for info in failed:
        if info.job.type is not JobType.JT_ROOM:
            continue  # a new dispatch makes jobs for participants that come, not for those that are there
        from greenroom.agents.api import Api

        api = Api(info.url, key, secret)
        try:
            await _dispatch_again(api, info)
        except GreenroomError as error:
            log.debug("job %s is not run again: %s", info.job.id, error)
        finally:
            await api.aclose()


async def _dispatch_again(api: Api, info: RunningJobInfo) -> None:
    room, over = info.job.room.name, (m.JobStatus.JS_SUCCESS, m.JobStatus.JS_FAILED)
    for each in await api.agent_dispatch.list_dispatch(room):
        if each.id == info.job.dispatch_id and all(job.state.status in over for job in each.state.jobs):
            await api.agent_dispatch.delete_dispatch(each.id, room)
            again = m.CreateAgentDispatchRequest(
                room=room,
                agent_name=each.agent_name,
                metadata=each.metadata,
                restart_policy=each.restart_policy,
                deployment=each.deployment,
                attributes=each.attributes,
            )
            await api.agent_dispatch.create_dispatch(again)

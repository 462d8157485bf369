"""Posts what happens in rooms to the addresses of the configuration: in order, signed, with retries, bounded."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greenroom.protocol import outputs
from greenroom.runtime.tasks import TaskSet
from greenroom.server.options import Webhooks
from greenroom.wire import messages as m
from greenroom.wire.sids import make_sid
from greenroom.wire.webhooks import CONTENT_TYPE, encode_webhook

if TYPE_CHECKING:
    import aiohttp

__all__ = ["WebhookSender"]

log = logging.getLogger("greenroom.server")

_DEPTH = 200
_EXPIRES = 30.0
_RETRIES = 4
#: Answers that ask for another try, as those from 500 on do: too slow, too much.
_LATER = (408, 429)
_FIRST_DELAY = 1.0
_REQUEST_TIMEOUT = 10.0
_DRAIN_TIMEOUT = 2.0


@dataclass(slots=True)
class _Queue:
    """The events of one room for one address."""

    url: str
    waiting: deque[tuple[float, m.WebhookEvent]] = field(default_factory=deque)
    dropped: int = 0


class WebhookSender:
    """One queue per room and address; a slow receiver delays nobody else and never grows without bound."""

    def __init__(self, options: Webhooks, keys: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._urls = tuple(options.urls)
        self._key = options.api_key or next(iter(keys))
        self._secret = keys[self._key]
        self._clock = clock
        self._queues: dict[tuple[str, str], _Queue] = {}
        self._tasks = TaskSet(log)
        self._client: aiohttp.ClientSession | None = None
        #: Since the start: how often what has happened in rooms, posted or not, and how many posts have fared how.
        self.events: Counter[str] = Counter()
        self.results: Counter[str] = Counter(delivered=0, failed=0, dropped=0)

    def room_event(self, room: m.Room, announce: outputs.Announce) -> None:
        """Queue an event of a room."""
        self.events[announce.event] += 1
        if not self._urls:
            return
        track_event = announce.track is not None
        event = self._event(
            event=announce.event,
            room=m.Room(sid=room.sid, name=room.name) if track_event else room,
            participant=announce.participant,
            track=announce.track,
        )
        self.post(room.sid, event)

    def job_event(self, room: m.Room, name: str, job: m.Job) -> None:
        """Queue an event of an agent's job."""
        if self._urls:
            self.post(room.sid, self._event(event=name, room=room, job=job))

    def post(self, order: str, event: m.WebhookEvent) -> None:
        """Queue an event after those of the same `order` key."""
        for url in self._urls:
            queue = self._queues.get((order, url))
            if queue is None:
                queue = self._queues[(order, url)] = _Queue(url)
                self._tasks.spawn(self._run(order, queue), name="webhook sender")
            if len(queue.waiting) >= _DEPTH:
                queue.waiting.popleft()
                queue.dropped += 1
                self.results["dropped"] += 1
            queue.waiting.append((asyncio.get_running_loop().time(), event))

    def _event(self, **fields: Any) -> m.WebhookEvent:
        sid = make_sid("EV_", os.urandom(16))
        return m.WebhookEvent(id=sid, created_at=int(self._clock()), **fields)

    async def close(self) -> None:
        """Give queued events a moment to leave, then stop. Idempotent."""
        await self._tasks.close(grace=_DRAIN_TIMEOUT)
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _run(self, order: str, queue: _Queue) -> None:
        while queue.waiting:
            queued_at, event = queue.waiting.popleft()
            if asyncio.get_running_loop().time() - queued_at > _EXPIRES:
                queue.dropped += 1
                self.results["dropped"] += 1
                continue
            event.num_dropped = queue.dropped
            delivered = await self._deliver(queue.url, event)
            self.results["delivered" if delivered else "failed"] += 1
            queue.dropped = 0 if delivered else queue.dropped + 1
        del self._queues[(order, queue.url)]

    async def _deliver(self, url: str, event: m.WebhookEvent) -> bool:
        import aiohttp

        if self._client is None:
            timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT)
            self._client = aiohttp.ClientSession(timeout=timeout)
        body, token = encode_webhook(event, self._key, self._secret, now=self._clock())
        headers = {"Authorization": token, "Content-Type": CONTENT_TYPE, "User-Agent": "LiveKit"}
        delay = _FIRST_DELAY
        for attempt in range(_RETRIES + 1):
            if attempt:
                await asyncio.sleep(delay)
                delay = min(delay * 2, _EXPIRES)
            try:
                async with self._client.post(url, data=body, headers=headers) as response:
                    if response.status < 500 and response.status not in _LATER:
                        return response.status < 400
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.debug("webhook %s was not delivered: %s", event.event, error)
        log.warning("webhook %s was given up after %d tries", event.event, _RETRIES + 1)
        return False

"""Figures of a running server for Prometheus, on a port of their own: who may scrape is decided by who reaches it."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aiohttp import web

from greenroom import __version__
from greenroom.errors import ConfigError, PortInUseError
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Histogram
    from prometheus_client.core import Metric

    from greenroom.protocol.dispatch_records import JobRecord
    from greenroom.server.server import Core

__all__ = ["Metrics"]

#: Seconds between two looks at how late the event loop is.
_LAG_INTERVAL = 0.25
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Serves `/metrics`, and measures what nobody else does: how late the event loop is."""

    def __init__(self, core: Core) -> None:
        """Prepare; `start` listens."""
        from prometheus_client import CollectorRegistry, Histogram

        self._core = core
        self._registry: CollectorRegistry = CollectorRegistry()
        self._registry.register(_Figures(core))
        self._lag: Histogram = Histogram(
            "greenroom_event_loop_lag_seconds",
            "How late the event loop runs what is due; media does not wait for it",
            buckets=_LAG_BUCKETS,
            registry=self._registry,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen and measure.

        Raises:
            PortInUseError: another program listens there.
            ConfigError: the address is not one of this machine's.
        """
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(f"metrics_port {port} on {host} is in use; choose another") from error
            raise ConfigError(f"metrics cannot listen on {host}: {error}") from error
        self._runner = runner
        self.port = runner.addresses[0][1]
        self._expect(asyncio.get_running_loop())

    async def close(self) -> None:
        """Stop listening and measuring. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _expect(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + _LAG_INTERVAL
        self._timer = loop.call_at(due, self._measure, loop, due)

    def _measure(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._lag.observe(max(0.0, loop.time() - due))
        self._expect(loop)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        from prometheus_client.exposition import choose_encoder

        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="there is only /metrics here")
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


class _Figures:
    """Reads the server's state when it is scraped."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """Every figure, as Prometheus knows them."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily("greenroom", "The server's version", {"version": __version__})
        yield GaugeMetricFamily("greenroom_rooms", "Rooms that are open", len(self._core.rooms))
        yield GaugeMetricFamily("greenroom_signal_sockets", "Open websockets", len(self._core.sockets))
        yield from self._people()
        yield from self._media()
        yield from self._agents()
        yield from self._events()

    def _people(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        kinds, tracks = Counter({"standard": 0, "agent": 0}), Counter({"audio": 0, "video": 0})
        for room in self._core.rooms.values():
            for member in room.machine.state.members.values():
                kinds[m.ParticipantInfo.Kind.Name(member.profile.kind).lower()] += 1
                tracks.update(track.kind for track in member.tracks.values())
        yield _labelled(GaugeMetricFamily("greenroom_participants", "Who is in rooms", labels=["kind"]), kinds)
        yield _labelled(GaugeMetricFamily("greenroom_tracks", "Tracks that are published", labels=["kind"]), tracks)

    def _media(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        now = self._core.bridge.engine.statistics()
        yield GaugeMetricFamily("greenroom_peers", "Media connections", now["peers"])
        yield GaugeMetricFamily("greenroom_subscriptions", "Tracks that somebody receives", now["subscriptions"])
        for what, text in (("packets", "Datagrams of all media connections"), ("bytes", "Bytes of those datagrams")):
            counter = CounterMetricFamily(f"greenroom_{what}", text, labels=["direction"])
            yield _labelled(counter, Counter({"in": now[f"{what}_in"], "out": now[f"{what}_out"]}))
        text = "Datagrams that came and were for nobody"
        yield CounterMetricFamily("greenroom_datagrams_dropped", text, now["datagrams_dropped"])

    def _agents(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        dispatcher = self._core.dispatcher
        jobs = Counter(dict.fromkeys(("waiting", "assigned", "running"), 0))
        for entry in dispatcher.machine.open_jobs:
            if state := _state(entry):
                jobs[state] += 1
        workers = dispatcher.machine.worker_count
        yield GaugeMetricFamily("greenroom_agent_workers", "Agent workers that are registered", workers)
        gauge = GaugeMetricFamily("greenroom_agent_jobs", "Agents' jobs that are not over", labels=["state"])
        yield _labelled(gauge, jobs)
        ended = CounterMetricFamily("greenroom_agent_jobs_ended", "Agents' jobs that are over", labels=["status"])
        yield _labelled(ended, dispatcher.ended)

    def _events(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        text = "What happened in rooms, by the names of webhooks"
        yield _labelled(
            CounterMetricFamily("greenroom_room_events", text, labels=["event"]), self._core.webhooks.events
        )
        text = "Webhooks by how they fared: dropped ones were too many or too old"
        webhooks = CounterMetricFamily("greenroom_webhooks", text, labels=["result"])
        yield _labelled(webhooks, self._core.webhooks.results)


def _state(entry: JobRecord) -> str:
    """Where a job is; "" for those that only wait in case a worker of their kind will come."""
    if entry.job.state.status == m.JobStatus.JS_RUNNING:
        return "running"
    if entry.assigned:
        return "assigned"
    wanted = entry.job.agent_name and entry.job.type == m.JobType.JT_ROOM
    return "waiting" if wanted or not entry.unseen else ""


def _labelled(metric: Metric, values: Counter[str]) -> Metric:
    for label, value in values.items():
        metric.add_metric([label], value)  # type: ignore[attr-defined] # every family has it
    return metric

"""What a worker tells over HTTP: whether it is well, what it does, and its figures for Prometheus."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenroom import __version__
from greenroom.errors import ConfigError, PortInUseError

if TYPE_CHECKING:
    from aiohttp import web
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = ["WORKER_PROTOCOL_VERSION", "HealthPage", "WorkerState", "share_metrics"]

#: The version of the worker protocol that this speaks.
WORKER_PROTOCOL_VERSION = 1
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """How a worker fares. `load` is 0 to 1."""

    agent_name: str
    worker_type: str
    worker_id: str
    draining: bool
    load: float
    active_jobs: int
    succeeded_jobs: int
    failed_jobs: int


class HealthPage:
    """`/`: 200 while the worker is registered, else 503; `/worker`: JSON; `/metrics`: for Prometheus."""

    def __init__(self, state: Callable[[], WorkerState]) -> None:
        self._state = state
        self._runner: web.AppRunner | None = None
        self._registry: CollectorRegistry | None = None
        self.port = 0

    async def start(self, host: str, port: int, metrics_port: int | None) -> None:
        """Listen.

        Args:
            host: address; "" = all.
            port: 0 = a free one.
            metrics_port: a second port, in practice for the metrics only; None = none.

        Raises:
            PortInUseError: a port is taken.
            ConfigError: a port is none, the address is not one of this machine's, or the port needs privileges.
        """
        from aiohttp import web

        app = web.Application()
        app.add_routes(
            [web.get("/", self._health), web.get("/worker", self._worker), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        wanted = {"port": port} if metrics_port is None else {"port": port, "prometheus_port": metrics_port}
        for option, each in wanted.items():
            if not isinstance(each, int) or not 0 <= each < 65536:
                await self.close()
                raise ConfigError(f"{option} of the worker's options must be 0 to 65535, not {each!r}")
            try:
                await web.TCPSite(self._runner, host or "0.0.0.0", each).start()
            except OSError as error:
                await self.close()
                raise _no_listening(host, option, each, error) from error
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _health(self, _: Any) -> web.Response:
        from aiohttp import web

        if self._state().worker_id:
            return web.Response(text="OK")
        return web.Response(text="not registered with a server", status=503)

    async def _worker(self, _: Any) -> web.Response:
        from aiohttp import web

        state = self._state()
        return web.json_response(
            {
                "agent_name": state.agent_name,
                "worker_type": f"JT_{state.worker_type}",
                "worker_id": state.worker_id,
                "worker_load": state.load,
                "draining": state.draining,
                "active_jobs": state.active_jobs,
                "sdk_version": __version__,
                "protocol_version": WORKER_PROTOCOL_VERSION,
            }
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(_Figures(self._state))
            self._registry.register(_ProgramFigures())
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


def _no_listening(host: str, option: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        advice = f"choose another one with {option}=... of the worker's options, or 0 for any"
        return PortInUseError(f"port {port} of the health page is taken; {advice}")
    if error.errno == errno.EACCES:
        return ConfigError(f"port {port} of the health page ({option}=...) needs privileges; choose one above 1023")
    return ConfigError(f'the health page cannot listen on host={host!r}: use an address of this machine, or "" for all')


class _Figures:
    """Reads the worker's state when it is scraped."""

    def __init__(self, state: Callable[[], WorkerState]) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Every figure, as Prometheus knows them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        state = self._state()
        registered, draining = float(bool(state.worker_id)), float(state.draining)
        yield GaugeMetricFamily("greenroom_worker_registered", "1 while the worker is registered", registered)
        yield GaugeMetricFamily("greenroom_worker_draining", "1 while it takes no more jobs", draining)
        yield GaugeMetricFamily("greenroom_worker_load", "How busy the machine is, 0 to 1", state.load)
        yield GaugeMetricFamily("greenroom_jobs_active", "Jobs that run", state.active_jobs)
        ended = CounterMetricFamily("greenroom_jobs_ended", "Jobs that have ended", labels=["status"])
        ended.add_metric(["success"], state.succeeded_jobs)
        ended.add_metric(["failed"], state.failed_jobs)
        yield ended


class _ProgramFigures:
    """What the program itself counts with prometheus-client, here or in the processes that share a folder."""

    def collect(self) -> Iterator[Metric]:
        """Every figure of the program, and those of this process."""
        from prometheus_client import REGISTRY, CollectorRegistry

        if _FOLDER not in os.environ:
            yield from REGISTRY.collect()
            return
        from prometheus_client.multiprocess import MultiProcessCollector

        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        yield from shared.collect()


def share_metrics(folder: str | None) -> None:
    """Let the job processes that are started from now on keep their metrics in a folder, and empty it of old ones.

    Args:
        folder: None = the one that PROMETHEUS_MULTIPROC_DIR names, if it names one.

    """
    folder = folder or os.environ.get(_FOLDER)
    if not folder:
        return
    os.environ[_FOLDER] = folder
    Path(folder).mkdir(parents=True, exist_ok=True)
    for old in Path(folder).glob("*.db"):
        old.unlink()

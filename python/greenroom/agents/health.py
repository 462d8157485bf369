"""What a worker tells over HTTP: whether it is well, what it does, and its figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenroom import __version__
from greenroom.errors import PortInUseError

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["HealthPage", "WorkerState"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
        self.port = 0

    async def start(self, host: str, port: int, metrics_port: int | None) -> None:
        """Listen.

        Args:
            host: address; "" = all.
            port: 0 = a free one.
            metrics_port: a second port, in practice for the metrics only; None = none.

        Raises:
            PortInUseError: a port is taken.
        """
        from aiohttp import web

        app = web.Application()
        app.add_routes(
            [web.get("/", self._health), web.get("/worker", self._worker), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        for each in [port] if metrics_port is None else [port, metrics_port]:
            try:
                await web.TCPSite(self._runner, host or "0.0.0.0", each).start()
            except OSError as error:
                await self.close()
                advice = "choose another one with port=... of the worker's options, or 0 for any"
                raise PortInUseError(f"port {each} of the health page is taken; {advice}") from error
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
                "worker_type": state.worker_type,
                "worker_id": state.worker_id,
                "worker_load": state.load,
                "draining": state.draining,
                "active_jobs": state.active_jobs,
                "sdk_version": __version__,
            }
        )

    async def _metrics(self, _: Any) -> web.Response:
        from aiohttp import web

        return web.Response(text=metrics(self._state()), headers={"Content-Type": METRICS_TYPE})


def metrics(state: WorkerState) -> str:
    """The figures in Prometheus' text format."""
    figures = (
        ("greenroom_worker_registered", "gauge", "1 while the worker is registered", {"": bool(state.worker_id)}),
        ("greenroom_worker_draining", "gauge", "1 while it takes no more jobs", {"": state.draining}),
        ("greenroom_worker_load", "gauge", "how busy the machine is, 0 to 1", {"": state.load}),
        ("greenroom_jobs_active", "gauge", "jobs that run", {"": state.active_jobs}),
        (
            "greenroom_jobs_ended_total",
            "counter",
            "jobs that have ended",
            {'{status="success"}': state.succeeded_jobs, '{status="failed"}': state.failed_jobs},
        ),
    )
    lines = []
    for name, kind, text, values in figures:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {float(value):g}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"

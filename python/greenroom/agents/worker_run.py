"""A worker while it runs: its machine with a clock, a socket and an executor."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from greenroom import __version__
from greenroom.agents.executors import Executor, ProcSetup, TaskExecutor, ThreadExecutor
from greenroom.agents.handover import Estate, Succession, dispatch_again
from greenroom.agents.health import HealthPage, WorkerState
from greenroom.agents.job import Job, JobAcceptArguments, RunningJobInfo
from greenroom.agents.link import WorkerLink
from greenroom.agents.load import CpuLoad
from greenroom.agents.options import JobExecutorType, ServerEnvOption, WorkerOptions
from greenroom.agents.request import Answer, JobRequest
from greenroom.agents.runner import JobLaunch, import_for_joining
from greenroom.agents.watchdog import Watchdog
from greenroom.errors import AssignmentTimeoutError, ConfigError, ConnectError, DisconnectedError
from greenroom.protocol import job_run, worker_io
from greenroom.protocol.worker import ASSIGNMENT_TIMEOUT, Worker, WorkerSettings
from greenroom.rtc.events import EventEmitter
from greenroom.runtime.socket import SocketRefusedError
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants, encode_token, peek_claims

if TYPE_CHECKING:
    from greenroom.agents.context import JobContext

__all__ = ["UPDATE_LOAD_INTERVAL", "WorkerRun", "WorkerSetup"]

log = logging.getLogger("greenroom.agents")

T = TypeVar("T")
#: Seconds.
UPDATE_LOAD_INTERVAL = 0.5
_SHORTEST_TOKEN = 600.0
#: HTTP statuses of refusals that may be over soon, other than those from 500 on.
_PASSING = (408, 425, 429)


@dataclasses.dataclass(slots=True)
class _Offer:
    """A job between its offer and its launch. `void` says why it is not ours after all."""

    job: Job
    received_at: float
    accepted_at: float = 0.0
    answer: Answer | None = None
    assigned: asyncio.Future[None] | None = None
    asking: asyncio.Task[None] | None = None
    void: Exception | None = None


@dataclasses.dataclass(slots=True)
class _Figures:
    """How busy the machine is, 0 to 1, and how many jobs have ended how."""

    load: float = 0.0
    succeeded: int = 0
    failed: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker runs with: its options, the handler of a session's end, and whether this is development.

    `succession` is set where jobs come from a run before this one and go to the next.
    """

    options: WorkerOptions
    session_end: Callable[[JobContext], Awaitable[None] | None] | None
    devmode: bool
    succession: Succession | None = None

    def value(self, setting: T | ServerEnvOption[T]) -> T:
        """The value of a setting that may differ between development and production."""
        return ServerEnvOption.getvalue(setting, self.devmode)


class WorkerRun:
    """A worker while it runs: the machine with a clock, a socket and an executor."""

    def __init__(self, owner: EventEmitter[Any], setup: WorkerSetup) -> None:
        options = setup.options
        self._owner = owner
        self._setup = setup
        self._credentials = options.credentials()
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet(log)
        self._link: WorkerLink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._offers: dict[str, _Offer] = {}
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._closed = asyncio.Event()
        self._health = HealthPage(self._state)
        self._figures = _Figures()
        self.jobs: dict[str, RunningJobInfo] = {}
        settings = WorkerSettings(
            _registration(options), setup.value(options.load_threshold), options.max_jobs, options.max_retry
        )
        self.machine = Worker(settings, random.random)
        self._executor = self._make_executor()

    async def run(self, *, register: bool) -> None:
        """Work until the end."""
        succession, estate = self._setup.succession, Estate()
        try:
            if succession is None:
                await self._open_health()
            import_for_joining()
            await self._executor.start()
            with closing(Watchdog()):
                if succession is not None:
                    estate = await succession.begin()
                    await self._open_health()
                    self._tasks.spawn(succession.serve(self, self._executor), name="succession")
                self._tasks.spawn(self._measure_load(), name="load")
                self._owner.emit("worker_started")
                self._take_over(estate)
                if register:
                    self._apply(self.machine.start())
                await asyncio.shield(self._over)
        finally:
            await self._close()

    async def _open_health(self) -> None:
        options = self._setup.options
        await self._health.start(options.host, self._setup.value(options.port), options.prometheus_port)
        log.info("health page at http://%s:%d", options.host or "127.0.0.1", self._health.port)

    async def drain(self, timeout: float | None) -> None:
        """Take no more jobs; end when the last has ended, or after `timeout` seconds; None = any time."""
        self._apply(self.machine.drain(self._loop.time()))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._over)
        except TimeoutError:
            log.warning("%d jobs still run after %g s of draining and are ended", len(self.jobs), timeout)
        await self.stop()

    async def stop(self) -> None:
        """End every job and the worker."""
        self._finish(None)
        await self._closed.wait()

    async def release(self) -> Sequence[RunningJobInfo]:
        """Take no more jobs, leave the server, and name the jobs that run on here until their rooms are taken over."""
        self._apply(self.machine.retire(self._loop.time()))
        asking = [offer.asking for offer in self._offers.values() if offer.asking is not None]
        if asking:
            await asyncio.wait(asking, timeout=ASSIGNMENT_TIMEOUT)
        await self._health.close()
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        running = [self.jobs[job_id] for job_id in self.machine.unfinished if not self.jobs[job_id].fake_job]
        self._apply(self.machine.release())
        return running

    def _take_over(self, estate: Estate) -> None:
        """Go on with the jobs of the run before: tell the server that they are ours, and ask the program about each."""
        for info in estate.running:
            self.machine.adopt(info.job.id)
            self.jobs[info.job.id] = info
            self._tasks.spawn(self._continue(info), name=f"taking over job {info.job.id}")
        if estate.failed:
            _, key, secret = self._credentials
            self._tasks.spawn(dispatch_again(estate.failed, key, secret), name="dispatching again")

    async def _continue(self, info: RunningJobInfo) -> None:
        try:
            answer = await self._ask_program(info.job)
        except Exception as error:
            log.exception("job %s: the request function failed", info.job.id)
            self.job_ended(info.job.id, str(error))
            return
        if answer is None:
            log.info("job %s: the changed program does not want it", info.job.id)
            self.job_ended(info.job.id, "")
            return
        now = time.time()
        token = self._renewed(info.token, now)
        self._start(dataclasses.replace(info, token=token, assigned_at=now, launched_at=now), answer)

    async def simulate(self, job: Job, token: str | None, identity: str | None, fake: bool) -> None:
        """Ask the program about a job that no server has offered, and run it if it accepts."""
        identity = peek_claims(token).identity if token else identity
        answer = await self._ask_program(job)
        if answer is not None:
            arguments = dataclasses.replace(answer.arguments, identity=identity or answer.arguments.identity)
            now = time.time()
            signed = token or self._agent_token(job.room.name, arguments)
            info = RunningJobInfo(arguments, job, self._credentials[0], signed, "", fake, now, now, now, now)
            self.machine.adopt(job.id)
            self._start(info, answer)

    async def _ask_program(self, job: Job) -> Answer | None:
        """How the program accepts a job that is ours already; None when it does not."""
        answers: list[Answer] = []

        def accept(answer: Answer) -> asyncio.Future[None]:
            answers.append(answer)
            done: asyncio.Future[None] = self._loop.create_future()
            done.set_result(None)
            return done

        await self._call_handler(JobRequest(job, accept, lambda terminate: None))
        return answers[0] if answers else None

    @property
    def http_port(self) -> int:
        """The port of the health page."""
        return self._health.port

    def _state(self) -> WorkerState:
        return WorkerState(
            self._setup.options.agent_name,
            self._setup.options.worker_type.name,
            self.machine.worker_id,
            self.machine.draining,
            self._figures.load,
            len(self.jobs),
            self._figures.succeeded,
            self._figures.failed,
        )

    # -- the machine -------------------------------------------------------------------------------------------------

    def _apply(self, outputs: list[worker_io.Output]) -> None:
        for output in outputs:
            self._carry_out(output)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.machine.deadline is not None:
            self._timer = self._loop.call_at(self.machine.deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._apply(self.machine.tick(self._loop.time()))

    def _carry_out(self, output: worker_io.Output) -> None:
        match output:
            case worker_io.Send(message=message):
                if self._link is not None:
                    self._link.send(message)
            case worker_io.Connect(delay=delay):
                self._tasks.spawn(self._connect(delay), name="connecting the worker")
            case worker_io.Registered(worker_id=worker_id, server_info=info):
                log.info("registered as %s with %s %s", worker_id, self._credentials[0], info.version)
                self._owner.emit("worker_registered", worker_id, info)
            case worker_io.Ask(job=job):
                offer = self._offers[job.id] = _Offer(Job.from_message(job), time.time())
                offer.asking = self._tasks.spawn(self._ask(offer), name=f"request for job {job.id}")
            case worker_io.Withdrawn():
                self._withdrawn(output)
            case worker_io.Launch():
                self._launch(output)
            case worker_io.Shutdown(job_id=job_id, reason=reason):
                self._executor.shutdown(job_id, reason)
            case worker_io.Drained():
                self._finish(None)
            case worker_io.GaveUp(message=message):
                self._finish(ConnectError(message))

    async def _connect(self, delay: float) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        await asyncio.sleep(delay)
        try:
            self._link = await WorkerLink.open(
                self._credentials, self._setup.options.proxy(self._credentials[0]), self._received, self._lost
            )
        except SocketRefusedError as refused:
            final = 200 <= refused.status < 500 and refused.status not in _PASSING
            outputs = self.machine.refused(str(refused), final=final)
            for again in outputs:
                if isinstance(again, worker_io.Connect):
                    log.warning("%s; trying again in %.1f s", refused, again.delay)
            self._apply(outputs)
        except Exception as error:  # noqa: BLE001 - `run` raises it: a worker that never connects must not wait in silence
            self._finish(error)
        else:
            self._apply(self.machine.opened(self._loop.time()))

    def _received(self, message: m.ServerMessage) -> None:
        self._apply(self.machine.received(self._loop.time(), message))

    def _lost(self, detail: str) -> None:
        log.warning("%s; %d jobs go on", detail, len(self.jobs))
        self._apply(self.machine.lost(detail))

    # -- jobs --------------------------------------------------------------------------------------------------------

    async def _ask(self, offer: _Offer) -> None:
        """Ask the program about an offered job; what it does not answer is declined."""
        job_id = offer.job.id
        request = JobRequest(
            offer.job,
            on_accept=lambda answer: self._accept(offer, answer),
            on_reject=lambda terminate: self._apply(
                self.machine.decline(self._loop.time(), job_id, terminate=terminate)
            ),
        )
        try:
            await self._call_handler(request)
        except (AssignmentTimeoutError, DisconnectedError) as error:
            log.warning("job %s: %s", job_id, error)
        except asyncio.CancelledError:
            raise
        except BaseException:  # what one request does must not end the worker, not even sys.exit()
            log.exception("job %s: the request function failed", job_id)
        finally:
            if not request.answered and offer.void is None:
                log.warning("job %s was neither accepted nor rejected, so it is offered to others", job_id)
                self._apply(self.machine.decline(self._loop.time(), job_id, terminate=False))
            if offer.answer is None:
                self._offers.pop(job_id, None)

    def _accept(self, offer: _Offer, answer: Answer) -> asyncio.Future[None]:
        if answer.entrypoint is None and self._setup.options.entrypoint_fnc is None:
            raise ConfigError("accept() needs an entrypoint, because the worker has no entrypoint_fnc")
        if offer.void is not None:
            raise offer.void
        offer.answer, offer.accepted_at = answer, time.time()
        offer.assigned = self._loop.create_future()
        offer.assigned.add_done_callback(_retrieved)
        arguments = answer.arguments
        attributes = dict(arguments.attributes or {})
        if self._setup.options.agent_name:
            attributes["lk.agent.name"] = self._setup.options.agent_name
        acceptance = worker_io.Acceptance(arguments.identity, arguments.name, arguments.metadata, attributes)
        self._apply(self.machine.accept(self._loop.time(), offer.job.id, acceptance))
        return offer.assigned

    def _withdrawn(self, output: worker_io.Withdrawn) -> None:
        offer = self._offers.pop(output.job_id, None)
        if offer is None:
            return
        kind = DisconnectedError if output.lost else AssignmentTimeoutError
        offer.void = kind(output.reason)
        if offer.assigned is None:
            log.warning("job %s: %s", output.job_id, output.reason)
            if offer.asking is not None:
                offer.asking.cancel()
        elif not offer.assigned.done():
            offer.assigned.set_exception(offer.void)

    def _launch(self, output: worker_io.Launch) -> None:
        offer = self._offers.pop(output.job.id)
        if offer.answer is None or offer.assigned is None:
            return
        if not offer.assigned.done():
            offer.assigned.set_result(None)
        now = time.time()
        info = RunningJobInfo(
            offer.answer.arguments,
            Job.from_message(output.job),
            output.url or self._credentials[0],
            output.token,
            self.machine.worker_id,
            received_at=offer.received_at,
            accepted_at=offer.accepted_at,
            assigned_at=now,
            launched_at=now,
        )
        self._start(info, offer.answer)

    def _start(self, info: RunningJobInfo, answer: Answer) -> None:
        if self._over.done():  # assigned while everything ends: what runs jobs may be closed already
            self._apply(self.machine.job_ended(self._loop.time(), info.job.id, "the worker ended before the job began"))
            return
        entrypoint = answer.entrypoint or self._setup.options.entrypoint_fnc
        if entrypoint is None:
            raise ConfigError("there is no entrypoint to run")
        job_id = info.job.id
        launch = JobLaunch(
            info=info,
            entrypoint=entrypoint,
            auto_subscribe=answer.auto_subscribe,
            auto_disconnect=answer.auto_disconnect,
            limits=job_run.Limits(
                entrypoint=self._setup.options.entrypoint_timeout,
                callbacks=self._setup.options.shutdown_process_timeout,
            ),
            session_end=self._setup.session_end,
            session_end_timeout=self._setup.options.session_end_timeout,
            api_key=self._credentials[1],
            api_secret=self._credentials[2],
        )
        self.jobs[job_id] = info
        log.info("job %s in room %r starts", job_id, info.job.room.name, extra=_fields(info))
        try:
            self._executor.launch(launch)
        except ConfigError as error:
            log.error("job %s cannot run: %s", job_id, error)
            self.job_ended(job_id, str(error))

    def job_joined(self, job_id: str) -> None:
        """A job's agent is in its room."""
        if self._setup.succession is not None:
            self._setup.succession.job_joined(job_id)

    def job_started(self, job_id: str) -> None:
        """A job's entrypoint runs."""
        self._apply(self.machine.job_started(job_id))
        self._owner.emit("job_started", job_id)

    async def job_outcome(self, job_id: str, error: str) -> None:
        """A job's agent is about to leave."""
        self._apply(self.machine.job_outcome(job_id, error))
        if self._link is not None:
            await self._link.flush()

    def job_ended(self, job_id: str, error: str) -> None:
        """A job is over."""
        info = self.jobs.pop(job_id, None)
        if info is None:
            return
        if self._setup.succession is not None:
            self._setup.succession.job_ended(info, error)
        self._figures.failed += bool(error)
        self._figures.succeeded += not error
        log.info("job %s %s", job_id, "failed" if error else "ended", extra=_fields(info))
        self._apply(self.machine.job_ended(self._loop.time(), job_id, error))
        self._owner.emit("job_ended", job_id, error)

    async def _call_handler(self, request: JobRequest) -> None:
        handler = self._setup.options.request_fnc
        if handler is None:
            await request.accept()
        elif inspect.isawaitable(result := handler(request)):
            await result

    def _agent_token(self, room: str, arguments: JobAcceptArguments) -> str:
        _, key, secret = self._credentials
        claims = Claims(
            identity=arguments.identity,
            name=arguments.name,
            kind="agent",
            metadata=arguments.metadata,
            attributes=arguments.attributes or {},
            video=VideoGrants(room_join=True, room=room, agent=True, can_update_own_metadata=True),
        )
        return encode_token(claims, key, secret, now=time.time())

    def _renewed(self, token: str, now: float) -> str:
        """A token that says the same and is good for a while."""
        claims = peek_claims(token)
        if claims.expires_at > now + _SHORTEST_TOKEN:
            return token
        _, key, secret = self._credentials
        return encode_token(claims, key, secret, now=now)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _measure_load(self) -> None:
        given, own = self._setup.options.load_fnc, CpuLoad()
        arguments = (self._owner,) if given is not None and _takes_argument(given) else ()
        failing = False
        while True:
            try:
                # A program's function may take its time, such as a second of measuring: jobs must not wait for it.
                load = own() if given is None else float(await asyncio.to_thread(given, *arguments))
            except Exception:
                if not failing:
                    log.exception("load_fnc failed; the last load it told counts until it works again")
                failing = True
            else:
                failing = False
                self._apply(self.machine.set_load(self._loop.time(), load))
                self._figures.load = self.machine.load
            await asyncio.sleep(UPDATE_LOAD_INTERVAL)

    def _make_executor(self) -> Executor:
        options = self._setup.options
        proxy = options.proxy(self._credentials[0])
        setup = ProcSetup(options.prewarm_fnc, tuple(options.preload_modules or ()), proxy)
        match options.job_executor_type:
            case JobExecutorType.TASK:
                return TaskExecutor(self, setup)
            case JobExecutorType.THREAD:
                return ThreadExecutor(self, setup)
            case JobExecutorType.PROCESS:
                from greenroom.agents.processes import ProcessExecutor, ProcessLimits

                limits = ProcessLimits(
                    options.job_memory_warn_mb,
                    options.job_memory_limit_mb,
                    options.initialize_process_timeout,
                    self._setup.value(options.num_idle_processes),
                )
                return ProcessExecutor(self, setup, limits)

    def _finish(self, error: Exception | None) -> None:
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._apply(self.machine.drain(self._loop.time()))
        try:
            await self._executor.close()
            await self._health.close()
            await self._tasks.close()
            if self._link is not None:
                await self._link.close()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._over.done():
                self._over.exception()
            self._closed.set()


def _registration(options: WorkerOptions) -> m.RegisterWorkerRequest:
    permissions = options.permissions
    return m.RegisterWorkerRequest(
        type=options.worker_type.value,  # type: ignore[arg-type]
        agent_name=options.agent_name,
        version=__version__,
        deployment=os.environ.get("LIVEKIT_AGENT_DEPLOYMENT", ""),
        allowed_permissions=m.ParticipantPermission(
            can_subscribe=permissions.can_subscribe,
            can_publish=permissions.can_publish,
            can_publish_data=permissions.can_publish_data,
            can_publish_sources=permissions.can_publish_sources,  # type: ignore[arg-type]
            hidden=permissions.hidden,
            can_update_metadata=permissions.can_update_metadata,
            agent=True,
        ),
    )


def _fields(info: RunningJobInfo) -> dict[str, str]:
    """What log lines about a job say beside their text."""
    return {"job_id": info.job.id, "room": info.job.room.name}


def _takes_argument(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def _retrieved(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()

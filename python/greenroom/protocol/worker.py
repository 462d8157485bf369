"""A worker's side of `/agent`: registering, being offered jobs, reporting on them, coming back after a lost connection.

A slot is reserved when a job is offered, so that any number of offers at once cannot exceed the worker's limit. Jobs
survive a lost connection: the worker registers again, says which jobs it still runs, and reports those that ended
meanwhile.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from greenroom.protocol import worker_io as io
from greenroom.protocol.job_run import shorten_error
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m

__all__ = ["JobPhase", "Worker", "WorkerSettings"]

#: Servers offer a job to another worker when the answer takes longer than this.
ANSWER_TIMEOUT = 10.0
ASSIGNMENT_TIMEOUT = 7.5
REGISTER_TIMEOUT = 10.0
STATUS_INTERVAL = 2.5
#: What a worker tells at most that takes jobs at any load.
MOST_WILLING_LOAD = 0.5
RETRY_FIRST, RETRY_LONGEST = 0.25, 10.0
#: Ended jobs whose report could not be sent are remembered, so many of them.
MAX_UNSENT = 1000
#: Seconds after which the connection would be known to be lost if a report had not arrived.
_IN_DOUBT = 60.0

_STATUS, _REGISTER, _ANSWER = "status", "register", "answer"


class JobPhase(enum.Enum):
    """Where a job is, as its worker sees it."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(slots=True)
class _Job:
    phase: JobPhase
    acceptance: io.Acceptance = field(default_factory=io.Acceptance)
    started: bool = False
    reported: bool = False


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker presents itself.

    Attributes:
        registration: what it registers as.
        load_threshold: with this load or more it takes no job; infinite = no load keeps it from one.
        max_jobs: it never has more jobs than this; None = only the load counts.
        max_retry: attempts in a row to reach the server before it gives up; while jobs run it never does.
    """

    registration: m.RegisterWorkerRequest
    load_threshold: float = 0.7
    max_jobs: int | None = None
    max_retry: int = 16


@dataclass(slots=True)
class _Reports:
    """How jobs ended: what could not be sent, and what was sent lately and may not have arrived."""

    now: float = 0.0
    unsent: dict[str, m.UpdateJobStatus] = field(default_factory=dict)
    sent: deque[tuple[float, m.UpdateJobStatus]] = field(default_factory=lambda: deque(maxlen=MAX_UNSENT))

    def add(self, update: m.UpdateJobStatus, *, sent: bool) -> None:
        if sent:
            self.sent.append((self.now, update))
        elif len(self.unsent) < MAX_UNSENT:
            self.unsent[update.job_id] = update

    def doubt(self) -> None:
        """The connection is lost. A server that has a report already ignores it when it comes again."""
        self.unsent |= {update.job_id: update for at, update in self.sent if at > self.now - _IN_DOUBT}
        self.sent.clear()

    def send_all(self) -> list[m.UpdateJobStatus]:
        """What was not sent, which the caller sends now."""
        updates, self.unsent = list(self.unsent.values()), {}
        self.sent.extend((self.now, update) for update in updates)
        return updates


class Worker:
    """The machine of one worker."""

    def __init__(self, settings: WorkerSettings, random: Callable[[], float]) -> None:
        """Make a worker that has no connection yet; `start` asks for one.

        Args:
            settings: how it presents itself.
            random: numbers from 0 to 1, to spread the attempts of many workers.
        """
        self._settings = settings
        self._random = random
        self._timers: Timers[tuple[str, str]] = Timers()
        self._jobs: dict[str, _Job] = {}
        self._reports = _Reports()
        self._worker_id = ""
        self._ever_registered = False
        self._failures = 0
        self._load = 0.0
        self._draining = False
        self._retired = False
        self._released = False
        self._over = False
        self._reported_full = False
        self._out: list[io.Output] = []

    @property
    def deadline(self) -> float | None:
        """When the machine wants a `tick`."""
        return self._timers.deadline

    @property
    def worker_id(self) -> str:
        """The id the server gave us; "" while we are not registered."""
        return self._worker_id

    @property
    def draining(self) -> bool:
        """Whether it takes no more jobs because it is to end."""
        return self._draining

    @property
    def load(self) -> float:
        """How busy the machine is: 0 is idle, 1 all of it."""
        return self._load

    @property
    def full(self) -> bool:
        """Whether it takes no job now."""
        limit = self._settings.max_jobs
        return (
            self._draining
            or self._retired
            or self._load >= self._settings.load_threshold
            or (limit is not None and len(self._jobs) >= limit)
        )

    @property
    def running(self) -> int:
        """How many jobs run."""
        return sum(job.phase is JobPhase.RUNNING for job in self._jobs.values())

    @property
    def unfinished(self) -> list[str]:
        """The jobs that run and whose end was not reported."""
        return [job_id for job_id, job in self._jobs.items() if job.phase is JobPhase.RUNNING and not job.reported]

    def phase(self, job_id: str) -> JobPhase:
        """Where a job is; unknown ones have ended."""
        return self._jobs[job_id].phase if job_id in self._jobs else JobPhase.ENDED

    # -- the connection ----------------------------------------------------------------------------------------------

    def start(self) -> list[io.Output]:
        """Begin."""
        return [io.Connect(0.0)]

    def opened(self, now: float) -> list[io.Output]:
        """The socket is open."""
        if self._released:
            return []
        self._send(m.WorkerMessage(register=self._settings.registration))
        self._timers.set((_REGISTER, ""), now + REGISTER_TIMEOUT)
        return self._take()

    def refused(self, detail: str, *, final: bool) -> list[io.Output]:
        """The socket could not be opened; `final`: the server said that it never will."""
        if final and not self._ever_registered:
            self._over = True
            return [io.GaveUp(detail)]
        return self._retry(detail)

    def lost(self, detail: str) -> list[io.Output]:
        """The socket is gone. Running jobs go on; offers are void."""
        self._worker_id = ""
        self._timers = Timers()
        self._reports.doubt()
        for job_id, job in list(self._jobs.items()):
            if job.phase is not JobPhase.RUNNING:
                del self._jobs[job_id]
                self._out.append(io.Withdrawn(job_id, f"the connection to the server was lost: {detail}", lost=True))
        self._check_drained()
        if not self._over:
            self._out += self._retry(detail)
        return self._take()

    def received(self, now: float, message: m.ServerMessage) -> list[io.Output]:
        """The server sent a message."""
        self._reports.now = now
        match message.WhichOneof("message"):
            case "register":
                self._registered(now, message.register)
            case "availability":
                self._offered(now, message.availability.job)
            case "assignment":
                self._assigned(message.assignment)
            case "termination":
                job_id = message.termination.job_id
                if self.phase(job_id) is JobPhase.RUNNING:
                    self._out.append(io.Shutdown(job_id, "ended by the server"))
                elif self.phase(job_id) is JobPhase.ACCEPTED:
                    self._withdraw(job_id, "the server takes the job back")
                    self._tell_fullness(now)
            case _:
                pass
        return self._take()

    def tick(self, now: float) -> list[io.Output]:
        """The deadline may have passed."""
        self._reports.now = now
        for name, job_id in self._timers.expire(now):
            if name == _STATUS:
                self._report(now)
            elif name == _REGISTER:
                self._out += self._retry("the server did not answer the registration")
            elif self.phase(job_id) is JobPhase.OFFERED:
                self._withdraw(job_id, f"the request was not answered within {ANSWER_TIMEOUT:g} s")
                self._tell_fullness(now)
                self._decline(job_id, terminate=False)
            else:
                self._withdraw(job_id, f"no assignment came within {ASSIGNMENT_TIMEOUT:g} s")
                self._tell_fullness(now)
        return self._take()

    # -- what the program says ---------------------------------------------------------------------------------------

    def accept(self, now: float, job_id: str, acceptance: io.Acceptance) -> list[io.Output]:
        """Take an offered job."""
        job = self._jobs.get(job_id)
        if job is None or job.phase is not JobPhase.OFFERED:
            return []
        job.phase, job.acceptance = JobPhase.ACCEPTED, acceptance
        self._timers.set((_ANSWER, job_id), now + ASSIGNMENT_TIMEOUT)
        answer = m.AvailabilityResponse(
            job_id=job_id,
            available=True,
            participant_identity=acceptance.identity,
            participant_name=acceptance.name,
            participant_metadata=acceptance.metadata,
            participant_attributes=acceptance.attributes,
        )
        self._send(m.WorkerMessage(availability=answer))
        return self._take()

    def decline(self, now: float, job_id: str, *, terminate: bool) -> list[io.Output]:
        """Do not take an offered job; `terminate`: nobody shall."""
        if self.phase(job_id) is not JobPhase.OFFERED:
            return []
        self._timers.cancel((_ANSWER, job_id))
        del self._jobs[job_id]
        self._tell_fullness(now)
        self._decline(job_id, terminate=terminate)
        self._check_drained()
        return self._take()

    def job_started(self, job_id: str) -> list[io.Output]:
        """A job's entrypoint runs."""
        if self.phase(job_id) is JobPhase.RUNNING:
            self._jobs[job_id].started = True
            self._job_status(job_id, m.JobStatus.JS_RUNNING)
        return self._take()

    def job_outcome(self, job_id: str, error: str) -> list[io.Output]:
        """A job's entrypoint is over and its agent is about to leave; `error` is "" when it went well."""
        self._report_outcome(job_id, error)
        return self._take()

    def job_ended(self, now: float, job_id: str, error: str) -> list[io.Output]:
        """A job is over; `error` is "" when it went well. Frees its slot."""
        self._report_outcome(job_id, error)
        if self._jobs.pop(job_id, None) is None:
            return []
        self._timers.cancel((_ANSWER, job_id))
        self._tell_fullness(now)
        self._check_drained()
        return self._take()

    def adopt(self, job_id: str) -> None:
        """A job that no server assigned runs here."""
        self._jobs[job_id] = _Job(JobPhase.RUNNING)

    def set_load(self, now: float, load: float) -> list[io.Output]:
        """How busy the machine is, 0 to 1. Becoming full or free is reported at once. No number counts as busy."""
        self._load = 1.0 if math.isnan(load) else max(0.0, load)
        self._tell_fullness(now)
        return self._take()

    def drain(self, now: float) -> list[io.Output]:
        """Take no more jobs; `Drained` follows when the last has ended."""
        if not self._draining:
            self._draining = True
            if self._worker_id:
                self._report(now)
        self._check_drained()
        return self._take()

    def retire(self, now: float) -> list[io.Output]:
        """Take no more jobs, because another worker is about to take over those that run: `release` follows."""
        self._retired = True
        if self._worker_id:
            self._report(now)
        return self._take()

    def release(self) -> list[io.Output]:
        """The jobs that run belong to another worker now: nothing is reported or tried any more.

        `Drained` follows when the last of them has ended here.
        """
        self._released = self._draining = True
        self._worker_id = ""
        self._timers = Timers()
        for job_id, job in list(self._jobs.items()):
            if job.phase is not JobPhase.RUNNING:
                self._withdraw(job_id, "the worker is replaced by another one")
        self._check_drained()
        return self._take()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _registered(self, now: float, response: m.RegisterWorkerResponse) -> None:
        if self._worker_id:
            return
        self._timers.cancel((_REGISTER, ""))
        self._failures = 0
        self._ever_registered = True
        self._worker_id = response.worker_id
        self._out.append(io.Registered(response.worker_id, response.server_info))
        mine = [*(job_id for job_id, job in self._jobs.items() if not job.reported), *self._reports.unsent]
        if mine:
            self._send(m.WorkerMessage(migrate_job=m.MigrateJobRequest(job_ids=mine)))
        for job_id, job in self._jobs.items():
            if job.started and not job.reported:
                self._job_status(job_id, m.JobStatus.JS_RUNNING)
        for update in self._reports.send_all():
            self._send(m.WorkerMessage(update_job=update))
        self._report(now)

    def _offered(self, now: float, job: m.Job) -> None:
        if self.phase(job.id) in (JobPhase.OFFERED, JobPhase.ACCEPTED):
            return
        if self.full or job.id in self._jobs:
            self._decline(job.id, terminate=False)
            return
        self._jobs[job.id] = _Job(JobPhase.OFFERED)
        self._timers.set((_ANSWER, job.id), now + ANSWER_TIMEOUT)
        self._out.append(io.Ask(job))
        self._tell_fullness(now)

    def _assigned(self, assignment: m.JobAssignment) -> None:
        job_id = assignment.job.id
        if self.phase(job_id) is not JobPhase.ACCEPTED:
            if self.phase(job_id) is JobPhase.ENDED:
                self._job_status(job_id, m.JobStatus.JS_FAILED, "the assignment came too late")
            return
        self._timers.cancel((_ANSWER, job_id))
        job = self._jobs[job_id]
        job.phase = JobPhase.RUNNING
        self._out.append(io.Launch(assignment.job, job.acceptance, assignment.url, assignment.token))

    def _decline(self, job_id: str, *, terminate: bool) -> None:
        answer = m.AvailabilityResponse(job_id=job_id, available=False, terminate=terminate)
        self._send(m.WorkerMessage(availability=answer))

    def _withdraw(self, job_id: str, reason: str) -> None:
        self._timers.cancel((_ANSWER, job_id))
        del self._jobs[job_id]
        self._out.append(io.Withdrawn(job_id, reason))
        self._check_drained()

    def _tell_fullness(self, now: float) -> None:
        """The server offers what waits when a full worker becomes free, so it has to hear of both.

        It is told before a job is declined: a worker that declines while it is full would take the job later.
        """
        if self._worker_id and self.full != self._reported_full:
            self._report(now)

    def _report(self, now: float) -> None:
        self._reported_full = self.full
        status = m.WorkerStatus.WS_FULL if self._reported_full else m.WorkerStatus.WS_AVAILABLE
        # livekit-server gives no job to a worker that tells of 0.7 or more, however willing it is.
        willing = math.isinf(self._settings.load_threshold)
        load = min(self._load, MOST_WILLING_LOAD) if willing else self._load
        update = m.UpdateWorkerStatus(status=status, load=load, job_count=self.running)
        self._send(m.WorkerMessage(update_worker=update))
        self._timers.set((_STATUS, ""), now + STATUS_INTERVAL)

    def _report_outcome(self, job_id: str, error: str) -> None:
        job = self._jobs.get(job_id)
        if job is not None and job.phase is JobPhase.RUNNING and not job.reported:
            job.reported = True
            self._job_status(job_id, m.JobStatus.JS_FAILED if error else m.JobStatus.JS_SUCCESS, error)

    def _job_status(self, job_id: str, status: m.JobStatus, error: str = "") -> None:
        update = m.UpdateJobStatus(job_id=job_id, status=status, error=shorten_error(error))
        if self._worker_id:
            self._send(m.WorkerMessage(update_job=update))
        if status != m.JobStatus.JS_RUNNING:
            self._reports.add(update, sent=bool(self._worker_id))

    def _retry(self, detail: str) -> list[io.Output]:
        if self._released:
            return []
        self._timers.cancel((_REGISTER, ""))
        self._failures += 1
        if self._failures > self._settings.max_retry and not self.running:
            self._over = True
            return [io.GaveUp(f"{detail} ({self._failures} attempts)")]
        delay = min(RETRY_FIRST * 2 ** (self._failures - 1), RETRY_LONGEST)
        return [io.Connect(delay * (0.5 + 0.5 * self._random()))]

    def _check_drained(self) -> None:
        if self._draining and not self._jobs and not self._over:
            self._over = True
            self._out.append(io.Drained())

    def _send(self, message: m.WorkerMessage) -> None:
        self._out.append(io.Send(message))

    def _take(self) -> list[io.Output]:
        out, self._out = self._out, []
        return out

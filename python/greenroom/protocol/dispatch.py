"""Agent dispatch: which rooms want agents, which workers there are, and who gets which job.

Semantics beyond LiveKit's open server: a job that no worker takes waits as long as its room lives and is offered to
workers that register or become free, and after a while again to those that declined; and with `reoffer`, a job whose
worker died is offered again as a new job of the same dispatch, at most three times, unless the dispatch's restart
policy says never. A worker counts as dead for a job when its socket is gone and the job's agent has left the room or,
where the job would be offered again, lost its signalling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from greenroom.protocol import dispatch_records as r
from greenroom.protocol.job_run import shorten_error
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m
from greenroom.wire.sids import DISPATCH, JOB, WORKER

__all__ = ["Dispatch"]

_REGISTER_WITHIN = 10.0
_ANSWER_WITHIN = 10.0
_ORPHAN_CHECK = 3.0
_DELETE_GRACE = 3.0
#: Seconds in which a worker tells how a job went whose agent took its leave; one without a connection has to be quick,
#: because agents leave when they see that their worker has died.
_REPORT_WITHIN, _REPORT_LATE_WITHIN = 30.0, 5.0
#: Seconds after which a job that every worker declined is offered to them again, doubling.
_RETRY_FIRST, _RETRY_LONGEST = 5.0, 60.0
_KEPT_JOBS = 100
_TIMERS_OF_JOBS = ("offer", "orphan", "left", "deleted", "retry")


class Dispatch:
    """The dispatch machine of one server."""

    def __init__(self, new_sid: Callable[[str], str], *, wall: float, reoffer: bool, server_info: m.ServerInfo) -> None:
        """Make a machine that knows no worker and no room.

        Args:
            new_sid: makes a session id from a prefix.
            wall: what to add to the machine's seconds to get Unix time.
            reoffer: whether jobs of dead workers are offered again.
            server_info: told to workers.
        """
        self._new_sid = new_sid
        self._wall = wall
        self._reoffer = reoffer
        self._server_info = server_info
        self._now = 0.0
        self._workers: dict[int, r.WorkerRecord] = {}
        self._rooms: dict[str, m.Room] = {}
        self._dispatches: dict[str, dict[str, r.DispatchRecord]] = {}
        self._jobs: dict[str, r.JobRecord] = {}
        self._timers: Timers[tuple[str, str]] = Timers()
        self._out: list[r.DispatchOutput] = []

    @property
    def deadline(self) -> float | None:
        """When the machine wants a `Wake`."""
        return self._timers.deadline

    def dispatches(self, room: str) -> list[m.AgentDispatch]:
        """The dispatches of a room with their jobs."""
        return [record.to_message() for record in self._dispatches.get(room, {}).values()]

    @property
    def worker_count(self) -> int:
        """How many workers are registered."""
        return sum(bool(worker.id) for worker in self._workers.values())

    @property
    def open_jobs(self) -> list[r.JobRecord]:
        """The jobs that are not over, offered or not."""
        return [entry for entry in self._jobs.values() if not entry.ended]

    def step(self, now: float, event: r.DispatchInput) -> list[r.DispatchOutput]:
        """Take one input.

        Args:
            now: the machine's seconds.
            event: what happened.

        Returns:
            What to do about it, in order.
        """
        self._now = now
        self._expire()
        match event:
            case r.WorkerOpened(connection):
                self._workers[connection] = r.WorkerRecord(connection)
                self._timers.set(("register", str(connection)), now + _REGISTER_WITHIN)
            case r.WorkerSaid(connection, message):
                if connection in self._workers:
                    self._on_worker(self._workers[connection], message)
            case r.WorkerClosed(connection):
                self._on_closed(connection)
            case r.RoomOpened(room, agents):
                self._on_room(room, agents)
            case r.RoomGone(room_name):
                self._on_room_gone(room_name)
            case r.ParticipantAppeared(room_name, participant):
                self._launch_for(room_name, m.JobType.JT_PARTICIPANT, participant)
            case r.TrackAppeared(room_name, participant):
                self._launch_for(room_name, m.JobType.JT_PUBLISHER, participant)
            case r.AgentAppeared(room_name, identity):
                self._on_agent(room_name, identity)
            case r.ParticipantGone(room_name, identity, said_so):
                self._on_left(room_name, identity, said_so)
            case r.CreateDispatch(dispatch):
                self._create(dispatch)
            case r.DeleteDispatch(room_name, dispatch_id):
                self._delete(room_name, dispatch_id)
            case r.Wake():
                pass
        out, self._out = self._out, []
        return out

    # -- rooms and dispatches ----------------------------------------------------------------------------------------

    def _on_room(self, room: m.Room, agents: Iterable[m.RoomAgentDispatch]) -> None:
        self._rooms[room.name] = room
        self._dispatches.setdefault(room.name, {})
        wanted = list(agents) or [m.RoomAgentDispatch()]
        for each in wanted:
            self._create(
                m.AgentDispatch(
                    id=self._new_sid(DISPATCH),
                    agent_name=each.agent_name,
                    room=room.name,
                    metadata=each.metadata,
                    restart_policy=each.restart_policy,
                    deployment=each.deployment,
                    attributes=each.attributes,
                )
            )

    def _create(self, dispatch: m.AgentDispatch) -> None:
        known = self._dispatches.setdefault(dispatch.room, {})
        if dispatch.id in known:
            return
        dispatch.state.created_at = self._wall_ns()
        record = r.DispatchRecord(dispatch)
        known[dispatch.id] = record
        self._launch(record, m.JobType.JT_ROOM, None)

    def _delete(self, room: str, dispatch_id: str) -> None:
        record = self._dispatches.get(room, {}).pop(dispatch_id, None)
        if record is None:
            return
        for job in list(record.jobs.values()):
            if job.ended:
                continue
            self._terminate(job)
            if job.assigned:
                self._timers.set(("deleted", job.job.id), self._now + _DELETE_GRACE)
            else:
                self._end(job, m.JobStatus.JS_FAILED, "dispatch deleted")

    def _on_room_gone(self, room: str) -> None:
        self._rooms.pop(room, None)
        for record in self._dispatches.pop(room, {}).values():
            for job in list(record.jobs.values()):
                if not job.joined:
                    self._terminate(job)  # its agent would open the room again
                self._end(job, m.JobStatus.JS_SUCCESS if job.assigned else m.JobStatus.JS_FAILED, "")
                self._forget(job)

    def _launch_for(self, room: str, kind: m.JobType, participant: m.ParticipantInfo) -> None:
        for record in list(self._dispatches.get(room, {}).values()):
            known = [each for each in record.jobs.values() if not each.ended and each.job.type == kind]
            if any(each.job.participant.sid == participant.sid for each in known):
                continue
            for entry in known:
                if not entry.assigned and entry.job.participant.identity == participant.identity:
                    self._drop(record, entry)  # it was for an earlier stay of the same participant
            self._launch(record, kind, participant)

    # -- jobs --------------------------------------------------------------------------------------------------------

    def _launch(
        self, record: r.DispatchRecord, kind: m.JobType, participant: m.ParticipantInfo | None, lives: int = 3
    ) -> None:
        room = self._rooms.get(record.info.room)
        if room is None:
            return
        job = m.Job(
            id=self._new_sid(JOB),
            dispatch_id=record.info.id,
            type=kind,
            room=room,
            participant=participant,
            metadata=record.info.metadata,
            agent_name=record.info.agent_name,
            deployment=record.info.deployment,
            attributes=record.info.attributes,
        )
        job.state.updated_at = self._wall_ns()
        entry = r.JobRecord(job, lives=lives, patience=_RETRY_FIRST)
        record.jobs[job.id] = entry
        self._jobs[job.id] = entry
        self._trim(record)
        self._offer(entry)

    def _offer(self, entry: r.JobRecord) -> None:
        able = [worker for worker in self._workers.values() if worker.serves(entry.job) and not worker.full]
        workers = [worker for worker in able if worker.id not in entry.tried]
        if not workers:
            if able:
                self._timers.set_default(("retry", entry.job.id), self._now + entry.patience)
            return
        worker = min(workers, key=lambda each: each.rank)
        entry.offered_to = worker
        worker.jobs.add(entry.job.id)
        worker.unreported += 1
        self._timers.cancel(("retry", entry.job.id))
        self._timers.set(("offer", entry.job.id), self._now + _ANSWER_WITHIN)
        self._say(worker, availability=m.AvailabilityRequest(job=entry.job))

    def _offer_waiting(self, worker: r.WorkerRecord) -> None:
        for entry in list(self._jobs.values()):
            if entry.waiting and worker.serves(entry.job) and not worker.full:
                self._offer(entry)

    def _withdraw(self, entry: r.JobRecord, *, for_now: bool = False) -> None:
        """The worker that was asked will not do it, or not now: ask the next one."""
        worker, entry.offered_to = entry.offered_to, None
        self._timers.cancel(("offer", entry.job.id))
        if worker is not None:
            worker.jobs.discard(entry.job.id)
            if not for_now:
                entry.tried.add(worker.id)
        self._offer(entry)

    def _on_availability(self, worker: r.WorkerRecord, answer: m.AvailabilityResponse) -> None:
        entry = self._jobs.get(answer.job_id)
        if entry is None or entry.offered_to is not worker:
            if answer.available and (entry is None or entry.worker is not worker):
                # It comes too late: what was reserved for the job is free again.
                self._say(worker, termination=m.JobTermination(job_id=answer.job_id))
            return
        if not answer.available:
            if answer.terminate:
                self._end(entry, m.JobStatus.JS_SUCCESS, "")
            else:
                self._withdraw(entry, for_now=worker.full)
            return
        self._timers.cancel(("offer", entry.job.id))
        if answer.terminate:
            self._end(entry, m.JobStatus.JS_SUCCESS, "")
            return
        entry.offered_to, entry.worker, entry.assigned = None, worker, True
        entry.identity = answer.participant_identity or f"agent-{entry.job.id}"
        state = entry.job.state
        state.participant_identity, state.worker_id = entry.identity, worker.id
        state.agent_id = worker.id
        state.started_at = state.updated_at = self._wall_ns()
        accepted = m.AvailabilityResponse()
        accepted.CopyFrom(answer)
        accepted.participant_identity = entry.identity
        registration = worker.registration
        permission = (
            registration.allowed_permissions if registration.HasField("allowed_permissions") else _DEFAULT_PERMISSION
        )
        self._out.append(r.AssignJob(worker.connection, entry.job, accepted, permission))
        self._out.append(r.AgentAnnounce("agent_job_started", entry.job))

    def _end(self, entry: r.JobRecord, status: m.JobStatus, error: str) -> None:
        if entry.ended:
            return
        state = entry.job.state
        state.status, state.error = status, shorten_error(error)
        state.ended_at = state.updated_at = self._wall_ns()
        for name in _TIMERS_OF_JOBS:
            self._timers.cancel((name, entry.job.id))
        for worker in (entry.worker, entry.offered_to):
            if worker is not None:
                worker.jobs.discard(entry.job.id)
        entry.offered_to = None
        if entry.assigned:
            self._out.append(r.AgentAnnounce("agent_job_ended", entry.job))

    def _terminate(self, entry: r.JobRecord) -> None:
        worker = entry.worker
        if worker is not None and not entry.ended:
            self._say(worker, termination=m.JobTermination(job_id=entry.job.id))

    def _forget(self, entry: r.JobRecord) -> None:
        self._jobs.pop(entry.job.id, None)
        for name in _TIMERS_OF_JOBS:
            self._timers.cancel((name, entry.job.id))
        for worker in (entry.worker, entry.offered_to):
            if worker is not None:
                worker.jobs.discard(entry.job.id)

    def _drop(self, record: r.DispatchRecord, entry: r.JobRecord) -> None:
        del record.jobs[entry.job.id]
        self._forget(entry)

    def _trim(self, record: r.DispatchRecord) -> None:
        """A long-lived dispatch remembers only its newest ended jobs."""
        ended = [each for each in record.jobs.values() if each.ended]
        for entry in ended[: max(0, len(ended) - _KEPT_JOBS)]:
            self._drop(record, entry)

    # -- workers -----------------------------------------------------------------------------------------------------

    def _on_worker(self, worker: r.WorkerRecord, message: m.WorkerMessage) -> None:
        kind = message.WhichOneof("message")
        if kind == "register":
            self._register(worker, message.register)
            return
        if not worker.id:
            self._out.append(r.CloseWorker(worker.connection))
            return
        match kind:
            case "availability":
                self._on_availability(worker, message.availability)
            case "update_worker":
                self._on_worker_status(worker, message.update_worker)
            case "update_job":
                self._on_job_status(worker, message.update_job)
            case "migrate_job":
                self._on_migrate(worker, message.migrate_job.job_ids)
            case "ping":
                pong = m.WorkerPong(last_timestamp=message.ping.timestamp, timestamp=self._wall_ns() // 1_000_000)
                self._say(worker, pong=pong)

    def _register(self, worker: r.WorkerRecord, request: m.RegisterWorkerRequest) -> None:
        if worker.id:
            return
        self._timers.cancel(("register", str(worker.connection)))
        worker.id = self._new_sid(WORKER)
        worker.registration = request
        response = m.RegisterWorkerResponse(worker_id=worker.id, server_info=self._server_info)
        self._say(worker, register=response)
        self._offer_waiting(worker)

    def _on_worker_status(self, worker: r.WorkerRecord, update: m.UpdateWorkerStatus) -> None:
        # Whoever sorts workers by what they say must not be led by numbers that are none.
        worker.load = math.inf if math.isnan(update.load) else max(0.0, update.load)
        worker.unreported = 0
        was_full = worker.full
        if update.HasField("status"):
            worker.full = update.status == m.WorkerStatus.WS_FULL
        if was_full and not worker.full:
            self._offer_waiting(worker)

    def _on_job_status(self, worker: r.WorkerRecord, update: m.UpdateJobStatus) -> None:
        entry = self._jobs.get(update.job_id)
        if entry is None or entry.worker is not worker or entry.ended:
            return
        if update.status == m.JobStatus.JS_RUNNING:
            entry.job.state.status = update.status
            entry.job.state.updated_at = self._wall_ns()
        elif update.status in (m.JobStatus.JS_SUCCESS, m.JobStatus.JS_FAILED):
            self._end(entry, update.status, update.error)

    def _on_migrate(self, worker: r.WorkerRecord, job_ids: Iterable[str]) -> None:
        """A worker came back on another socket and says which jobs it still runs."""
        for job_id in job_ids:
            entry = self._jobs.get(job_id)
            if entry is None or entry.ended or not entry.assigned or not worker.serves(entry.job):
                self._say(worker, termination=m.JobTermination(job_id=job_id))
            elif entry.worker is not worker:
                # Its former socket may look open for a while although the network cut it.
                if entry.worker is not None:
                    entry.worker.jobs.discard(job_id)
                entry.worker = worker
                worker.jobs.add(job_id)
                entry.job.state.worker_id = worker.id
                self._timers.cancel(("orphan", job_id))

    def _on_closed(self, connection: int) -> None:
        worker = self._workers.pop(connection, None)
        self._timers.cancel(("register", str(connection)))
        if worker is None:
            return
        for job_id in list(worker.jobs):
            entry = self._jobs[job_id]
            if entry.offered_to is worker:
                self._withdraw(entry)
                continue
            entry.worker = None
            if ("left", job_id) in self._timers:
                self._timers.set(("left", job_id), self._now + _REPORT_LATE_WITHIN)
            else:
                self._timers.set(("orphan", job_id), self._now + _ORPHAN_CHECK)

    def _on_agent(self, room: str, identity: str) -> None:
        for record in self._dispatches.get(room, {}).values():
            for entry in record.jobs.values():
                entry.joined |= entry.assigned and entry.identity == identity

    def _on_left(self, room: str, identity: str, said_so: bool) -> None:
        """Somebody left a room: an agent, whose job ends, or one whom a job was for."""
        for record in list(self._dispatches.get(room, {}).values()):
            for entry in list(record.jobs.values()):
                if entry.ended:
                    continue
                if entry.assigned and entry.identity == identity:
                    self._on_agent_left(entry, said_so)
                elif not entry.assigned and entry.job.participant.identity == identity:
                    self._drop(record, entry)

    def _on_agent_left(self, entry: r.JobRecord, said_so: bool) -> None:
        if said_so:
            # Its job is over, and its worker is about to tell how it went, if need be when it is back.
            self._terminate(entry)
            self._timers.cancel(("orphan", entry.job.id))
            patience = _REPORT_LATE_WITHIN if entry.worker is None else _REPORT_WITHIN
            self._timers.set_default(("left", entry.job.id), self._now + patience)
        elif entry.worker is None:
            self._bury(entry)
        else:
            self._terminate(entry)
            self._end(entry, m.JobStatus.JS_FAILED, "agent left the room")

    def _bury(self, entry: r.JobRecord) -> None:
        """A job's worker died: offer the job again where that is wanted."""
        self._end(entry, m.JobStatus.JS_FAILED, "worker died")
        record = self._wanted_again(entry)
        if record is not None:
            participant = entry.job.participant if entry.job.HasField("participant") else None
            self._launch(record, entry.job.type, participant, entry.lives - 1)

    def _wanted_again(self, entry: r.JobRecord) -> r.DispatchRecord | None:
        """The dispatch for which a job is offered again should its worker have died."""
        record = self._dispatches.get(entry.job.room.name, {}).get(entry.job.dispatch_id)
        if record is None or not self._reoffer or entry.lives <= 0:
            return None
        return None if record.info.restart_policy == m.JobRestartPolicy.JRP_NEVER else record

    # -- time --------------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        for name, key in self._timers.expire(self._now):
            if name == "register":
                self._out.append(r.CloseWorker(int(key)))
                continue
            entry = self._jobs.get(key)
            if entry is None or entry.ended:
                continue
            if name == "offer":
                self._withdraw(entry)
            elif name == "retry" and entry.waiting:
                entry.tried.clear()
                entry.patience = min(2 * entry.patience, _RETRY_LONGEST)
                self._offer(entry)
            elif name == "left" and entry.worker is None:
                self._bury(entry)
            elif name == "left":
                self._end(entry, m.JobStatus.JS_FAILED, "agent left the room, and its worker did not say why")
            elif name == "orphan":
                # Without another worker to come, a lost signalling connection has all the time to come back.
                when = r.Release.IF_LOST if self._wanted_again(entry) else r.Release.IF_ABSENT
                self._out.append(r.ReleaseAgent(entry.job.room.name, entry.identity, when))
                self._timers.set(("orphan", key), self._now + _ORPHAN_CHECK)
            elif name == "deleted":
                self._out.append(r.ReleaseAgent(entry.job.room.name, entry.identity, r.Release.ALWAYS))

    def _say(self, worker: r.WorkerRecord, **field: object) -> None:
        message = m.ServerMessage(**field)  # type: ignore[arg-type] # one of its fields, by name
        self._out.append(r.SendWorker(worker.connection, message))

    def _wall_ns(self) -> int:
        return int((self._now + self._wall) * 1_000_000_000)


_DEFAULT_PERMISSION = m.ParticipantPermission(
    can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=True, agent=True
)

"""The dispatch machine with a clock, worker sockets and rooms."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import TYPE_CHECKING

from greenroom.protocol import dispatch_records as r
from greenroom.protocol import outputs
from greenroom.protocol.dispatch import Dispatch
from greenroom.protocol.member import DEPENDENT_KINDS
from greenroom.server.session_token import grants_from
from greenroom.wire import messages as m
from greenroom.wire.sids import make_sid
from greenroom.wire.tokens import Claims, VideoGrants, encode_token

if TYPE_CHECKING:
    from greenroom.server.client_socket import ClientSocket
    from greenroom.server.live_room import LiveRoom
    from greenroom.server.server import Core

__all__ = ["Dispatcher"]

_TOKEN_LIFETIME = 3600.0
#: An agent that leaves for one of these is expected back.
_COMES_BACK = (m.DisconnectReason.DUPLICATE_IDENTITY, m.DisconnectReason.STATE_MISMATCH)
#: Its room ends, and that is told next.
_ROOM_ENDS = (
    m.DisconnectReason.ROOM_DELETED,
    m.DisconnectReason.ROOM_CLOSED,
    m.DisconnectReason.SERVER_SHUTDOWN,
)


class Dispatcher:
    """Carries out what the dispatch machine says."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sockets: dict[int, ClientSocket] = {}
        self._running = False
        self._waiting: list[r.DispatchInput] = []
        #: How many jobs have ended how, since the start.
        self.ended: Counter[str] = Counter(success=0, failed=0)
        self.machine = Dispatch(
            lambda prefix: make_sid(prefix, os.urandom(16)),
            wall=core.wall_clock() - self._loop.time(),
            reoffer=core.options.reoffer_jobs,
            server_info=core.settings.server_info,
        )

    def open_worker(self, connection: int, socket: ClientSocket) -> None:
        """A worker opened a socket."""
        self._sockets[connection] = socket
        self.step(r.WorkerOpened(connection))

    def close_worker(self, connection: int) -> None:
        """A worker's socket is gone."""
        self._sockets.pop(connection, None)
        self.step(r.WorkerClosed(connection))

    def room_event(self, room: LiveRoom, event: outputs.Announce) -> None:
        """Something happened in a room."""
        participant = event.participant
        if event.event == "room_finished":
            self.step(r.RoomGone(room.name))
        elif participant is None:
            return
        elif event.event in ("participant_left", "participant_connection_aborted"):
            if participant.disconnect_reason not in _COMES_BACK + _ROOM_ENDS:
                # Who gives up joining says so by closing its socket.
                said_so = (
                    event.event == "participant_connection_aborted"
                    or participant.disconnect_reason == m.DisconnectReason.CLIENT_INITIATED
                )
                self.step(r.ParticipantGone(room.name, participant.identity, said_so))
        elif participant.kind in DEPENDENT_KINDS:
            if event.event == "participant_joined":
                self.step(r.AgentAppeared(room.name, participant.identity))
        elif event.event == "participant_joined":
            self.step(r.ParticipantAppeared(room.name, participant))
        elif event.event == "track_published" and len(participant.tracks) == 1:
            self.step(r.TrackAppeared(room.name, participant))

    def step(self, event: r.DispatchInput) -> None:
        """Give the machine one input and carry out what it says."""
        self._waiting.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._waiting:
                for output in self.machine.step(self._loop.time(), self._waiting.pop(0)):
                    self._carry_out(output)
        finally:
            self._running = False
        self._arm()

    async def close(self) -> None:
        """Close every worker's socket. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for socket in list(self._sockets.values()):
            socket.close()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.machine.deadline is not None:
            self._timer = self._loop.call_at(self.machine.deadline, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.step(r.Wake())

    def _carry_out(self, output: r.DispatchOutput) -> None:
        match output:
            case r.SendWorker(connection, message):
                self._send(connection, message)
            case r.CloseWorker(connection):
                if connection in self._sockets:
                    self._sockets[connection].close()
            case r.AssignJob(connection, job, accepted, permission):
                token = self._agent_token(job, accepted, permission)
                assignment = m.JobAssignment(job=job, token=token)
                self._send(connection, m.ServerMessage(assignment=assignment))
            case r.ReleaseAgent(room_name, identity, when):
                self._release(room_name, identity, when)
            case r.AgentAnnounce(event, job):
                if event == "agent_job_ended":
                    self.ended["success" if job.state.status == m.JobStatus.JS_SUCCESS else "failed"] += 1
                room = m.Room(sid=job.room.sid, name=job.room.name)
                self._core.webhooks.job_event(room, event, job)

    def _send(self, connection: int, message: m.ServerMessage) -> None:
        if connection in self._sockets:
            self._sockets[connection].send(message)

    def _release(self, room_name: str, identity: str, when: r.Release) -> None:
        room = self._core.rooms.get(room_name)
        member = room.machine.member(identity) if room is not None else None
        if room is None or member is None:
            self.step(r.ParticipantGone(room_name, identity))
        elif when is r.Release.ALWAYS or (when is r.Release.IF_LOST and member.link.connection is None):
            room.remove(identity)

    def _agent_token(self, job: m.Job, accepted: m.AvailabilityResponse, permission: m.ParticipantPermission) -> str:
        base = VideoGrants(room_join=True, room=job.room.name, agent=True)
        attributes = dict(accepted.participant_attributes)
        if job.agent_name:
            attributes["lk.agent_name"] = job.agent_name
        agent = m.ParticipantPermission()
        agent.CopyFrom(permission)
        agent.agent = True
        claims = Claims(
            identity=accepted.participant_identity,
            name=accepted.participant_name,
            kind="agent",
            metadata=accepted.participant_metadata,
            attributes=attributes,
            video=grants_from(agent, base),
        )
        key, secret = next(iter(self._core.keys.items()))
        return encode_token(claims, key, secret, now=self._core.wall_clock(), lifetime=_TOKEN_LIFETIME)

"""`JobContext`: what a job's code has in its hands."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from greenroom import rtc
from greenroom.agents.job import AutoDisconnect, AutoSubscribe, Job, JobProcess, RunningJobInfo
from greenroom.agents.options import NotGivenOr
from greenroom.agents.participants import DEFAULT_PARTICIPANT_KINDS, kinds_of, wait_for_participant
from greenroom.errors import ConfigError, RequestError, StateError
from greenroom.runtime.tasks import TaskSet
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from greenroom.agents.api import Api
    from greenroom.agents.runner import JobLaunch
    from greenroom.agents.simulation import SimulationContext
    from greenroom.wire.tokens import Claims

__all__ = ["JobContext", "JobProcess", "current_simulation", "entered", "get_job_context", "job_fields"]

_Answer = TypeVar("_Answer")

log = logging.getLogger("greenroom.agents")

_current: contextvars.ContextVar[JobContext] = contextvars.ContextVar("greenroom_job")

ParticipantEntrypoint = Callable[["JobContext", rtc.RemoteParticipant], Coroutine[Any, Any, None]]
ShutdownCallback = Callable[..., Any]


@overload
def get_job_context(*, required: Literal[True] = True) -> JobContext: ...
@overload
def get_job_context(*, required: bool) -> JobContext | None: ...
def get_job_context(*, required: bool = True) -> JobContext | None:
    """The job whose code is running.

    Raises:
        StateError: no job's code is running, and `required`.
    """
    context = _current.get(None)
    if context is None and required:
        raise StateError("there is no job here: call this from a job's entrypoint or a task that it started")
    return context


@contextmanager
def entered(context: JobContext) -> Iterator[None]:
    """Let a job be the one whose code is running, as long as the block lasts."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
        for task in context._tasks:
            task.cancel()
        if context._directory is not None:
            context._directory.cleanup()


def current_simulation() -> SimulationContext | None:
    """The scenario that LiveKit's simulator plays in the running job; None in a job that is meant, and outside jobs."""
    context = _current.get(None)
    return None if context is None else context.simulation_context()


def job_fields() -> Mapping[str, Any]:
    """For logs: the id and room of the running job, if one's code is running, and what it added."""
    context = _current.get(None)
    if context is None:
        return {}
    return {"job_id": context.job.id, "room": context.job.room.name, **context.log_context_fields}


class JobContext:
    """One job: its room, the agent in it, and the end of both."""

    def __init__(
        self, launch: JobLaunch, proc: JobProcess, on_connect: Callable[[], None], room: rtc.Room | None = None
    ) -> None:
        self._launch = launch
        self._proc = proc
        self._room = rtc.Room() if room is None else room
        self._on_connect = on_connect
        self._shutdown: Callable[[str], None] = lambda reason: None
        self._joining = asyncio.Lock()
        self._callbacks: list[ShutdownCallback] = []
        self._participant_entrypoints: list[tuple[ParticipantEntrypoint, frozenset[int] | None]] = []
        self._greeted: set[tuple[ParticipantEntrypoint, str]] = set()
        self._tasks = TaskSet(log)
        self._requests = TaskSet(log)
        self._api: Api | None = None
        self._simulation: SimulationContext | None = None
        self._directory: TemporaryDirectory[str] | None = None
        self.log_context_fields: dict[str, Any] = {}

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def job(self) -> Job:
        """The job."""
        return self.info.job

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def info(self) -> RunningJobInfo:
        """How the job was accepted and assigned."""
        return self._launch.info

    @property
    def proc(self) -> JobProcess:
        """Where it runs, with what `prewarm_fnc` prepared."""
        return self._proc

    @property
    def worker_id(self) -> str:
        """The worker's id on the server."""
        return self.info.worker_id

    @property
    def room(self) -> rtc.Room:
        """The room, joined or not yet."""
        return self._room

    @property
    def agent(self) -> rtc.LocalParticipant:
        """The agent in the room. Raises StateError before `connect`."""
        return self._room.local_participant

    @property
    def publisher(self) -> rtc.RemoteParticipant | None:
        """The participant the job is for, while it is in the room."""
        participant = self.job.participant
        return self._room.remote_participants.get(participant.identity) if participant else None

    @property
    def local_participant_identity(self) -> str:
        """The agent's identity, also before `connect`."""
        return self.token_claims().identity if self.info.token else self.info.accept_arguments.identity

    @property
    def api(self) -> Api:
        """The server's API, with the worker's key."""
        if self._api is None:
            from greenroom.agents.api import Api

            key, secret = self._launch.api_key, self._launch.api_secret
            self._api = Api(self.info.url, key, secret, self._proc.http_proxy)
        return self._api

    def token_claims(self) -> Claims:
        """What the job's token says."""
        from greenroom.wire.tokens import peek_claims

        return peek_claims(self.info.token)

    def is_fake_job(self) -> bool:
        """Whether no server assigned the job."""
        return self.info.fake_job

    def simulation_context(self) -> SimulationContext | None:
        """The scenario that LiveKit's simulator plays in this job; None in a job that is meant."""
        if self._simulation is None and "lk.simulator.dispatch" in self.job.attributes:
            from greenroom.agents.simulation import read_dispatch

            self._simulation = read_dispatch(self)
        return self._simulation

    @property
    def session_directory(self) -> Path:
        """A folder for files of this job, removed after its shutdown callbacks."""
        from pathlib import Path

        if self._directory is None:
            from tempfile import TemporaryDirectory

            self._directory = TemporaryDirectory(prefix="greenroom-job-")
        return Path(self._directory.name)

    if not TYPE_CHECKING:  # type checkers shall find misspelt names

        def __getattr__(self, name: str) -> Any:
            if name in _OF_VOICE_SESSIONS:
                raise AttributeError(
                    f"JobContext.{name} is about the voice sessions and models of the official framework, which "
                    "greenroom has not"
                )
            raise AttributeError(f"JobContext has no attribute {name!r}")

    # -- the room ----------------------------------------------------------------------------------------------------

    async def connect(
        self,
        *,
        auto_subscribe: AutoSubscribe = AutoSubscribe.SUBSCRIBE_ALL,
        rtc_config: rtc.RtcConfiguration | None = None,
        single_peer_connection: bool | None = None,
        e2ee: rtc.E2EEOptions | None = None,
        encryption: rtc.E2EEOptions | None = None,
    ) -> None:
        """Join the room. When it was joined already, or `fake_job_context` made this job, nothing happens.

        Args:
            auto_subscribe: which tracks are received.
            rtc_config: network settings.
            single_peer_connection: one connection for both directions; None = when the server offers it.
            e2ee: end-to-end encryption.
            encryption: like `e2ee`.

        Raises:
            ConnectError: it did not work; the message says why.
        """
        mode = AutoSubscribe(auto_subscribe)
        options = rtc.RoomOptions(
            auto_subscribe=mode is AutoSubscribe.SUBSCRIBE_ALL,
            rtc_config=rtc_config,
            single_peer_connection=single_peer_connection,
            e2ee=e2ee,
            encryption=encryption,
        )
        async with self._joining:
            if self.info.url and not self._room.isconnected():
                await self._room.connect(self.info.url, self.info.token, options)
                self._joined(mode)

    async def wait_for_participant(
        self, *, identity: str | None = None, kind: Iterable[int] | int = tuple(DEFAULT_PARTICIPANT_KINDS)
    ) -> rtc.RemoteParticipant:
        """The first participant that has joined completely, now or later; joins the room if that was not done.

        Args:
            identity: only this one.
            kind: only these kinds; usually people, phones and what connectors bring, but no agents.

        Raises:
            ConnectError: the room could not be joined.
            DisconnectedError: the room ended first.
        """
        await self.connect()
        return await wait_for_participant(self._room, identity=identity, kind=kind)

    def add_participant_entrypoint(
        self, entrypoint_fnc: ParticipantEntrypoint, *, kind: Iterable[int] | int = tuple(DEFAULT_PARTICIPANT_KINDS)
    ) -> None:
        """Run `entrypoint_fnc(ctx, participant)` for everybody who is in the room or comes, as a task of the job.

        Raises:
            ConfigError: it was added already.
        """
        if any(entrypoint_fnc == other for other, _ in self._participant_entrypoints):
            raise ConfigError("this participant entrypoint was added already")
        entry = (entrypoint_fnc, kinds_of(kind))
        self._participant_entrypoints.append(entry)
        if self._room.isconnected():
            for participant in list(self._room.remote_participants.values()):
                self._greet(participant, entry)

    def delete_room(self, room_name: str | None = None) -> asyncio.Future[m.DeleteRoomResponse]:
        """End a room for everybody in it; None = the job's. It need not be awaited; one that is gone is no error.

        Returns:
            a future that raises RequestError when the server refuses, and UnreachableError when it does not answer.
        """

        async def delete() -> m.DeleteRoomResponse:
            try:
                return await self.api.room.delete_room(room_name or self.job.room.name)
            except RequestError as error:
                if error.reason != "not_found":
                    raise
                return m.DeleteRoomResponse()

        return self._request(delete, m.DeleteRoomResponse())

    def add_sip_participant(
        self,
        *,
        call_to: str,
        trunk_id: str,
        participant_identity: str,
        participant_name: NotGivenOr[str] = "SIP-participant",
    ) -> asyncio.Future[Any]:
        """Call somebody by telephone into the room; the server needs LiveKit's SIP service. It need not be awaited.

        Args:
            call_to: the number, or sip:user@host.
            trunk_id: the outbound trunk to call through.
            participant_identity: the callee's identity in the room.
            participant_name: the callee's name for display.

        Returns:
            a future of the SIPParticipantInfo; raises RequestError when the server refuses or has no such service.
        """
        from greenroom.wire.services import methods

        method = methods("SIP")["createsipparticipant"]
        request = method.request(
            room_name=self.job.room.name,
            participant_identity=participant_identity,
            sip_trunk_id=trunk_id,
            sip_call_to=call_to,
            participant_name=participant_name or "",
        )
        return self._request(lambda: self.api.sip.create_sip_participant(request), method.answer())

    def transfer_sip_participant(
        self, participant: rtc.RemoteParticipant | str, transfer_to: str, play_dialtone: bool = False
    ) -> asyncio.Future[Any]:
        """Hand a caller on to another number; the server needs LiveKit's SIP service. It need not be awaited.

        Args:
            participant: the caller, or its identity.
            transfer_to: the number, or sip:user@host.
            play_dialtone: whether the caller hears a dial tone meanwhile.

        Returns:
            a future that raises RequestError when the server refuses or has no such service.

        Raises:
            ConfigError: `participant` did not come by telephone.
        """
        from greenroom.wire.services import methods

        if isinstance(participant, rtc.RemoteParticipant):
            if participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_SIP:
                raise ConfigError(f"{participant.identity} did not come by telephone and cannot be handed on")
            participant = participant.identity
        method = methods("SIP")["transfersipparticipant"]
        request = method.request(
            room_name=self.job.room.name,
            participant_identity=participant,
            transfer_to=transfer_to,
            play_dialtone=play_dialtone,
        )
        return self._request(lambda: self.api.sip.transfer_sip_participant(request), method.answer())

    def _request(self, call: Callable[[], Awaitable[_Answer]], nothing: _Answer) -> asyncio.Future[_Answer]:
        """Ask the server for something without being awaited. A fake job has no server and gets `nothing`."""

        async def ask() -> _Answer:
            if not self.info.fake_job:
                return await call()
            log.warning("this job is fake: nothing is asked of a server")
            return nothing

        return self._requests.spawn(ask(), name=f"request of job {self.job.id}")

    # -- the end -----------------------------------------------------------------------------------------------------

    def add_shutdown_callback(self, callback: ShutdownCallback) -> None:
        """Run `callback()` or `callback(reason)`, sync or async, when the job has left its room, exactly once."""
        self._callbacks.append(callback)

    def shutdown(self, reason: str = "user requested") -> None:
        """End the job: the entrypoint may finish for a while, the room is left, the shutdown callbacks run."""
        self._shutdown(reason or "user requested")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _bind(self, shutdown: Callable[[str], None]) -> None:
        self._shutdown = shutdown
        _current.set(self)

    def _joined(self, mode: AutoSubscribe) -> None:
        """Called before the room delivers its first event, so nothing that follows can be missed."""
        room = self._room
        kind = _SUBSCRIBED_KIND.get(mode)
        if kind is not None:

            def subscribe(publication: rtc.RemoteTrackPublication) -> None:
                if publication.kind == kind:
                    publication.set_subscribed(True)

            room.on("track_published", subscribe)
            for participant in room.remote_participants.values():
                for publication in participant.track_publications.values():
                    subscribe(publication)
        room.on("participant_connected", self._greet_all)
        room.on("participant_active", self._greet_all)
        room.on("participant_disconnected", self._departed)
        for participant in list(room.remote_participants.values()):
            self._greet_all(participant)
        self._on_connect()

    def _greet_all(self, participant: rtc.RemoteParticipant) -> None:
        for entry in self._participant_entrypoints:
            self._greet(participant, entry)

    def _greet(self, participant: Any, entry: tuple[ParticipantEntrypoint, frozenset[int] | None]) -> None:
        function, kinds = entry
        if participant.state != rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE:
            return
        if (kinds is not None and participant.kind not in kinds) or (function, participant.sid) in self._greeted:
            return
        self._greeted.add((function, participant.sid))
        self._tasks.spawn(
            self._run(function, self, participant), name=f"participant entrypoint for {participant.identity}"
        )

    def _departed(self, participant: rtc.RemoteParticipant) -> None:
        match self._launch.auto_disconnect:
            case AutoDisconnect.ROOM_EMPTY:
                agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
                if all(each.kind == agent for each in self._room.remote_participants.values()):
                    self.shutdown("room is empty")
            case AutoDisconnect.PUBLISHER_LEFT:
                if self.job.participant is not None and self.job.participant.identity == participant.identity:
                    self.shutdown("publisher left")
            case AutoDisconnect.NONE:
                pass

    def _speaks(self) -> bool:
        if not self._room.isconnected():
            return False
        own = self._room.local_participant.track_publications.values()
        return any(each.kind == rtc.TrackKind.KIND_AUDIO and not each.muted for each in own)

    async def _end(self, reason: str) -> None:
        """Leave the room, end the job's tasks, run the callbacks. No step keeps the next from coming."""
        limit = self._launch.limits.callbacks
        try:
            async with asyncio.timeout(min(_LEAVE_TIMEOUT, limit / 2)):
                if self._speaks():
                    await asyncio.sleep(_LAST_WORDS)
                await self._room.disconnect()
        except Exception:
            log.exception("job %s: leaving its room failed", self.job.id)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            from greenroom.protocol.job_run import CANCEL_GRACE

            await asyncio.wait(list(self._tasks), timeout=min(CANCEL_GRACE, limit / 4))
        for task in self._tasks:
            log.error("job %s goes on without its %s, which ignores that it is cancelled", self.job.id, task.get_name())
        callbacks, self._callbacks = self._callbacks, []
        try:
            calls = (self._run(each, reason) if _takes_argument(each) else self._run(each) for each in callbacks)
            await asyncio.gather(*calls)
        finally:
            await self._requests.close(grace=_LEAVE_TIMEOUT)
            if self._api is not None:
                await self._api.aclose()
            if self._directory is not None:
                self._directory.cleanup()

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run a program's function, sync or async. What it raises goes no further, sys.exit() included."""
        try:
            result = function(*arguments)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.warning("job %s: %r was cancelled by the program itself", self.job.id, function)
        except BaseException:
            log.exception("job %s: %r failed", self.job.id, function)


#: Seconds for saying goodbye to a room, and for the answers to the last requests.
_LEAVE_TIMEOUT = 5.0
#: What was sent last is played at the far ends so much later; whoever has left by then is cut short.
_LAST_WORDS = 0.2
_OF_VOICE_SESSIONS = frozenset(
    {"inference_executor", "inference_headers", "init_recording", "make_session_report", "primary_session", "tagger"}
)
_SUBSCRIBED_KIND = {
    AutoSubscribe.AUDIO_ONLY: rtc.TrackKind.KIND_AUDIO,
    AutoSubscribe.VIDEO_ONLY: rtc.TrackKind.KIND_VIDEO,
}


def _takes_argument(callback: ShutdownCallback) -> bool:
    try:
        inspect.signature(callback).bind("")
    except TypeError:
        return False
    except ValueError:
        return True
    return True

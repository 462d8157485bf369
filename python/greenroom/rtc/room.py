"""`Room`: joining a room and being told what happens in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, get_args

from greenroom import _arguments as check
from greenroom.errors import ConfigError, ConnectError, DisconnectedError, StateError
from greenroom.rtc.enums import (
    ConnectionState,
    DisconnectReason,
    SimulateScenarioKind,
)
from greenroom.rtc.events import EventEmitter
from greenroom.rtc.options import DataStreamOptions, RoomOptions, check_room_options
from greenroom.rtc.room_types import DataPacket, EventTypes, RtcStats, Sid, SipDTMF
from greenroom.rtc.stats import MediaStats
from greenroom.wire import messages as m

if TYPE_CHECKING:
    import datetime

    # What only a room needs is imported by the first one, and what only a connected one needs by `connect`.
    from greenroom.rtc._connection import Connection
    from greenroom.rtc._rpc_runner import RpcRunner
    from greenroom.rtc.data_stream import ByteStreamHandler, TextStreamHandler, TextStreamReader
    from greenroom.rtc.e2ee import E2EEManager
    from greenroom.rtc.local_participant import LocalParticipant
    from greenroom.rtc.participant import Participant, RemoteParticipant

__all__ = [
    "ConnectError",
    "DataPacket",
    "EventTypes",
    "Room",
    "RtcStats",
    "SipDTMF",
]

#: Seconds that async handlers have to end by themselves when the room ends, before they are cancelled.
HANDLER_GRACE = 0.25


class Room(EventEmitter[EventTypes]):
    """A room we join, or have joined.

        room = rtc.Room()

        @room.on("track_subscribed")
        async def on_track_subscribed(track, publication, participant): ...

        await room.connect(url, token)

    Handlers may be plain or coroutine functions; coroutines run as tasks that end with the room. Events of one room
    come in order. Used as `async with Room() as room:` it disconnects at the end.

    Args:
        loop: kept for compatibility; the running loop is used.
    """

    _log = logging.getLogger("greenroom.rtc")
    _event_names = frozenset(get_args(EventTypes))

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__()
        from greenroom.rtc._stream_runner import StreamRunner
        from greenroom.rtc.data_track import DataTracks

        self._connection: Connection | None = None
        self._local: LocalParticipant | None = None
        self._remote_participants: dict[str, RemoteParticipant] = {}
        self._state = ConnectionState.CONN_DISCONNECTED
        self._streams = StreamRunner(self._handler_tasks)
        self._data_tracks = DataTracks(self)
        self._encryption: E2EEManager
        self._rpc: RpcRunner
        self._joining = False
        self._held: list[Callable[[], None]] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closers: set[asyncio.Task[Any] | None] = set()
        self._last_room = m.Room()
        self._end_reason = DisconnectReason.UNKNOWN_REASON

    # -- joining and leaving ---------------------------------------------------------------------------------------

    async def connect(self, url: str, token: str, options: RoomOptions | None = None) -> None:
        """Join the room that the token names. Cancelling it leaves nothing behind.

        Participants and tracks that are there already are in `remote_participants` when it returns; their
        `track_subscribed` events follow, also to handlers registered right after it.

        Args:
            url: ws://, wss://, http:// or https:// address of the server.
            token: an access token.
            options: what to receive and how; None = everything, the usual way.

        Raises:
            ConnectError: it did not work; the subclass and the message say why.
            ConfigError: the URL or an option cannot work.
            StateError: the room is connected, or being connected, already.
        """
        check.text("token", token)
        options = RoomOptions() if options is None else check.instance("options", options, RoomOptions)
        if self._connection is not None or self._joining:
            raise StateError("the room is already connected; disconnect first, or make another Room")
        check_room_options(options)
        from greenroom.rtc._dispatch import Dispatch

        self._joining = True
        try:
            self._prepare(options)
            self._connection = connection = Dispatch(self, url, token, options).connection
            self._held = []
            try:
                await connection.open()
            except BaseException:
                self._forget()
                raise
        finally:
            self._joining = False
        self._state = ConnectionState.CONN_CONNECTED
        self._held.insert(0, self._announce_connected)
        asyncio.get_running_loop().call_soon(self._release)

    async def disconnect(self, *, reason: int = DisconnectReason.CLIENT_INITIATED) -> None:
        """Leave: tracks end, waiting calls fail, `disconnected` is emitted, handlers end. Idempotent.

        While the room is still being joined, `connect` raises a ConnectError instead. `reason` is what the server and
        the event are told.
        """
        leaving = check.member("reason", reason, DisconnectReason)
        if self._connection is None:
            return
        if self._joining:
            await self._connection.close()
            return
        self._closers.add(asyncio.current_task())
        await asyncio.shield(self._close(leaving))

    async def wait_for(
        self, event: EventTypes, predicate: Callable[..., bool] | None = None, timeout: float | None = None
    ) -> Any:
        """The next such event: its argument, a tuple of its arguments, or None when it has none.

        Args:
            event: its name.
            predicate: is given the event's arguments and says whether this one counts; None = the first does. What it
                raises is raised here.
            timeout: seconds; None = for as long as the room lasts.

        Raises:
            ConfigError: a room has no such event.
            TimeoutError: it did not come in time.
            DisconnectedError: the room ended first.
        """
        if event not in self._event_names:
            raise ConfigError(f"a room has no event {event!r}; it has {', '.join(sorted(self._event_names))}")
        check.given(check.callback, "predicate", predicate)
        check.given(check.number, "timeout", timeout, "a number of seconds")
        waiter: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()

        def happened(*args: Any) -> None:
            if waiter.done():
                return
            try:
                if predicate is None or predicate(*args):
                    waiter.set_result(args)
            except Exception as error:  # noqa: BLE001 - whatever the predicate raises
                waiter.set_exception(error)

        def ended(*args: Any) -> None:
            if not waiter.done():
                waiter.set_exception(DisconnectedError(f"the room was disconnected before {event!r} happened"))

        self.on(event, happened)
        if event != "disconnected":
            self.on("disconnected", ended)
        try:
            async with asyncio.timeout(timeout):
                args = await waiter
        finally:
            self.off(event, happened)
            self.off("disconnected", ended)
        return args[0] if len(args) == 1 else args or None

    async def wait_disconnected(self) -> DisconnectReason:
        """Return when the room has ended, with the reason."""
        if self._state is not ConnectionState.CONN_DISCONNECTED:
            await self.wait_for("disconnected")
        return self._end_reason

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self.disconnect()

    # -- what is known ---------------------------------------------------------------------------------------------

    @property
    def sid(self) -> Sid:
        """The room's id on the server, as a text that may also be awaited. Raises StateError before connecting."""
        if not self._room_info.sid:
            raise StateError("cannot get sid of a disconnected room")
        return Sid(self._room_info.sid)

    @property
    def name(self) -> str:
        """The room's name; "" before connecting."""
        return self._room_info.name

    @property
    def metadata(self) -> str:
        """A text of the application's."""
        return self._room_info.metadata

    @property
    def num_participants(self) -> int:
        """Participants as the server counts them; agents are not among them."""
        return self._room_info.num_participants

    @property
    def num_publishers(self) -> int:
        """Participants that publish."""
        return self._room_info.num_publishers

    @property
    def creation_time(self) -> datetime.datetime:
        """When the room was made (UTC)."""
        import datetime

        milliseconds = self._room_info.creation_time_ms or self._room_info.creation_time * 1000
        return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)

    @property
    def is_recording(self) -> bool:
        """Whether somebody records it."""
        return self._room_info.active_recording

    @property
    def empty_timeout(self) -> float:
        """Seconds that the room lives without anybody having joined."""
        return float(self._room_info.empty_timeout)

    @property
    def departure_timeout(self) -> float:
        """Seconds that the room lives after the last one left."""
        return float(self._room_info.departure_timeout)

    @property
    def local_participant(self) -> LocalParticipant:
        """Ourselves. Raises StateError before connecting."""
        if self._local is None:
            raise StateError("cannot access local participant before connecting")
        return self._local

    @property
    def e2ee_manager(self) -> E2EEManager:
        """The room's encryption. Raises StateError before connecting."""
        if self._local is None:
            raise StateError("cannot access the encryption before connecting")
        return self._encryption

    @property
    def remote_participants(self) -> Mapping[str, RemoteParticipant]:
        """The others by identity. Stays as it was when the room ends."""
        return self._remote_participants

    @property
    def connection_state(self) -> ConnectionState:
        """Connected, reconnecting or disconnected."""
        return self._state

    def isconnected(self) -> bool:
        """Whether the room was joined and has not ended; also while it reconnects."""
        return self._state is not ConnectionState.CONN_DISCONNECTED

    async def get_rtc_stats(self) -> RtcStats:
        """Figures of the connections and of every track."""
        connection = self._require_connection()
        publishing, subscribing = connection.figures()
        publisher = [MediaStats.of_transport("publisher", publishing)]
        for sending in self.local_participant._tracks:
            publisher += await sending.track.get_stats()
        subscriber = [MediaStats.of_transport("subscriber", subscribing)]
        for participant in self._remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.track is not None:
                    subscriber += await publication.track.get_stats()
        return RtcStats(publisher, subscriber)

    # -- streams ---------------------------------------------------------------------------------------------------

    def register_text_stream_handler(self, topic: str, handler: TextStreamHandler) -> None:
        """Call `handler(reader, participant_identity)` for every text stream with this topic; sync or async.

        Raises:
            ConfigError: the topic has a handler.
        """
        self._streams.register(check.text("topic", topic), check.callback("handler", handler), text=True)

    def unregister_text_stream_handler(self, topic: str) -> None:
        """Undo `register_text_stream_handler`."""
        self._streams.unregister(topic, text=True)

    def register_byte_stream_handler(self, topic: str, handler: ByteStreamHandler) -> None:
        """Call `handler(reader, participant_identity)` for every byte stream with this topic; sync or async.

        Raises:
            ConfigError: the topic has a handler.
        """
        self._streams.register(check.text("topic", topic), check.callback("handler", handler), text=False)

    def unregister_byte_stream_handler(self, topic: str) -> None:
        """Undo `register_byte_stream_handler`."""
        self._streams.unregister(topic, text=False)

    async def simulate_scenario(self, scenario: int) -> None:
        """Provoke a fault, to see how a program takes it: a `SimulateScenarioKind`."""
        kind = check.member("scenario", scenario, SimulateScenarioKind)
        connection = self._require_connection()
        if kind is SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT:
            await connection.drop_socket()
        else:
            connection.send(m.SignalRequest(simulate=_scenario(kind)))

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _room_info(self) -> m.Room:
        view = self._connection.session.view if self._connection is not None else None
        return view.room if view is not None else self._last_room

    def _require_connection(self) -> Connection:
        if self._connection is None:
            raise StateError("the room is not connected")
        return self._connection

    def _receivers(self, identities: list[str]) -> list[m.ParticipantInfo]:
        """The descriptions of these participants that are here, or of all."""
        names = identities or list(self._remote_participants)
        return [self._remote_participants[name]._info for name in names if name in self._remote_participants]

    def _prepare(self, options: RoomOptions) -> None:
        self._remote_participants.clear()
        self._closing = None
        self._closers.clear()
        self._local = None
        from greenroom.protocol.client_rpc import REQUEST_TOPIC, RESPONSE_TOPIC
        from greenroom.rtc._rpc_runner import RpcRunner
        from greenroom.rtc.data_track import DataTracks
        from greenroom.rtc.e2ee import E2EEManager

        self._rpc = RpcRunner(self)
        self._encryption = E2EEManager(self, options.encryption or options.e2ee, data=options.encryption is not None)
        self._data_tracks = DataTracks(self)
        limits = options.data_stream or DataStreamOptions()
        self._streams.limit(limits.max_payload_byte_length, limits.max_unread_byte_length)
        for topic, take in ((REQUEST_TOPIC, self._rpc_request), (RESPONSE_TOPIC, self._rpc_response)):
            self._streams.unregister(topic, text=True)
            self._streams.register(topic, take, text=True)

    async def _rpc_request(self, reader: TextStreamReader, sender: str) -> None:
        self._rpc.request_text(sender, reader.info.attributes or {}, await reader.read_all())

    async def _rpc_response(self, reader: TextStreamReader, sender: str) -> None:
        self._rpc.response_text(sender, reader.info.attributes or {}, await reader.read_all())

    def _deliver(self, happening: Callable[[], None]) -> None:
        if self._held is not None:
            self._held.append(happening)
            return
        happening()

    def _hold_events(self) -> None:
        """Keep events back until `_release`."""
        if self._held is None:
            self._held = []

    def _release(self) -> None:
        while self._held:
            happening = self._held.pop(0)
            try:
                happening()
            except Exception:  # noqa: BLE001 - one fault must not stop the events after it
                self._log.exception("an event of the room could not be delivered")
        self._held = None

    def _announce_connected(self) -> None:
        self.emit("connection_state_changed", self._state)
        self.emit("connected")

    def _tracks_changed(self, participant: Participant) -> None:
        """Tell when a change of its tracks makes a participant encrypted, or no longer so."""
        if participant._encryption_changed():
            self.emit("participant_encryption_status_changed", participant, participant.is_encrypted)

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self._state:
            self._state = state
            self.emit("connection_state_changed", state)

    def _forget(self) -> None:
        self._connection = None
        self._held = None
        self._local = None
        self._remote_participants.clear()

    def _close(self, reason: DisconnectReason) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._end(reason), name="leaving a room")
        return self._closing

    async def _end(self, reason: DisconnectReason) -> None:
        connection = self._require_connection()
        self._release()
        self._last_room = self._room_info
        self._end_reason = reason
        connection.leave(reason)
        try:
            self._end_media()
            self._streams.end()
            self._data_tracks.end()
            self._set_state(ConnectionState.CONN_DISCONNECTED)
            before = set(self._handler_tasks)
            self.emit("disconnected", reason)
            await self._rpc.close(but=self._closers)
            started = set(self._handler_tasks) - before
            await self._handler_tasks.close(grace=HANDLER_GRACE, but=self._closers | started)
        finally:
            await connection.close()
            self._connection = None

    def _end_media(self) -> None:
        local = self._local
        if local is not None:
            local._tracks.end()
        for participant in self._remote_participants.values():
            for publication in participant._track_publications.values():
                track, publication._track = publication._track, None
                if track is not None:
                    track._end()
            participant._end()
        if local is not None:
            local._end()

    def __repr__(self) -> str:
        sid = self._room_info.sid or "unknown"
        return f"rtc.Room(sid={sid}, name={self.name}, metadata={self.metadata}, state={self._state.name})"


def _scenario(kind: SimulateScenarioKind) -> m.SimulateScenario:
    scenarios = {
        SimulateScenarioKind.SIMULATE_SPEAKER: m.SimulateScenario(speaker_update=3),
        SimulateScenarioKind.SIMULATE_NODE_FAILURE: m.SimulateScenario(node_failure=True),
        SimulateScenarioKind.SIMULATE_SERVER_LEAVE: m.SimulateScenario(server_leave=True),
        SimulateScenarioKind.SIMULATE_MIGRATION: m.SimulateScenario(migration=True),
        SimulateScenarioKind.SIMULATE_FORCE_TCP: m.SimulateScenario(switch_candidate_protocol=1),  # type: ignore[arg-type]
        SimulateScenarioKind.SIMULATE_FORCE_TLS: m.SimulateScenario(switch_candidate_protocol=2),  # type: ignore[arg-type]
        SimulateScenarioKind.SIMULATE_FULL_RECONNECT: m.SimulateScenario(leave_request_full_reconnect=True),
        SimulateScenarioKind.SIMULATE_DISCONNECT_SIGNAL_ON_RESUME: m.SimulateScenario(disconnect_signal_on_resume=True),
    }
    return scenarios[kind]

"""The server: one object that owns every room, socket, port and the media engine, and one way to end them all."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import itertools
import logging
import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from greenroom import __version__
from greenroom._engine import EngineFailed, Event, new_handle
from greenroom.errors import ConfigError, PortInUseError, StateError
from greenroom.protocol import outputs
from greenroom.protocol.dispatch_records import RoomOpened
from greenroom.protocol.room import Room
from greenroom.protocol.room_state import Sources
from greenroom.protocol.settings import RoomSettings
from greenroom.runtime.bridge import Bridge
from greenroom.server.live_room import LiveRoom
from greenroom.server.options import ServerOptions
from greenroom.server.session_token import session_claims
from greenroom.wire import messages as m
from greenroom.wire.join import PROTOCOL_VERSION
from greenroom.wire.sids import NODE, make_sid
from greenroom.wire.tokens import DEFAULT_LIFETIME, Claims, VideoGrants, encode_token

if TYPE_CHECKING:
    from greenroom.server.client_socket import ClientSocket
    from greenroom.server.dispatch import Dispatcher
    from greenroom.server.http import HttpFront
    from greenroom.server.metrics import Metrics
    from greenroom.server.webhooks import WebhookSender

__all__ = ["Core", "LiveRoom", "Server"]

log = logging.getLogger("greenroom.server")

#: Clients switch features off for servers that announce less than this.
_LIVEKIT_VERSION = "1.13.5"
_SHORTEST_TOKEN = 600.0
_KEPT_REVOCATIONS = 10_000


class Server:
    """A room server in this process, on the running event loop.

    Use it as an async context manager, or call `start` and `stop`.
    """

    def __init__(self, options: ServerOptions | None = None, **settings: object) -> None:
        """Prepare a server; nothing listens yet.

        Args:
            options: everything at once.
            **settings: single fields of `ServerOptions`, which win over `options`.

        Raises:
            ConfigError: a setting does not exist or cannot work.
        """
        try:
            chosen = dataclasses.replace(options or ServerOptions(), **settings)  # type: ignore[arg-type]
        except TypeError as error:
            raise ConfigError(str(error)) from error
        self.options = chosen
        self.keys: Mapping[str, str] = chosen.usable_keys()
        self._core: Core | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """What clients connect to, e.g. "ws://127.0.0.1:7880"."""
        host = self.options.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"ws://{shown}:{self.port}"

    @property
    def port(self) -> int:
        """The TCP port of HTTP and websockets."""
        return self._running.front.port

    @property
    def media_ports(self) -> tuple[int, int]:
        """The UDP and the TCP port for media."""
        return self._running.media_ports

    @property
    def metrics_port(self) -> int | None:
        """The TCP port of `/metrics`; None when the options name none."""
        return None if self.options.metrics_port is None else self._running.metrics.port

    @property
    def rooms(self) -> Mapping[str, LiveRoom]:
        """The rooms that exist now, by name."""
        return self._running.rooms

    async def start(self) -> None:
        """Listen on all ports.

        Raises:
            PortInUseError: a port is taken.
            ConfigError: an address is not one of this machine's.
            StateError: the server runs already.
        """
        if self._core is not None:
            raise StateError("the server runs already")
        core = Core(self.options, self.keys)
        self._core = core
        try:
            await core.start()
        except BaseException:
            self._core = None
            await core.stop()
            raise
        for key in self.options.short_secrets:
            log.warning("the secret of API key %s is short; use at least 32 characters", key)

    async def stop(self) -> None:
        """End every room, socket and request and free all ports. Idempotent."""
        core, self._core = self._core, None
        if core is not None:
            await core.stop()

    def token(
        self,
        identity: str,
        room: str,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        kind: str = "standard",
        grants: VideoGrants | None = None,
        lifetime: float = DEFAULT_LIFETIME,
    ) -> str:
        """A token with which `identity` can join `room`, signed with the first key.

        Args:
            identity: unique in the room.
            room: the room's name.
            name: shown to others.
            metadata: shown to others.
            attributes: shown to others.
            kind: "standard", "agent", "ingress", "egress", "sip", "connector" or "bridge".
            grants: what the holder may do; `room_join` and `room` are added. The default allows everything a
                participant can be allowed, its own metadata included.
            lifetime: seconds until it expires.

        Raises:
            TokenError: an empty identity or room, or an unknown kind.
        """
        grants = grants or VideoGrants(can_update_own_metadata=True)
        claims = Claims(
            identity=identity,
            name=name,
            kind=kind,
            metadata=metadata,
            attributes=attributes or {},
            video=dataclasses.replace(grants, room_join=True, room=room),
        )
        return sign(claims, self.keys, time.time(), lifetime)

    def statistics(self) -> dict[str, int]:
        """Counters of the media engine, and of rooms and sockets."""
        core = self._running
        return {**core.bridge.engine.statistics(), "live_rooms": len(core.rooms), "sockets": len(core.sockets)}

    @property
    def _running(self) -> Core:
        if self._core is None:
            raise StateError("the server is not running; use `async with Server(...)` or `await server.start()`")
        return self._core


class Core:
    """What handlers of a running server share."""

    front: HttpFront
    bridge: Bridge
    dispatcher: Dispatcher
    webhooks: WebhookSender
    metrics: Metrics

    def __init__(self, options: ServerOptions, keys: Mapping[str, str]) -> None:
        self.options = options
        self.keys = keys
        self.rooms: dict[str, LiveRoom] = {}
        self.sockets: dict[int, ClientSocket] = {}
        self.media_ports = (0, 0)
        self.settings = _room_settings(options)
        self._revoked: dict[tuple[str, str], float] = {}
        self._watch = new_handle()
        self._stopped = False
        self._connections = itertools.count(1)

    async def start(self) -> None:
        """Open the engine and listen; `stop` undoes whatever was done, also after a failure."""
        from greenroom.server.dispatch import Dispatcher
        from greenroom.server.http import HttpFront
        from greenroom.server.webhooks import WebhookSender

        self.front = HttpFront(self)
        self.webhooks = WebhookSender(self.options.webhooks, self.keys, self.wall_clock)
        self.dispatcher = Dispatcher(self)
        self._open_engine(self.options.udp_port, self.options.tcp_port)
        await self.front.start()
        if self.options.metrics_port is not None:
            from greenroom.server.metrics import Metrics

            self.metrics = Metrics(self)
            await self.metrics.start(self.options.metrics_host, self.options.metrics_port)

    def _open_engine(self, udp_port: int, tcp_port: int) -> None:
        options = self.options
        self.bridge = Bridge("server")
        self.bridge.attach(self._watch, self._engine_event)
        try:
            self.media_ports = self.bridge.engine.listen(options.host, udp_port, tcp_port, list(options.advertise))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(f"host {options.host} is not an address of this machine") from error
            ports = f"UDP {udp_port} or TCP {tcp_port}"
            raise PortInUseError(f"media cannot listen on {options.host}, {ports}: {error}") from error

    def _engine_event(self, event: Event) -> None:
        if isinstance(event, EngineFailed):
            asyncio.get_running_loop().call_soon(self._replace_engine)

    def _replace_engine(self) -> None:
        """The engine failed and took its rooms along: go on with a new one on the same ports."""
        if self._stopped:
            return
        self.bridge.close()
        try:
            self._open_engine(*self.media_ports)
        except ConfigError:
            log.exception("no new media engine; nobody can join until the server is started anew")

    async def stop(self) -> None:
        """End everything, also what is half started. Idempotent."""
        self._stopped = True
        for room in list(self.rooms.values()):
            room.close(m.DisconnectReason.SERVER_SHUTDOWN)
        for part in ("metrics", "dispatcher", "front", "webhooks"):
            if hasattr(self, part):
                await getattr(self, part).close()
        if hasattr(self, "bridge"):
            self.bridge.close()

    def wall_clock(self) -> float:
        """Unix time."""
        return time.time()

    def add_socket(self, socket: ClientSocket) -> int:
        """Number a new signalling socket."""
        connection = next(self._connections)
        self.sockets[connection] = socket
        return connection

    def remove_socket(self, connection: int) -> None:
        """Forget a signalling socket."""
        self.sockets.pop(connection, None)

    def revoke(self, room: str, identity: str, before: float) -> None:
        """Refuse tokens of `identity` for `room` that were issued before that Unix time."""
        self._revoked[(room, identity)] = before
        while len(self._revoked) > _KEPT_REVOCATIONS:
            del self._revoked[next(iter(self._revoked))]

    def is_revoked(self, claims: Claims) -> bool:
        """Whether a token was revoked by removing its holder."""
        room = claims.video.room if claims.video is not None else ""
        return claims.issued_at < self._revoked.get((room, claims.identity), 0.0)

    def get_or_create(self, name: str, config: m.RoomConfiguration) -> LiveRoom:
        """The room of this name, made with `config` if there is none."""
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = LiveRoom(self, lambda now: self._machine(name, config, now))
            self.dispatcher.step(RoomOpened(room.machine.info(), tuple(config.agents)))
        return room

    def _machine(self, name: str, config: m.RoomConfiguration, now: float) -> Room:
        sources = Sources(lambda prefix: make_sid(prefix, os.urandom(16)), new_handle, time.time() - now)
        return Room(name, self.settings, sources, now, config)

    def room_announces(self, room: LiveRoom, event: outputs.Announce) -> None:
        """Pass what happened in a room on to webhooks and dispatch."""
        self.webhooks.room_event(room.machine.info(), event)
        self.dispatcher.room_event(room, event)

    def room_ended(self, room: LiveRoom) -> None:
        """Forget a room that is over."""
        if self.rooms.get(room.name) is room:
            del self.rooms[room.name]

    def fresh_token(self, room: LiveRoom, participant_sid: str) -> str | None:
        """A new token for a participant as it is now."""
        member = room.machine.state.by_sid(participant_sid)
        if member is None:
            return None
        now = self.wall_clock()
        lifetime = max(_SHORTEST_TOKEN, member.claims.expires_at - now)
        return sign(session_claims(member, room.name), self.keys, now, lifetime)


def sign(claims: Claims, keys: Mapping[str, str], now: float, lifetime: float) -> str:
    """Sign claims with the first key."""
    key, secret = next(iter(keys.items()))
    return encode_token(claims, key, secret, now=now, lifetime=lifetime)


def _room_settings(options: ServerOptions) -> RoomSettings:
    info = m.ServerInfo(
        version=_LIVEKIT_VERSION,
        protocol=PROTOCOL_VERSION,
        region=options.region,
        node_id=make_sid(NODE, os.urandom(16)),
        debug_info=f"greenroom {__version__}",
        agent_protocol=1,
    )
    return RoomSettings(
        empty_timeout=options.empty_timeout,
        departure_timeout=options.departure_timeout,
        join_timeout=options.join_timeout,
        max_participants=options.max_participants,
        remote_unmute=options.remote_unmute,
        limits=options.limits,
        server_info=info,
    )

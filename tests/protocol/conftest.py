"""A room machine and scripted participants, on virtual time, with no engine behind them."""

import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from greenroom import _engine as engine
from greenroom.protocol import inputs, outputs
from greenroom.protocol.room import Room
from greenroom.protocol.room_state import Sources
from greenroom.protocol.settings import RoomSettings
from greenroom.wire import messages as m
from greenroom.wire.join import JoinParameters
from greenroom.wire.tokens import Claims, VideoGrants

WALL = 1_800_000_000.0


def section(mid, kind="audio", track_id="", rids=(), sending=0, codecs=()):
    """One section as the engine reports it; `track_id` means that the client sends on it."""
    default = ["audio/opus"] if kind == "audio" else ["video/VP8"]
    return SimpleNamespace(
        mid=mid,
        kind=kind,
        receiving=bool(track_id),
        stream_id="-",
        track_id=track_id,
        rids=list(rids),
        sending=sending,
        codecs=list(codecs) or default,
    )


@dataclass
class Stage:
    """A room under test: what it said so far, and participants to play."""

    room: Room
    now: float = 0.0
    log: list = field(default_factory=list)
    connections: itertools.count = field(default_factory=lambda: itertools.count(1))

    def step(self, event):
        found = self.room.step(self.now, event)
        self.log += found
        return found

    def wait(self, seconds):
        """Let time pass, with a tick at every deadline in between."""
        end = self.now + seconds
        found = []
        while (deadline := self.room.deadline) is not None and deadline <= end:
            self.now = deadline
            found += self.step(inputs.Tick())
        self.now = end
        return found

    def join(self, identity, *, single=True, connect=True, kind="standard", offer=False, grants=None, **options):
        protocol = options.pop("protocol", 17)
        video = VideoGrants(room_join=True, room="lab", **(grants or {}))
        claims = Claims(identity=identity, video=video, kind=kind, name=options.pop("name", ""))
        description = m.SessionDescription(type="offer", sdp="v=0", id=0) if offer else None
        parameters = JoinParameters(
            single=single,
            client=m.ClientInfo(protocol=protocol, client_protocol=2, capabilities=[1]),
            offer=description,
            **options,
        )
        connection = next(self.connections)
        self.step(inputs.Join(connection, claims, parameters))
        actor = Actor(self, connection, identity)
        if connect and actor.member is not None:
            actor.connect()
        return actor

    def told(self, connection, name):
        """The messages of one kind that a socket was sent, in order."""
        return [
            getattr(each.message, name)
            for each in self.log
            if isinstance(each, outputs.SendSignal)
            and connection in each.connections
            and each.message.WhichOneof("message") == name
        ]

    def commands(self, kind):
        return [each for each in self.log if isinstance(each, kind)]


@dataclass
class Actor:
    """One scripted participant."""

    stage: Stage
    connection: int
    identity: str

    @property
    def member(self):
        return self.stage.room.state.by_connection.get(self.connection)

    @property
    def sid(self):
        return self.stage.room.member(self.identity).sid

    @property
    def publisher(self):
        return self.stage.room.member(self.identity).link.publisher

    @property
    def data_peer(self):
        return self.stage.room.member(self.identity).link.data_peer

    def connect(self):
        link = self.member.link
        for peer in link.peers:
            self.stage.step(engine.PeerState(peer, "connected", ""))
        for label in ("_reliable", "_lossy", "_data_track"):
            self.stage.step(engine.DataOpen(link.data_peer, label))

    def send(self, **message):
        return self.stage.step(inputs.Signal(self.connection, m.SignalRequest(**message)))

    def told(self, name):
        return self.stage.told(self.connection, name)

    def announce(self, cid="c1", kind=m.TrackType.AUDIO, source=m.TrackSource.MICROPHONE, **more):
        self.send(add_track=m.AddTrackRequest(cid=cid, type=kind, source=source, name=cid, **more))
        return self.told("track_published")[-1].track

    def negotiate(self, *sections, offer_id=0):
        self.send(offer=m.SessionDescription(type="offer", sdp="v=0", id=offer_id))
        return self.stage.step(engine.Answer(self.publisher, offer_id, "v=0", list(sections)))

    def publish(self, cid="c1", kind=m.TrackType.AUDIO, source=m.TrackSource.MICROPHONE, mid="7", rids=(), **more):
        """Announce a track and negotiate its section; returns the track's sid."""
        info = self.announce(cid, kind, source, **more)
        name = "audio" if kind == m.TrackType.AUDIO else "video"
        self.negotiate(section(mid, name, cid, rids))
        return info.sid

    def close_socket(self):
        return self.stage.step(inputs.SocketClosed(self.connection))

    def data(self, label, packet):
        return self.stage.step(engine.Data(self.publisher, label, packet.SerializeToString()))


@pytest.fixture
def make_stage():
    def make(config=None, **settings):
        sids, handles = itertools.count(1), itertools.count(100)
        sources = Sources(lambda prefix: f"{prefix}{next(sids):012}", lambda: next(handles), WALL)
        info = m.ServerInfo(version="1.9.0", protocol=17)
        room = Room("lab", RoomSettings(server_info=info, **settings), sources, 0.0, config or m.RoomConfiguration())
        return Stage(room)

    return make


@pytest.fixture
def stage(make_stage):
    return make_stage()

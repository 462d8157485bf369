"""The client's picture of the room: who is here and what they publish, kept from the server's updates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from greenroom.protocol.client_io import (
    ActiveSpeakers,
    AttributesChanged,
    DataTracksChanged,
    MetadataChanged,
    NameChanged,
    Output,
    ParticipantActive,
    ParticipantConnected,
    ParticipantDisconnected,
    PermissionsChanged,
    QualityChanged,
    RoomChanged,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
    TrackUpdated,
)
from greenroom.wire import messages as m

__all__ = ["RoomView"]

_DISCONNECTED = m.ParticipantInfo.State.DISCONNECTED
_ACTIVE = m.ParticipantInfo.State.ACTIVE


class RoomView:
    """Room, local and remote participants as the server last described them.

    Every change returns what the program must be told, in the order in which it must be told: a participant before
    its tracks, every track gone before its participant.

    Attributes:
        room: the room's own data.
        local: ourselves.
        remotes: the others by identity.
        sif_trailer: the end of frames that the server makes itself, in an encrypted track.
    """

    def __init__(self, join: m.JoinResponse) -> None:
        self.room = join.room
        self.local = join.participant
        self.sif_trailer = join.sif_trailer
        self.remotes = {info.identity: info for info in join.other_participants if info.state != _DISCONNECTED}
        self._speakers: dict[str, float] = {}
        self._reconciling: set[str] | None = None

    def identity_of(self, participant_sid: str) -> str | None:
        """Who has this sid now, ourselves included."""
        if participant_sid == self.local.sid:
            return self.local.identity
        return next((info.identity for info in self.remotes.values() if info.sid == participant_sid), None)

    def track(self, sid: str) -> tuple[str, m.TrackInfo] | None:
        """A remote track: its publisher's identity and its description."""
        for identity, info in self.remotes.items():
            for track in info.tracks:
                if track.sid == sid:
                    return identity, track
        return None

    def participants_changed(self, infos: Iterable[m.ParticipantInfo]) -> Iterator[Output]:
        """Apply a ParticipantUpdate: full descriptions of those it names."""
        for info in infos:
            if info.sid == self.local.sid or info.identity == self.local.identity:
                if info.sid == self.local.sid:
                    yield from self._local_changed(info)
                continue
            if self._reconciling is not None:
                self._reconciling.discard(info.identity)
            yield from self._remote_changed(info)

    def announce(self, info: m.ParticipantInfo) -> Iterator[Output]:
        """What the program is told when a participant appears."""
        yield ParticipantConnected(info)
        for track in info.tracks:
            yield TrackPublished(info.identity, track)
        if info.data_tracks:
            yield DataTracksChanged(info)
        if info.state == _ACTIVE:
            yield ParticipantActive(info.identity)

    def begin_reconcile(self) -> None:
        """A session is being resumed: who is not named until `end_reconcile` has left meanwhile."""
        self._reconciling = set(self.remotes)

    def end_reconcile(self) -> Iterator[Output]:
        """The session is resumed."""
        missing, self._reconciling = self._reconciling or set(), None
        for identity in missing:
            yield from self._remove(identity, 0)

    def clear(self) -> Iterator[Output]:
        """Everybody else is gone: the room is left or joined anew."""
        for identity in list(self.remotes):
            yield from self._remove(identity, 0)

    def room_changed(self, room: m.Room) -> Iterator[Output]:
        """Apply a RoomUpdate."""
        old, self.room = self.room, room
        yield RoomChanged(old, room)

    def speakers_changed(self, speakers: Iterable[m.SpeakerInfo]) -> Iterator[Output]:
        """Apply changes of who speaks."""
        levels = []
        for speaker in speakers:
            identity = self.identity_of(speaker.sid)
            if identity is None:
                continue
            level = speaker.level if speaker.active else 0.0
            levels.append((identity, level))
            if speaker.active:
                self._speakers[identity] = level
            else:
                self._speakers.pop(identity, None)
        yield self._active_speakers(levels)

    def quality_changed(self, updates: Iterable[m.ConnectionQualityInfo]) -> Iterator[Output]:
        """Apply connection quality reports."""
        for update in updates:
            identity = self.identity_of(update.participant_sid)
            if identity is not None:
                yield QualityChanged(identity, update.quality)

    def _active_speakers(self, levels: list[tuple[str, float]]) -> ActiveSpeakers:
        ordered = sorted(self._speakers.items(), key=lambda item: item[1])
        return ActiveSpeakers(tuple(ordered), tuple(levels))

    def _local_changed(self, info: m.ParticipantInfo) -> Iterator[Output]:
        old, self.local = self.local, info
        if info.version < old.version:
            self.local = old
            return
        yield from _described_differently(old, info)
        known = {track.sid: track for track in old.tracks}
        for track in info.tracks:
            before = known.get(track.sid)
            if before is not None and before.muted != track.muted:
                yield TrackMuted(info.identity, track.sid, track.muted)

    def _remote_changed(self, info: m.ParticipantInfo) -> Iterator[Output]:
        old = self.remotes.get(info.identity)
        if info.state == _DISCONNECTED:
            if old is not None and old.sid == info.sid:
                yield from self._remove(info.identity, info.disconnect_reason)
            return
        if old is not None and old.sid != info.sid:
            yield from self._remove(info.identity, m.DisconnectReason.DUPLICATE_IDENTITY)
            old = None
        if old is None:
            self.remotes[info.identity] = info
            yield from self.announce(info)
            return
        if info.version < old.version:
            return
        self.remotes[info.identity] = info
        yield from _described_differently(old, info)
        yield from _tracks_differ(old, info)
        if list(old.data_tracks) != list(info.data_tracks):
            yield DataTracksChanged(info)
        if info.state == _ACTIVE and old.state != _ACTIVE:
            yield ParticipantActive(info.identity)

    def _remove(self, identity: str, reason: int) -> Iterator[Output]:
        info = self.remotes.pop(identity)
        for track in info.tracks:
            yield TrackUnpublished(identity, track.sid)
        if self._speakers.pop(identity, None) is not None:
            yield self._active_speakers([])
        yield ParticipantDisconnected(identity, reason)


def _described_differently(old: m.ParticipantInfo, new: m.ParticipantInfo) -> Iterator[Output]:
    identity = new.identity
    if old.permission != new.permission:
        yield PermissionsChanged(identity)
    if old.name != new.name:
        yield NameChanged(identity, old.name, new.name)
    if old.metadata != new.metadata:
        yield MetadataChanged(identity, old.metadata, new.metadata)
    changed = {key: value for key, value in new.attributes.items() if old.attributes.get(key) != value}
    changed |= {key: "" for key in old.attributes if key not in new.attributes}
    if changed:
        yield AttributesChanged(identity, changed)


def _tracks_differ(old: m.ParticipantInfo, new: m.ParticipantInfo) -> Iterator[Output]:
    before = {track.sid: track for track in old.tracks}
    after = {track.sid: track for track in new.tracks}
    for sid in before.keys() - after.keys():
        yield TrackUnpublished(new.identity, sid)
    for sid, track in after.items():
        known = before.get(sid)
        if known is None:
            yield TrackPublished(new.identity, track)
            continue
        if known != track:
            yield TrackUpdated(new.identity, track)
        if known.muted != track.muted:
            yield TrackMuted(new.identity, sid, track.muted)

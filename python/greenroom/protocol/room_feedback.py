"""What the media tells about people: who speaks, and how good everybody's connection is."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.protocol.member import Member
from greenroom.protocol.publishing import Track
from greenroom.protocol.quality import QualityScore, window_score
from greenroom.protocol.room_state import RoomState
from greenroom.wire import messages as m

__all__ = ["on_levels", "on_quality", "on_stream_state"]


def on_levels(room: RoomState, levels: Sequence[tuple[int, float, bool]]) -> None:
    """Levels of tracks changed; each participant hears of itself and of those it is subscribed to."""
    known = [
        (track.member.sid, track.sid, level, active)
        for handle, level, active in levels
        if (track := room.by_track.get(handle)) is not None
    ]
    changes = room.speakers.update(known)
    if not changes:
        return
    for member in room.members.values():
        heard = _heard(member)
        speakers = [
            m.SpeakerInfo(sid=sid, level=level, active=active) for sid, level, active in changes if sid in heard
        ]
        if speakers:
            room.tell(member, speakers_changed=m.SpeakersChanged(speakers=speakers))


def on_quality(room: RoomState, peers: Sequence[tuple[int, float, float, float, float]]) -> None:
    """Transport figures per connection arrived; participants hear of each other when a word changed."""
    windows: dict[str, float] = {}
    for peer, rtt, sent_loss, received_loss, jitter in peers:
        member = room.by_peer.get(peer)
        if member is not None:
            score = window_score(rtt, max(sent_loss, received_loss), jitter)
            windows[member.sid] = min(windows.get(member.sid, 100.0), score)
    changed = set()
    for member in room.members.values():
        if not member.active:
            continue
        entry = room.quality.setdefault(member.sid, QualityScore())
        entry.lost = member.sid not in windows
        entry.update(windows.get(member.sid, 0.0))
        if entry.quality != entry.told:
            entry.told = entry.quality
            changed.add(member.sid)
    for member in room.members.values():
        updates = [room.quality[sid].info(sid) for sid in changed & _heard(member)]
        if updates:
            room.tell(member, connection_quality=m.ConnectionQualityUpdate(updates=updates))


def on_stream_state(room: RoomState, member: Member, track: Track, paused: bool) -> None:
    """A subscriber is not sent a track for want of bandwidth, or is again."""
    state = m.StreamState.PAUSED if paused else m.StreamState.ACTIVE
    info = m.StreamStateInfo(participant_sid=track.member.sid, track_sid=track.sid, state=state)
    room.tell(member, stream_state_update=m.StreamStateUpdate(stream_states=[info]))


def _heard(member: Member) -> set[str]:
    publishers = {each.track.member.sid for each in member.subscriptions.active.values()}
    return publishers | {member.sid}

"""Who gets which track: one participant's wishes, and one publisher's list of who may have its tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenroom.protocol.publishing import quality_for_size
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.protocol.member import Member
    from greenroom.protocol.publishing import Track

__all__ = ["Access", "Subscription", "Subscriptions"]

_HIGH = int(m.VideoQuality.HIGH)


@dataclass(slots=True)
class Subscription:
    """One track that a participant is sent.

    Attributes:
        paused, quality, fps: what the participant asked for; quality 0..2, fps 0 = no limit.
        mid: the section it is sent on, "" until negotiated.
    """

    track: Track
    paused: bool = False
    quality: int = _HIGH
    fps: int = 0
    mid: str = ""

    @property
    def wanted_quality(self) -> int | None:
        """The highest layer wanted, or None when nothing is."""
        return None if self.paused else self.quality


@dataclass(slots=True)
class Subscriptions:
    """What one participant wants, and what it is being sent.

    Attributes:
        automatic: every track is wanted unless declined.
        automatic_data: the same for data tracks.
        declined: track sids unsubscribed by hand.
        wanted: track sids subscribed by hand.
        denied: tracks wanted that their publisher does not let it have.
        settings: the newest UpdateTrackSettings per track sid.
        active: per track sid.
        leaving: tracks no longer sent whose section the client has not been told to be free yet.
    """

    automatic: bool
    adaptive: bool
    automatic_data: bool = False
    declined: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    settings: dict[str, m.UpdateTrackSettings] = field(default_factory=dict)
    active: dict[str, Subscription] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)

    def wants(self, track_sid: str) -> bool:
        """Whether the participant wants this track now."""
        return track_sid in self.wanted or (self.automatic and track_sid not in self.declined)

    def choose(self, track_sid: str, subscribe: bool) -> None:
        """Note what the participant said about a track."""
        (self.wanted if subscribe else self.declined).add(track_sid)
        (self.declined if subscribe else self.wanted).discard(track_sid)

    def forget(self, track_sid: str) -> None:
        """Drop everything noted about a track that is gone."""
        for names in (self.declined, self.wanted, self.denied, self.leaving):
            names.discard(track_sid)
        self.settings.pop(track_sid, None)
        self.active.pop(track_sid, None)

    def start(self, track: Track) -> Subscription:
        """Begin to send a track, with the settings noted so far."""
        subscription = Subscription(track)
        if self.adaptive and track.kind == "video":
            subscription.quality = 0
        self.active[track.sid] = subscription
        if track.sid in self.settings:
            self.apply(subscription, self.settings[track.sid])
        return subscription

    def apply(self, subscription: Subscription, settings: m.UpdateTrackSettings) -> None:
        """Take over what the participant said about how it shows a track."""
        info = subscription.track.info
        subscription.paused = settings.disabled or settings.quality == m.VideoQuality.OFF
        subscription.fps = settings.fps
        if settings.width and settings.height:
            subscription.quality = quality_for_size(info, settings.width, settings.height)
        else:
            subscription.quality = min(int(settings.quality), _HIGH)


@dataclass(slots=True)
class Access:
    """Whom a publisher lets have its tracks.

    Attributes:
        everybody: no restriction; what clients say unprompted after joining.
        allowed: per participant (sid or identity) the track sids, None = all of them.
    """

    everybody: bool = True
    allowed: dict[str, frozenset[str] | None] = field(default_factory=dict)

    @classmethod
    def from_message(cls, message: m.SubscriptionPermission) -> Access:
        """The access list that a client's message describes."""
        return cls(message.all_participants, dict(_entries(message.track_permissions)))

    def permits(self, subscriber: Member, track_sid: str) -> bool:
        """Whether `subscriber` may have the track. Recorders always may."""
        if self.everybody or subscriber.permission.recorder:
            return True
        for name in (subscriber.sid, subscriber.identity):
            if name in self.allowed:
                tracks = self.allowed[name]
                return tracks is None or track_sid in tracks
        return False


def _entries(permissions: Sequence[m.TrackPermission]) -> list[tuple[str, frozenset[str] | None]]:
    return [
        (
            each.participant_identity or each.participant_sid,
            None if each.all_tracks else frozenset(each.track_sids),
        )
        for each in permissions
    ]

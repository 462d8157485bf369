"""Which remote tracks arrive on which sections, and which of them the program wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from greenroom.protocol.client_io import (
    Output,
    Send,
    SubscriptionFailed,
    Target,
    TrackSubscribed,
    TrackUnsubscribed,
)
from greenroom.protocol.client_room import RoomView
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m

__all__ = ["Subscriptions"]

#: Seconds that media may arrive before the update that announces its track.
ANNOUNCE_TIMEOUT = 5.0
#: Seconds in which the server may take a track down that was refused, and is wanted again before it did.
SETTLE_TIMEOUT = 1.0


class Subscriptions:
    """Matches media sections with announced tracks, whichever comes first."""

    def __init__(self, auto_subscribe: bool) -> None:
        self._auto_subscribe = auto_subscribe
        self._wanted: dict[str, bool] = {}
        self._sections: dict[Target, dict[str, str]] = {}
        self._attached: dict[str, tuple[str, Target, str]] = {}
        self._unannounced: Timers[str] = Timers()
        self._settling: Timers[str] = Timers()

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        parts = (self._unannounced.deadline, self._settling.deadline)
        return min((part for part in parts if part is not None), default=None)

    def set_subscribed(self, now: float, view: RoomView, sid: str, subscribed: bool) -> Iterator[Output]:
        """The program wants the track, or no longer wants it."""
        if self._wanted.get(sid, self._auto_subscribe) == subscribed:
            return
        self._wanted[sid] = subscribed
        found = view.track(sid)
        publisher = view.remotes[found[0]].sid if found else ""
        update = m.UpdateSubscription(subscribe=subscribed, track_sids=[sid])
        update.participant_tracks.add(participant_sid=publisher, track_sids=[sid])
        yield Send(m.SignalRequest(subscription=update))
        if not subscribed:
            self._settling.cancel(sid)
            yield from self._detach(sid)
        elif any(sid in sections.values() for sections in self._sections.values()):
            self._settling.set(sid, now + SETTLE_TIMEOUT)

    def sections_changed(
        self, now: float, view: RoomView, target: Target, sections: Mapping[str, str]
    ) -> Iterator[Output]:
        """A description was applied: `sections` maps each mid that receives to the sid of its track."""
        before, self._sections[target] = self._sections.get(target, {}), dict(sections)
        for mid, sid in before.items():
            if sections.get(mid) != sid:
                self._unannounced.cancel(sid)
                self._settling.cancel(sid)
                if self._attached.get(sid, ("", None, ""))[1:] == (target, mid):
                    yield from self._detach(sid)
        for mid, sid in sections.items():
            if before.get(mid) == sid:
                continue
            if view.track(sid) is None:
                self._unannounced.set(sid, now + ANNOUNCE_TIMEOUT)
            else:
                yield from self._attach(view, sid, target, mid)

    def published(self, view: RoomView, sid: str) -> Iterator[Output]:
        """A track was announced; its media may be here already."""
        self._unannounced.cancel(sid)
        yield from self._attach_mapped(view, sid)

    def unpublished(self, sid: str) -> Iterator[Output]:
        """A track is gone."""
        self._wanted.pop(sid, None)
        self._settling.cancel(sid)
        yield from self._detach(sid)

    def failed(self, view: RoomView, sid: str, error: str) -> Iterator[Output]:
        """The server cannot send a track."""
        found = view.track(sid)
        if found is not None:
            self._wanted.pop(sid, None)
            yield SubscriptionFailed(found[0], sid, error)

    def restarted(self, view: RoomView) -> Iterator[Output]:
        """Joined anew: nothing arrives yet; ask again for what the program chose."""
        self._sections.clear()
        self._unannounced, self._settling = Timers(), Timers()
        for sid in [sid for sid in self._wanted if view.track(sid) is None]:
            del self._wanted[sid]
        update = self.difference()
        if update.track_sids:
            yield Send(m.SignalRequest(subscription=update))

    def detach_all(self) -> Iterator[Output]:
        """The media connection is gone."""
        self._sections.clear()
        for sid in list(self._attached):
            yield from self._detach(sid)

    def difference(self) -> m.UpdateSubscription:
        """How the program's choice differs from subscribing to everything, or to nothing."""
        chosen = [sid for sid, wanted in self._wanted.items() if wanted != self._auto_subscribe]
        return m.UpdateSubscription(track_sids=chosen, subscribe=not self._auto_subscribe)

    def tick(self, now: float, view: RoomView) -> Iterator[Output]:
        """Give up media that nobody announced; take up what the server went on sending."""
        for sid in self._settling.expire(now):
            yield from self._attach_mapped(view, sid)
        for sid in self._unannounced.expire(now):
            yield SubscriptionFailed("", sid, f"media of {sid} arrived, but no participant announced that track")

    def _attach_mapped(self, view: RoomView, sid: str) -> Iterator[Output]:
        for target, sections in self._sections.items():
            for mid, mapped in sections.items():
                if mapped == sid:
                    yield from self._attach(view, sid, target, mid)

    def _attach(self, view: RoomView, sid: str, target: Target, mid: str) -> Iterator[Output]:
        if not self._wanted.get(sid, True):
            return
        if sid in self._attached:
            if self._attached[sid][1:] == (target, mid):
                return
            yield from self._detach(sid)
        found = view.track(sid)
        if found is not None:
            self._attached[sid] = (found[0], target, mid)
            yield TrackSubscribed(found[0], sid, target, mid)

    def _detach(self, sid: str) -> Iterator[Output]:
        attached = self._attached.pop(sid, None)
        if attached is not None:
            yield TrackUnsubscribed(attached[0], sid)

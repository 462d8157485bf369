"""Requests of the client that the server answers: publishing a track, changing one's own description."""

from __future__ import annotations

from collections.abc import Iterator

from greenroom.errors import GreenroomError, PublishError, RequestError
from greenroom.protocol.client_io import Output, Send, Settle
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m

__all__ = ["Requests"]

PUBLISH_TIMEOUT = 10.0
UPDATE_TIMEOUT = 5.0

_Reason = m.RequestResponse.Reason
# For servers that give a reason and no message.
_WORDS = {
    "NOT_ALLOWED": "the token has no permission for this; a grant such as can_publish is missing",
    "NOT_FOUND": "the server does not know what the request is about",
    "LIMIT_EXCEEDED": "it is more than the server allows",
    "UNSUPPORTED_TYPE": "the server does not support this kind of track",
}


class Requests:
    """Pairs answers with requests. Callers are named by keys of their own choosing."""

    def __init__(self) -> None:
        self._publishing: dict[str, int] = {}
        self._publishing_data: dict[int, int] = {}
        self._updating: dict[int, int] = {}
        self._timers: Timers[int] = Timers()
        self._last_id = 0

    @property
    def deadline(self) -> float | None:
        """When the next request runs out of time."""
        return self._timers.deadline

    def publish(self, now: float, key: int, request: m.AddTrackRequest) -> Iterator[Output]:
        """Announce a track; settled with the server's description of it."""
        self._publishing[request.cid] = key
        self._timers.set(key, now + PUBLISH_TIMEOUT)
        yield Send(m.SignalRequest(add_track=request))

    def publish_data_track(self, now: float, key: int, request: m.PublishDataTrackRequest) -> Iterator[Output]:
        """Announce a data track."""
        self._publishing_data[request.pub_handle] = key
        self._timers.set(key, now + PUBLISH_TIMEOUT)
        yield Send(m.SignalRequest(publish_data_track_request=request))

    def update(self, now: float, key: int, request: m.UpdateParticipantMetadata) -> Iterator[Output]:
        """Change our own name, metadata or attributes."""
        self._last_id += 1
        numbered = m.UpdateParticipantMetadata()
        numbered.CopyFrom(request)
        numbered.request_id = self._last_id
        self._updating[self._last_id] = key
        self._timers.set(key, now + UPDATE_TIMEOUT)
        yield Send(m.SignalRequest(update_metadata=numbered))

    def published(self, response: m.TrackPublishedResponse) -> Iterator[Output]:
        """The server accepted a track."""
        key = self._publishing.pop(response.cid, None)
        if key is not None:
            self._timers.cancel(key)
            yield Settle(key, track=response.track)

    def data_track_published(self, info: m.DataTrackInfo) -> Iterator[Output]:
        """The server accepted a data track."""
        key = self._publishing_data.pop(info.pub_handle, None)
        if key is not None:
            self._timers.cancel(key)
            yield Settle(key, data_track=info)

    def answered(self, response: m.RequestResponse) -> Iterator[Output]:
        """The server's verdict on a request."""
        if response.reason == _Reason.QUEUED:
            return
        key = self._key_of(response)
        if key is None:
            return
        self._timers.cancel(key)
        if response.reason == _Reason.OK:
            yield Settle(key)
            return
        reason = _Reason.Name(response.reason) if response.reason in _Reason.values() else str(response.reason)
        words = response.message or _WORDS.get(reason, "the server refused the request")
        yield Settle(key, RequestError(words, reason=reason))

    def cancel(self, key: int) -> None:
        """The caller gave up."""
        self._timers.cancel(key)
        for table in (self._publishing, self._publishing_data, self._updating):
            for name in [name for name, owner in table.items() if owner == key]:
                del table[name]  # type: ignore[arg-type]

    def tick(self, now: float) -> Iterator[Output]:
        """Fail what ran out of time."""
        for key in self._timers.expire(now):
            publishing = key in self._publishing.values() or key in self._publishing_data.values()
            self.cancel(key)
            error: GreenroomError
            if publishing:
                error = PublishError(f"the server did not confirm the track within {PUBLISH_TIMEOUT:g} s")
            else:
                error = RequestError(f"the server did not answer within {UPDATE_TIMEOUT:g} s", reason="TIMEOUT")
            yield Settle(key, error)

    def fail_all(self, error: Exception) -> Iterator[Output]:
        """The session is over, or begins anew."""
        keys = [*self._publishing.values(), *self._publishing_data.values(), *self._updating.values()]
        for key in keys:
            self.cancel(key)
            yield Settle(key, error)

    def _key_of(self, response: m.RequestResponse) -> int | None:
        match response.WhichOneof("request"):
            case "add_track":
                if response.reason == _Reason.OK:
                    return None
                return self._publishing.pop(response.add_track.cid, None)
            case "publish_data_track":
                return self._publishing_data.pop(response.publish_data_track.pub_handle, None)
            case _:
                return self._updating.pop(response.request_id, None)

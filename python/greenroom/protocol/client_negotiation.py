"""Offers and answers between the client's peer connections and the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from greenroom.errors import ProtocolError
from greenroom.protocol.client_io import AcceptAnswer, AcceptOffer, AddCandidate, CreateOffer, Output, Send, Target
from greenroom.protocol.timers import Timers
from greenroom.wire import messages as m
from greenroom.wire.candidates import decode_candidate
from greenroom.wire.sids import unpack_stream_id

__all__ = ["Negotiation", "ReceivedSection", "received_tracks"]

#: Seconds in which the server must answer an offer.
ANSWER_TIMEOUT = 15.0
#: Sections of each kind that the server gets at a time, whatever it asks for; it asks again when it needs more.
MOST_SECTIONS = 1000


class ReceivedSection(Protocol):
    """What is read of a section (an engine `Section`)."""

    @property
    def mid(self) -> str: ...  # noqa: D102
    @property
    def receiving(self) -> bool: ...  # noqa: D102
    @property
    def stream_id(self) -> str: ...  # noqa: D102
    @property
    def track_id(self) -> str: ...  # noqa: D102


class Negotiation:
    """Keeps which offer is answered by what, on both connections."""

    def __init__(self) -> None:
        self._outstanding = 0
        self._timers: Timers[int] = Timers()
        self._track_ids: dict[tuple[Target, int], dict[str, str]] = {}
        self.last_offer: m.SessionDescription | None = None
        self.last_answer: m.SessionDescription | None = None

    @property
    def deadline(self) -> float | None:
        """When the outstanding offer must have been answered."""
        return self._timers.deadline

    def bundled(self, now: float, offer_id: int, sdp: str) -> m.SessionDescription:
        """Our first offer, which travels inside the join request."""
        self._outstanding = offer_id
        self._timers.set(offer_id, now + ANSWER_TIMEOUT)
        self.last_offer = m.SessionDescription(type="offer", sdp=sdp, id=offer_id)
        return self.last_offer

    def offer_made(self, now: float, offer_id: int, sdp: str) -> Iterator[Output]:
        """The publisher connection made an offer."""
        yield Send(m.SignalRequest(offer=self.bundled(now, offer_id, sdp)))

    def answer_made(self, offer_id: int, sdp: str) -> Iterator[Output]:
        """The subscriber connection answered the server's offer."""
        self.last_answer = m.SessionDescription(type="answer", sdp=sdp, id=offer_id)
        yield Send(m.SignalRequest(answer=self.last_answer))

    def answer_received(self, answer: m.SessionDescription) -> Iterator[Output]:
        """The server answered; an answer to another than the latest offer is ignored."""
        offer_id = answer.id or self._outstanding
        if offer_id != self._outstanding or not offer_id:
            return
        self._outstanding = 0
        self._timers.cancel(offer_id)
        self.last_answer = answer
        self._track_ids[Target.PUBLISHER, offer_id] = dict(answer.mid_to_track_id)
        yield AcceptAnswer(Target.PUBLISHER, offer_id, answer.sdp)

    def offer_received(self, offer: m.SessionDescription) -> Iterator[Output]:
        """The server makes an offer on the subscriber connection."""
        self._track_ids[Target.SUBSCRIBER, offer.id] = dict(offer.mid_to_track_id)
        yield AcceptOffer(Target.SUBSCRIBER, offer.id, offer.sdp)

    def candidate_received(self, trickle: m.TrickleRequest) -> Iterator[Output]:
        """The server names a candidate. A malformed one is ignored."""
        try:
            candidate = decode_candidate(trickle)
        except ProtocolError:
            return
        if candidate:
            yield AddCandidate(Target(trickle.target), candidate)

    def sections_required(self, required: m.MediaSectionsRequirement) -> Iterator[Output]:
        """The server has that many more tracks to send than sections; 0 and 0 asks for an offer all the same."""
        audio, video = (min(wanted, MOST_SECTIONS) for wanted in (required.num_audios, required.num_videos))
        yield CreateOffer(Target.PUBLISHER, audio, video)

    def applied(self, target: Target, offer_id: int, sections: Iterable[ReceivedSection]) -> dict[str, str]:
        """A round is complete: mid -> track sid of the sections that now carry a remote track."""
        return received_tracks(sections, self._track_ids.pop((target, offer_id), {}))

    def unanswered(self, now: float) -> bool:
        """Whether the server let the deadline pass."""
        return bool(self._timers.expire(now))

    def interrupt(self) -> None:
        """The socket is gone: the clock of an outstanding offer stops until it is sent again."""
        self._timers = Timers()

    def repeat_offer(self, now: float) -> Iterator[Output]:
        """The session is resumed: send an offer that was under way again, for its answer may be lost."""
        if self._outstanding and self.last_offer is not None:
            self._timers.set(self._outstanding, now + ANSWER_TIMEOUT)
            yield Send(m.SignalRequest(offer=self.last_offer))

    def forget(self) -> None:
        """The connections are made anew."""
        self._outstanding = 0
        self._timers = Timers()
        self._track_ids.clear()


def received_tracks(sections: Iterable[ReceivedSection], mid_to_track_id: Mapping[str, str]) -> dict[str, str]:
    """Mid -> track sid of the sections that carry a remote track; spare ones are left out."""
    tracks = {}
    for section in sections:
        if not section.receiving:
            continue
        participant_sid, stream = unpack_stream_id(section.stream_id)
        candidates = (mid_to_track_id.get(section.mid, ""), section.track_id, stream)
        sid = next((candidate for candidate in candidates if candidate.startswith("TR_")), "")
        if sid and (section.mid in mid_to_track_id or participant_sid.startswith("PA_")):
            tracks[section.mid] = sid
    return tracks

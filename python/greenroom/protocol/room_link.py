"""A participant's connections in a room: opening, negotiating, coming up, failing, closing."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.protocol import room_data, room_media
from greenroom.protocol.member import Link, Member
from greenroom.protocol.outputs import (
    AcceptAnswer,
    AcceptOffer,
    Announce,
    CloseSocket,
    CreateOffer,
    OpenPeer,
)
from greenroom.protocol.publishing import SectionLike
from greenroom.protocol.room_leaving import leave_message, remove
from greenroom.protocol.room_state import RoomState
from greenroom.wire import messages as m

__all__ = [
    "answer_ready",
    "channel_opened",
    "full_reconnect",
    "negotiated",
    "negotiation_failed",
    "offer_ready",
    "on_answer",
    "on_offer",
    "open_peers",
    "peer_state",
    "sections_needed",
]


def open_peers(room: RoomState, member: Member) -> None:
    """Open the connection, or the two connections, of a participant that joins."""
    link = member.link
    link.publisher = room.sources.handle()
    room.by_peer[link.publisher] = member
    room.emit(OpenPeer(link.publisher, offers=False))
    if not link.single and member.permission.can_subscribe:
        link.subscriber = room.sources.handle()
        room.by_peer[link.subscriber] = member
        room.emit(OpenPeer(link.subscriber, offers=True))


def on_offer(room: RoomState, member: Member, offer: m.SessionDescription) -> None:
    """The client offers on its publisher connection."""
    limits = room.settings.limits
    if len(offer.sdp) > limits.description or offer.sdp.count("\nm=") > limits.sections:
        remove(room, member, m.DisconnectReason.STATE_MISMATCH, action=m.LeaveRequest.DISCONNECT)
        return
    room.emit(AcceptOffer(member.link.publisher, offer.id, offer.sdp))


def on_answer(room: RoomState, member: Member, answer: m.SessionDescription) -> None:
    """The client answers our offer on its subscriber connection."""
    if member.link.subscriber:
        room.emit(AcceptAnswer(member.link.subscriber, answer.id, answer.sdp))


def answer_ready(room: RoomState, member: Member, offer_id: int, sdp: str, sections: Sequence[SectionLike]) -> None:
    """Our answer to a client's offer is made: send it, then see which tracks began and ended."""
    answer = m.SessionDescription(type="answer", sdp=sdp, id=offer_id, mid_to_track_id=_mid_map(room, sections))
    room.tell(member, answer=answer)
    room_media.apply_sections(room, member, sections)
    if member.link.single:
        room_media.sections_freed(room, member, sections)


def offer_ready(room: RoomState, member: Member, offer_id: int, sdp: str, sections: Sequence[SectionLike]) -> None:
    """Our offer on a subscriber connection is made: send it."""
    offer = m.SessionDescription(type="offer", sdp=sdp, id=offer_id, mid_to_track_id=_mid_map(room, sections))
    room.tell(member, offer=offer)


def negotiated(room: RoomState, member: Member, peer: int, sections: Sequence[SectionLike]) -> None:
    """The client's answer was applied."""
    if peer == member.link.publisher:
        room_media.apply_sections(room, member, sections)
    if peer == member.link.data_peer:
        room_media.sections_freed(room, member, sections)


def negotiation_failed(room: RoomState, member: Member) -> None:
    """A description was no good; the client has to begin again."""
    full_reconnect(room, member)


def sections_needed(room: RoomState, member: Member, audio: int, video: int) -> None:
    """The client has to offer again, with so many more sections, before we can send what it subscribed to."""
    requirement = m.MediaSectionsRequirement(num_audios=audio, num_videos=video)
    room.tell(member, media_sections_requirement=requirement)


def full_reconnect(room: RoomState, member: Member) -> None:
    """Have a client join anew: its session here ends."""
    reason = m.DisconnectReason.STATE_MISMATCH
    remove(room, member, reason, action=m.LeaveRequest.RECONNECT)


def peer_state(room: RoomState, member: Member, peer: int, state: str) -> None:
    """A connection's transport changed."""
    member.link.states[peer] = state
    if state == "connected":
        room.timers.cancel(("failed", member.sid))
        member.link.was_connected = True
        if peer == _primary(member.link) and not member.active:
            _activate(room, member)
    elif state == "closed":
        # The client closed it, and most say so before they say that they leave: wait for that.
        room.timers.set_default(("failed", member.sid), room.now + room.settings.failure_timeout)
        if member.link.connection is None:
            remove(room, member, m.DisconnectReason.SIGNAL_CLOSE)
    elif state == "failed":
        _lost(room, member)


def channel_opened(room: RoomState, member: Member, peer: int, label: str) -> None:
    """A data channel is open; with both of them, what was held back is sent."""
    if peer != member.link.data_peer:
        return
    member.link.channels.add(label)
    if member.link.established:
        room_data.release_held(room, member)


def _activate(room: RoomState, member: Member) -> None:
    member.state = m.ParticipantInfo.ACTIVE
    room.timers.cancel(("join", member.sid))
    room.broadcast_presence(member)
    room.emit(Announce("participant_joined", member.info()))
    room_media.auto_subscribe(room, member)


def _lost(room: RoomState, member: Member) -> None:
    """A connection failed: have the client resume, and give it a few seconds to do so."""
    room.timers.set_default(("failed", member.sid), room.now + room.settings.failure_timeout)
    connection = member.link.connection
    if connection is None:
        return
    room.tell(member, leave=leave_message(member, m.DisconnectReason.UNKNOWN_REASON, m.LeaveRequest.RESUME))
    room.emit(CloseSocket(connection))


def restart_subscriber(room: RoomState, member: Member) -> None:
    """Offer anew with other ICE credentials after a resume."""
    if member.link.subscriber:
        room.emit(CreateOffer(member.link.subscriber, ice_restart=True))


def _primary(link: Link) -> int:
    return link.subscriber or link.publisher


def _mid_map(room: RoomState, sections: Sequence[SectionLike]) -> dict[str, str]:
    return {section.mid: room.by_track[section.sending].sid for section in sections if section.sending in room.by_track}

"""How data packets travel from one participant to others: who may send, what is stamped, who gets them."""

from __future__ import annotations

from collections.abc import Iterable

from greenroom.protocol.member import Member
from greenroom.wire import messages as m
from greenroom.wire.data import RELIABLE

__all__ = ["destinations", "stamp"]


def stamp(packet: m.DataPacket, sender: Member, label: str) -> m.DataPacket | None:
    """Check a packet that a participant sent and write into it who sent it and how.

    What the client claims about kind and sender is overwritten: clients are known to say the wrong kind, and may lie.

    Returns:
        The packet to pass on (the same object), or None when it must be dropped.
    """
    kind = packet.WhichOneof("value")
    agent = sender.profile.kind == m.ParticipantInfo.AGENT
    if not sender.permission.can_publish_data or kind is None or kind in ("speaker", "metrics"):
        return None
    if kind == "transcription" and not agent:
        return None
    packet.kind = m.DataPacket.RELIABLE if label == RELIABLE else m.DataPacket.LOSSY
    if label == RELIABLE and packet.sequence:
        if packet.sequence <= sender.last_sequence:
            return None
        sender.last_sequence = packet.sequence
    foreign = agent and packet.participant_identity not in ("", sender.identity)
    if foreign and _speaks_for_others(packet):
        _mark_generated(packet)
    else:
        packet.participant_identity = "" if sender.hidden else sender.identity
    packet.participant_sid = "" if sender.hidden else sender.sid
    if kind == "user":
        _align_user_packet(packet)
    return packet


def destinations(packet: m.DataPacket, sender: Member | None, members: Iterable[Member]) -> list[Member]:
    """The participants that a packet is for; never its sender."""
    identities = set(packet.destination_identities)
    sids = set(packet.user.destination_sids) if packet.HasField("user") else set()
    everybody = not identities and not sids
    return [
        member
        for member in members
        if member is not sender and (everybody or member.identity in identities or member.sid in sids)
    ]


def user_packet(payload: bytes) -> m.DataPacket:
    """The packet for raw bytes from a data channel with another label."""
    return m.DataPacket(user=m.UserPacket(payload=payload))


def _speaks_for_others(packet: m.DataPacket) -> bool:
    return packet.HasField("chat_message") or (
        packet.HasField("stream_header") and packet.stream_header.HasField("text_header")
    )


def _mark_generated(packet: m.DataPacket) -> None:
    if packet.HasField("chat_message"):
        packet.chat_message.generated = True
    else:
        packet.stream_header.text_header.generated = True


def _align_user_packet(packet: m.DataPacket) -> None:
    user = packet.user
    user.participant_sid = packet.participant_sid
    user.participant_identity = packet.participant_identity
    if packet.destination_identities and not user.destination_identities:
        user.destination_identities.extend(packet.destination_identities)
    elif user.destination_identities and not packet.destination_identities:
        packet.destination_identities.extend(user.destination_identities)

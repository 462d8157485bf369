"""One participant of a room, as the server sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants

if TYPE_CHECKING:
    from greenroom.protocol.data_tracks import DataTrack
    from greenroom.protocol.publishing import PublishDesk, Track
    from greenroom.protocol.subscriptions import Access, Subscriptions

__all__ = ["DEPENDENT_KINDS", "Link", "Member", "Profile", "permission_from"]

#: Participants of these kinds serve others: they do not keep a room alive and are not counted.
DEPENDENT_KINDS = (m.ParticipantInfo.AGENT, m.ParticipantInfo.EGRESS)


@dataclass(slots=True)
class Profile:
    """What a participant says about itself."""

    name: str
    metadata: str
    attributes: dict[str, str]
    kind: m.ParticipantInfo.Kind
    kind_details: tuple[m.ParticipantInfo.KindDetail, ...]


@dataclass(slots=True)
class Link:
    """How a participant is reached: its socket, and one or two connections.

    Attributes:
        connection: the signalling socket, or None while it is lost.
        publisher: the connection on which the client offers.
        subscriber: the connection on which we offer; 0 = there is none.
        states: last known transport state per connection.
        channels: labels of the data channels that are open on the connection data is sent on.
        missed: who left while the socket was lost.
        held: reliable data for a participant whose channels are not open yet.
    """

    single: bool
    client: m.ClientInfo
    connection: int | None = None
    publisher: int = 0
    subscriber: int = 0
    states: dict[int, str] = field(default_factory=dict)
    channels: set[str] = field(default_factory=set)
    was_connected: bool = False
    missed: list[m.ParticipantInfo] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)
    offer_sent: bool = False

    @property
    def data_peer(self) -> int:
        """The connection on which data and tracks are sent to the participant."""
        return self.subscriber or self.publisher

    @property
    def established(self) -> bool:
        """Whether both data channels to the participant are open."""
        return {"_reliable", "_lossy"} <= self.channels

    @property
    def peers(self) -> tuple[int, ...]:
        """All its connections."""
        return tuple(peer for peer in (self.publisher, self.subscriber) if peer)


@dataclass(slots=True, eq=False)
class Member:
    """One participant of a room: who it is, what it may do, what it publishes and what it gets."""

    sid: str
    identity: str
    claims: Claims
    profile: Profile
    permission: m.ParticipantPermission
    joined_at: float
    link: Link
    desk: PublishDesk
    subscriptions: Subscriptions
    access: Access
    state: m.ParticipantInfo.State = m.ParticipantInfo.JOINING
    version: int = 0
    tracks: dict[str, Track] = field(default_factory=dict)
    data_tracks: dict[int, DataTrack] = field(default_factory=dict)
    last_sequence: int = 0

    @property
    def active(self) -> bool:
        """Whether its media is connected."""
        return self.state == m.ParticipantInfo.ACTIVE

    @property
    def hidden(self) -> bool:
        """Whether nobody may know of it."""
        return self.permission.hidden

    @property
    def dependent(self) -> bool:
        """Whether it is there for others only (agent, egress) or unseen."""
        return self.hidden or self.profile.kind in DEPENDENT_KINDS

    @property
    def keeps_open(self) -> bool:
        """Whether the room goes on for its sake."""
        return self.profile.kind not in DEPENDENT_KINDS and not self.permission.recorder

    @property
    def protocol(self) -> int:
        """The signalling protocol its client speaks."""
        return self.link.client.protocol

    def info(self, reason: m.DisconnectReason = m.DisconnectReason.UNKNOWN_REASON) -> m.ParticipantInfo:
        """The participant as others are told of it, with all its tracks."""
        return m.ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            state=self.state,
            tracks=[track.info for track in self.tracks.values()],
            metadata=self.profile.metadata,
            joined_at=int(self.joined_at),
            joined_at_ms=int(self.joined_at * 1000),
            name=self.profile.name,
            version=self.version,
            permission=self.permission,
            is_publisher=bool(self.tracks),
            kind=self.profile.kind,
            kind_details=self.profile.kind_details,
            attributes=self.profile.attributes,
            disconnect_reason=reason,
            data_tracks=[track.info for track in self.data_tracks.values()],
            client_protocol=self.link.client.client_protocol,
            capabilities=self.link.client.capabilities,
        )


def profile_from(claims: Claims, metadata: str, attributes: Mapping[str, str] | None) -> Profile:
    """The profile of a participant that joins; what the client set wins over its token."""
    return Profile(
        name=claims.name,
        metadata=metadata or claims.metadata,
        attributes=dict(claims.attributes if attributes is None else {**claims.attributes, **attributes}),
        kind=_KINDS.get(claims.kind, m.ParticipantInfo.STANDARD),
        kind_details=tuple(_DETAILS[each] for each in claims.kind_details if each in _DETAILS),
    )


def permission_from(grants: VideoGrants) -> m.ParticipantPermission:
    """What the grants of a token allow in the room."""
    publish = grants.can_publish is not False
    return m.ParticipantPermission(
        can_subscribe=grants.can_subscribe is not False,
        can_publish=publish,
        can_publish_data=publish if grants.can_publish_data is None else grants.can_publish_data,
        can_publish_sources=[
            source for each in grants.can_publish_sources if (source := _SOURCES.get(each.lower())) is not None
        ],
        hidden=grants.hidden,
        recorder=grants.recorder,
        can_update_metadata=grants.can_update_own_metadata,
        agent=grants.agent,
        can_subscribe_metrics=grants.can_subscribe_metrics,
        can_manage_agent_session=grants.can_manage_agent_session,
    )


_KINDS = {
    "standard": m.ParticipantInfo.STANDARD,
    "ingress": m.ParticipantInfo.INGRESS,
    "egress": m.ParticipantInfo.EGRESS,
    "sip": m.ParticipantInfo.SIP,
    "agent": m.ParticipantInfo.AGENT,
    "connector": m.ParticipantInfo.CONNECTOR,
    "bridge": m.ParticipantInfo.BRIDGE,
}
_DETAILS = {
    "cloud_agent": m.ParticipantInfo.CLOUD_AGENT,
    "forwarded": m.ParticipantInfo.FORWARDED,
}
_SOURCES = {
    "camera": m.TrackSource.CAMERA,
    "microphone": m.TrackSource.MICROPHONE,
    "screen_share": m.TrackSource.SCREEN_SHARE,
    "screen_share_audio": m.TrackSource.SCREEN_SHARE_AUDIO,
}

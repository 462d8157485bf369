"""The token with which a participant can come back as it is now."""

from __future__ import annotations

import dataclasses

from greenroom.protocol.member import Member
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants

__all__ = ["grants_from", "session_claims"]

_SOURCES = {
    m.TrackSource.CAMERA: "camera",
    m.TrackSource.MICROPHONE: "microphone",
    m.TrackSource.SCREEN_SHARE: "screen_share",
    m.TrackSource.SCREEN_SHARE_AUDIO: "screen_share_audio",
}


def session_claims(member: Member, room: str) -> Claims:
    """The claims of a participant with what has changed since it joined."""
    profile = member.profile
    original = member.claims.video or VideoGrants()
    return dataclasses.replace(
        member.claims,
        name=profile.name,
        metadata=profile.metadata,
        attributes=dict(profile.attributes),
        video=grants_from(member.permission, dataclasses.replace(original, room_join=True, room=room)),
        api_key="",
        expires_at=0.0,
    )


def grants_from(permission: m.ParticipantPermission, base: VideoGrants) -> VideoGrants:
    """Grants that allow what a permission allows, and otherwise are those of `base`."""
    return dataclasses.replace(
        base,
        can_publish=permission.can_publish,
        can_subscribe=permission.can_subscribe,
        can_publish_data=permission.can_publish_data,
        can_publish_sources=tuple(_SOURCES[each] for each in permission.can_publish_sources if each in _SOURCES),
        can_update_own_metadata=permission.can_update_metadata,
        can_subscribe_metrics=permission.can_subscribe_metrics,
        can_manage_agent_session=permission.can_manage_agent_session,
        hidden=permission.hidden,
        recorder=permission.recorder,
        agent=permission.agent,
    )

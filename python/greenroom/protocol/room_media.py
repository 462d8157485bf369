"""Publishing and subscribing in a room: what becomes of sections, tracks, wishes and permissions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greenroom.protocol import publishing
from greenroom.protocol.dynacast import Dynacast
from greenroom.protocol.member import Member
from greenroom.protocol.outputs import (
    AddTrack,
    Announce,
    ForgetPreference,
    MuteTrack,
    PreferTrack,
    RemoveTrack,
    SetSubscription,
    Subscribe,
    Unsubscribe,
)
from greenroom.protocol.publishing import Pending, SectionLike, Track
from greenroom.protocol.room_state import RoomState
from greenroom.protocol.subscriptions import Access, Subscription
from greenroom.wire import messages as m
from greenroom.wire.sids import pack_stream_id, track_prefix

__all__ = [
    "add_track",
    "apply_sections",
    "auto_subscribe",
    "bound",
    "mute",
    "remove_tracks",
    "sections_freed",
    "set_access",
    "set_settings",
    "subscribe",
    "unsubscribe",
    "update_dynacast",
    "update_subscription",
]

_NOT_FOUND_AFTER = 60.0
# Text on a shared screen is what people look at: it gets bandwidth before cameras.
_CAMERA_PRIORITY = 1
_SCREEN_PRIORITY = 255


def may_publish(member: Member, source: m.TrackSource) -> bool:
    """Whether a participant may publish a track from this source."""
    sources = member.permission.can_publish_sources
    return member.permission.can_publish and (not sources or source in sources)


def add_track(room: RoomState, member: Member, request: m.AddTrackRequest) -> None:
    """A client announces a track: answer with its sid, or say why not."""
    reason = _refusal(room, member, request)
    if reason is not None:
        room.tell(
            member,
            request_response=m.RequestResponse(reason=reason[0], message=reason[1], add_track=request),
        )
        return
    if request.cid in member.desk.pending:
        info = member.desk.pending[request.cid].info
    else:
        sid = room.sources.sid(track_prefix(publishing.kind_name(request.type), request.source))
        info = publishing.track_info(request, sid)
        member.desk.add(request, info)
        codecs = publishing.preferred_codecs(request)
        room.emit(PreferTrack(member.link.publisher, request.cid, codecs, request.stereo, not request.disable_dtx))
    room.tell(member, track_published=m.TrackPublishedResponse(cid=request.cid, track=info))


def _refusal(
    room: RoomState, member: Member, request: m.AddTrackRequest
) -> tuple[m.RequestResponse.Reason, str] | None:
    limits = room.settings.limits
    if not may_publish(member, request.source):
        return m.RequestResponse.NOT_ALLOWED, "does not have permission to publish this source"
    if request.type not in (m.TrackType.AUDIO, m.TrackType.VIDEO):
        return m.RequestResponse.UNSUPPORTED_TYPE, "track type must be audio or video"
    if not request.cid:
        return m.RequestResponse.INVALID_REQUEST, "cid must not be empty"
    if request.sid:
        # A backup codec for a track that exists already: one codec per track is forwarded.
        return m.RequestResponse.NOT_FOUND, "a second codec for a published track is not supported"
    if len(member.desk.pending) >= limits.pending_tracks:
        return m.RequestResponse.LIMIT_EXCEEDED, "too many tracks wait for their media"
    if len(member.tracks) + len(member.desk.pending) >= limits.tracks:
        return m.RequestResponse.LIMIT_EXCEEDED, "too many tracks are published"
    if len(request.name) > limits.name:
        return m.RequestResponse.LIMIT_EXCEEDED, "track name is too long"
    return None


def apply_sections(room: RoomState, member: Member, sections: Sequence[SectionLike]) -> None:
    """The publisher connection was negotiated: publish what is new, unpublish what has stopped."""
    media = [each for each in sections if each.kind in ("audio", "video")]
    gone = [room.tracks[sid] for sid in member.desk.ended(media) if sid in room.tracks]
    if gone:
        remove_tracks(room, member, gone)
    for section in media:
        if section.receiving and section.mid not in member.desk.mids:
            pending = member.desk.match(section)
            if pending is not None:
                _publish(room, member, pending, section)


def _publish(room: RoomState, member: Member, pending: Pending, section: SectionLike) -> None:
    info = pending.info
    publishing.published_info(info, section)
    track = Track(info, room.sources.handle(), member, member.link.publisher, pending.cids[0])
    member.desk.mids[section.mid] = track.sid
    member.tracks[track.sid] = track
    room.tracks[track.sid] = track
    room.by_track[track.handle] = track
    _touch(room, track)
    microphone = track.kind == "audio" and info.source == m.TrackSource.MICROPHONE
    layers = publishing.engine_layers(info, section.rids)
    priority = _SCREEN_PRIORITY if info.source == m.TrackSource.SCREEN_SHARE else _CAMERA_PRIORITY
    encrypted = info.encryption != m.Encryption.NONE
    room.emit(AddTrack(track.handle, track.peer, section.mid, track.kind, layers, microphone, priority, encrypted))
    if info.muted:
        room.emit(MuteTrack(track.handle, True))
    if track.kind == "video":
        room.dynacast[track.sid] = Dynacast(room.settings.dynacast_delay, room.now)
    room.broadcast(member, to_self=False)
    room.emit(Announce("track_published", member.info(), info))
    for other in room.others(member):
        if other.subscriptions.wants(track.sid):
            subscribe(room, other, track)
    update_dynacast(room, track)


def remove_tracks(room: RoomState, member: Member, tracks: Iterable[Track], *, tell: bool = False) -> None:
    """Tracks are gone. With `tell` the publisher is told too, as it did not end them itself."""
    tracks = list(tracks)
    for track in tracks:
        member.tracks.pop(track.sid, None)
        room.tracks.pop(track.sid, None)
        room.by_track.pop(track.handle, None)
        room.dynacast.pop(track.sid, None)
        room.timers.cancel(("dynacast", track.sid))
    if member.identity in room.members:
        room.broadcast(member, to_self=False)
    for track in tracks:
        for other in room.members.values():
            other.subscriptions.forget(track.sid)
        room.emit(RemoveTrack(track.handle))
        room.emit(ForgetPreference(track.peer, track.cid))
        if tell:
            room.tell(member, track_unpublished=m.TrackUnpublishedResponse(track_sid=track.sid))
        room.emit(Announce("track_unpublished", member.info(), track.info))
        _speaker_stopped(room, track)


def _speaker_stopped(room: RoomState, track: Track) -> None:
    changes = room.speakers.remove_track(track.member.sid, track.sid)
    for sid, level, active in changes:
        speaker = m.SpeakerInfo(sid=sid, level=level, active=active)
        room.tell_all(room.members.values(), speakers_changed=m.SpeakersChanged(speakers=[speaker]))


def mute(room: RoomState, member: Member, sid: str, muted: bool) -> bool:
    """Mute or unmute a track of a participant; False when it has no such track."""
    pending = member.desk.find_pending(sid)
    if pending is not None:
        pending.muted = muted
        return True
    track = member.tracks.get(sid)
    if track is None:
        return False
    if track.info.muted != muted:
        track.info.muted = muted
        _touch(room, track)
        room.emit(MuteTrack(track.handle, muted))
        room.broadcast(member, to_self=True)
    return True


def auto_subscribe(room: RoomState, member: Member) -> None:
    """Give a participant every track that it wants and may have."""
    for track in list(room.tracks.values()):
        if member.subscriptions.wants(track.sid):
            subscribe(room, member, track)


def subscribe(room: RoomState, member: Member, track: Track) -> None:
    """Send a track to a participant if it may have it; else note that it was denied."""
    subscriptions = member.subscriptions
    publisher = track.member
    if publisher is member or publisher.hidden or not member.permission.can_subscribe:
        return
    if track.sid in subscriptions.active or track.sid in subscriptions.leaving:
        return
    if not track.member.access.permits(member, track.sid):
        if track.sid not in subscriptions.denied:
            subscriptions.denied.add(track.sid)
            _tell_access(room, member, track, False)
        return
    subscription = subscriptions.start(track)
    stream_id = pack_stream_id(publisher.sid, track.sid)
    peer = member.link.data_peer
    room.emit(Subscribe(track.handle, peer, stream_id, track.sid, publisher.sid))
    if subscription.paused or subscription.fps or subscription.quality < m.VideoQuality.HIGH:
        _limit(room, member, subscription)
    update_dynacast(room, track)


def unsubscribe(room: RoomState, member: Member, track: Track) -> None:
    """Stop sending a track to a participant."""
    subscription = member.subscriptions.active.pop(track.sid, None)
    if subscription is None:
        return
    if subscription.mid:
        member.subscriptions.leaving.add(track.sid)
    room.emit(Unsubscribe(track.handle, member.link.data_peer))
    update_dynacast(room, track)


def sections_freed(room: RoomState, member: Member, sections: Sequence[SectionLike]) -> None:
    """A negotiation told the client which tracks it is sent no longer: those may be subscribed to again.

    Before that, a client would not notice that a track went and came back, and would wait for it forever.
    """
    sending = {room.by_track[each.sending].sid for each in sections if each.sending in room.by_track}
    for sid in member.subscriptions.leaving - sending:
        member.subscriptions.leaving.discard(sid)
        if sid in room.tracks and member.subscriptions.wants(sid):
            subscribe(room, member, room.tracks[sid])


def update_subscription(room: RoomState, member: Member, sids: Iterable[str], wanted: bool) -> None:
    """A participant wants tracks, or no longer."""
    limit = room.settings.limits.waiting_subscriptions
    for sid in sids:
        if len(member.subscriptions.wanted) + len(member.subscriptions.declined) >= limit:
            return
        member.subscriptions.choose(sid, wanted)
        track = room.tracks.get(sid)
        if track is None:
            if wanted:
                room.timers.set(("subscription", f"{member.sid}|{sid}"), room.now + _NOT_FOUND_AFTER)
        elif wanted:
            subscribe(room, member, track)
        else:
            unsubscribe(room, member, track)


def give_up(room: RoomState, key: str) -> None:
    """A track that a participant waited for did not appear."""
    sid, _, track_sid = key.partition("|")
    member = room.by_sid(sid)
    if member is None or track_sid in room.tracks or track_sid not in member.subscriptions.wanted:
        return
    member.subscriptions.forget(track_sid)
    error = m.SubscriptionError.SE_TRACK_NOTFOUND
    room.tell(member, subscription_response=m.SubscriptionResponse(track_sid=track_sid, err=error))


def set_settings(room: RoomState, member: Member, settings: m.UpdateTrackSettings) -> None:
    """A participant says how it shows tracks."""
    for sid in settings.track_sids:
        subscription = member.subscriptions.active.get(sid)
        if subscription is not None:
            member.subscriptions.apply(subscription, settings)
            member.subscriptions.settings[sid] = settings
            _limit(room, member, subscription)
            update_dynacast(room, subscription.track)
        elif len(member.subscriptions.settings) < room.settings.limits.waiting_subscriptions:
            member.subscriptions.settings[sid] = settings


def _limit(room: RoomState, member: Member, subscription: Subscription) -> None:
    room.emit(
        SetSubscription(
            subscription.track.handle,
            member.link.data_peer,
            subscription.paused,
            subscription.quality,
            subscription.fps,
        )
    )


def set_access(room: RoomState, publisher: Member, message: m.SubscriptionPermission) -> None:
    """A publisher says who may have its tracks; what changes takes effect at once."""
    if message.all_participants and publisher.access.everybody:
        return
    publisher.access = Access.from_message(message)
    for track in publisher.tracks.values():
        for other in room.others(publisher):
            _review_access(room, other, track)


def _review_access(room: RoomState, member: Member, track: Track) -> None:
    permitted = track.member.access.permits(member, track.sid)
    if not permitted and track.sid in member.subscriptions.active:
        unsubscribe(room, member, track)
        member.subscriptions.denied.add(track.sid)
        _tell_access(room, member, track, False)
    elif permitted and track.sid in member.subscriptions.denied:
        member.subscriptions.denied.discard(track.sid)
        _tell_access(room, member, track, True)
        if member.subscriptions.wants(track.sid):
            subscribe(room, member, track)


def _tell_access(room: RoomState, member: Member, track: Track, allowed: bool) -> None:
    update = m.SubscriptionPermissionUpdate(participant_sid=track.member.sid, track_sid=track.sid, allowed=allowed)
    room.tell(member, subscription_permission_update=update)


def bound(room: RoomState, member: Member, track: Track, mid: str) -> None:
    """A track now reaches a participant: its publisher hears of the first one, and the subscriber how things are."""
    subscription = member.subscriptions.active.get(track.sid)
    if subscription is None:
        return
    subscription.mid = mid
    if not track.announced and not member.hidden:
        track.announced = True
        room.tell(track.member, track_subscribed=m.TrackSubscribed(track_sid=track.sid))
    level = room.speakers.level(track.member.sid)
    if level:
        speaker = m.SpeakerInfo(sid=track.member.sid, level=level, active=True)
        room.tell(member, speakers_changed=m.SpeakersChanged(speakers=[speaker]))
    score = room.quality.get(track.member.sid)
    if score is not None and score.told is not None:
        update = m.ConnectionQualityUpdate(updates=[score.info(track.member.sid)])
        room.tell(member, connection_quality=update)


def media_started(room: RoomState, track: Track, mime: str) -> None:
    """The first packet of a track tells its codec; correct what the offer suggested."""
    mime = publishing.mime_name(mime)
    if track.info.mime_type == mime:
        return
    track.info.mime_type = mime
    if track.info.codecs:
        track.info.codecs[0].mime_type = mime
    _touch(room, track)
    room.broadcast(track.member, to_self=False)


def update_dynacast(room: RoomState, track: Track) -> None:
    """Tell a publisher which layers are wanted, when that changed."""
    dynacast = room.dynacast.get(track.sid)
    if dynacast is None:
        return
    wishes = [
        subscription.wanted_quality
        for member in room.members.values()
        if (subscription := member.subscriptions.active.get(track.sid)) is not None
    ]
    wanted = max((wish for wish in wishes if wish is not None), default=None)
    if dynacast.update(room.now, wanted):
        room.tell(track.member, subscribed_quality_update=_quality_update(track, dynacast.told))
    if dynacast.deadline is None:
        room.timers.cancel(("dynacast", track.sid))
    else:
        room.timers.set(("dynacast", track.sid), dynacast.deadline)


def _quality_update(track: Track, told: int | None) -> m.SubscribedQualityUpdate:
    highest = -1 if told is None else told
    qualities = [
        m.SubscribedQuality(quality=quality, enabled=quality <= highest)
        for quality in (m.VideoQuality.LOW, m.VideoQuality.MEDIUM, m.VideoQuality.HIGH)
    ]
    codec = track.info.mime_type.lower().removeprefix("video/")
    return m.SubscribedQualityUpdate(
        track_sid=track.sid,
        subscribed_qualities=qualities,
        subscribed_codecs=[m.SubscribedCodec(codec=codec, qualities=qualities)],
    )


def _touch(room: RoomState, track: Track) -> None:
    track.info.version.unix_micro = int(room.wall * 1_000_000)
    track.info.version.ticks += 1

"""Waiting for somebody, or for a track, in a room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, overload

from greenroom import rtc
from greenroom.errors import DisconnectedError, StateError

__all__ = [
    "DEFAULT_PARTICIPANT_KINDS",
    "kinds_of",
    "wait_for_agent",
    "wait_for_participant",
    "wait_for_track_publication",
]

#: Those who talk with agents: people, phones, and what a connector brings.
DEFAULT_PARTICIPANT_KINDS: list[rtc.ParticipantKind] = [
    rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
    rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
    rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
]

T = TypeVar("T")


def kinds_of(kind: Iterable[int] | int | None) -> frozenset[int] | None:
    """One kind, several, or None for any."""
    if kind is None:
        return None
    return frozenset([kind]) if isinstance(kind, int) else frozenset(kind)


@overload
async def wait_for_participant(
    room: rtc.Room,
    *,
    identity: str | None = None,
    kind: Iterable[int] | int | None = None,
    include_local: Literal[False] = False,
) -> rtc.RemoteParticipant: ...
@overload
async def wait_for_participant(
    room: rtc.Room,
    *,
    identity: str | None = None,
    kind: Iterable[int] | int | None = None,
    include_local: bool,
) -> rtc.RemoteParticipant | rtc.LocalParticipant: ...
async def wait_for_participant(
    room: rtc.Room,
    *,
    identity: str | None = None,
    kind: Iterable[int] | int | None = None,
    include_local: bool = False,
) -> rtc.RemoteParticipant | rtc.LocalParticipant:
    """The first participant that has joined completely, now or later.

    Args:
        room: a joined room.
        identity: only this one.
        kind: only these kinds; None = any.
        include_local: it may be ourselves.

    Raises:
        StateError: the room is not joined.
        DisconnectedError: the room ended first.
    """
    kinds = kinds_of(kind)

    def look() -> rtc.RemoteParticipant | rtc.LocalParticipant | None:
        local = room.local_participant
        if include_local and identity in (None, local.identity) and (kinds is None or local.kind in kinds):
            return local
        for each in room.remote_participants.values():
            active = each.state == rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
            if active and identity in (None, each.identity) and (kinds is None or each.kind in kinds):
                return each
        return None

    return await _first(room, look, ("participant_connected", "participant_active"), "a participant")


async def wait_for_agent(room: rtc.Room, *, agent_name: str | None = None) -> rtc.RemoteParticipant:
    """The first agent that has joined completely, now or later.

    Args:
        room: a joined room.
        agent_name: only one that was dispatched by this name.

    Raises:
        StateError: the room is not joined.
        DisconnectedError: the room ended first.
    """

    def look() -> rtc.RemoteParticipant | None:
        for each in room.remote_participants.values():
            names = (each.attributes.get("lk.agent_name"), each.attributes.get("lk.agent.name"))
            agent = each.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
            active = each.state == rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
            if agent and active and (agent_name is None or agent_name in names):
                return each
        return None

    events = ("participant_connected", "participant_active", "participant_attributes_changed")
    return await _first(room, look, events, "an agent")


@overload
async def wait_for_track_publication(
    room: rtc.Room,
    *,
    identity: str | None = None,
    kind: Iterable[int] | int | None = None,
    include_local: Literal[False] = False,
    wait_for_subscription: bool = False,
) -> rtc.RemoteTrackPublication: ...
@overload
async def wait_for_track_publication(
    room: rtc.Room,
    *,
    identity: str | None = None,
    kind: Iterable[int] | int | None = None,
    include_local: bool,
    wait_for_subscription: bool = False,
) -> rtc.RemoteTrackPublication | rtc.LocalTrackPublication: ...
async def wait_for_track_publication(
    room: rtc.Room,
    *,
    identity: str | None = None,
    kind: Iterable[int] | int | None = None,
    include_local: bool = False,
    wait_for_subscription: bool = False,
) -> rtc.RemoteTrackPublication | rtc.LocalTrackPublication:
    """The first published track, now or later.

    Args:
        room: a joined room.
        identity: only tracks of this participant.
        kind: only these `TrackKind`s; None = any.
        include_local: it may be one of ours.
        wait_for_subscription: only when its media arrives here; ours are never waited for.

    Raises:
        StateError: the room is not joined.
        DisconnectedError: the room ended first.
    """
    kinds = kinds_of(kind)

    def look() -> rtc.RemoteTrackPublication | rtc.LocalTrackPublication | None:
        local = room.local_participant
        if include_local and identity in (None, local.identity):
            for own in local.track_publications.values():
                if kinds is None or own.kind in kinds:
                    return own
        for participant in room.remote_participants.values():
            if identity not in (None, participant.identity):
                continue
            for publication in participant.track_publications.values():
                ready = publication.subscribed or not wait_for_subscription
                if ready and (kinds is None or publication.kind in kinds):
                    return publication
        return None

    events = ("track_published", "track_subscribed", "local_track_published")
    return await _first(room, look, events, "a track")


async def _first(room: rtc.Room, look: Callable[[], T | None], events: Iterable[Any], what: str) -> T:
    """What `look` finds, now or after one of the events."""
    if not room.isconnected():
        raise StateError(f"join the room before waiting for {what}")
    found: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def check(*_: Any) -> None:
        if not found.done() and (one := look()) is not None:
            found.set_result(one)

    def ended(*_: Any) -> None:
        if not found.done():
            found.set_exception(DisconnectedError(f"the room ended while waiting for {what}"))

    for event in events:
        room.on(event, check)
    room.on("disconnected", ended)
    try:
        check()
        return await found
    finally:
        for event in events:
            room.off(event, check)
        room.off("disconnected", ended)

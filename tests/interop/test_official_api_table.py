"""Every method of the official API package: it does what it says, or is answered with the error that is documented."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from livekit import api
from livekit.api import agent_dispatch_service, connector_service, egress_service, ingress_service, sip_service
from livekit.api import room_service as rooms
from livekit.protocol import models

from greenroom.server import Server, ServerOptions
from tests.interop.conftest import KEYS
from tests.interop.official import Client, joined, tone

KEY, SECRET = next(iter(KEYS.items()))


@dataclasses.dataclass(frozen=True)
class Scene:
    """A room with two people, one of whom publishes, and a dispatch."""

    ada: Client
    track: str
    dispatch: str


@dataclasses.dataclass(frozen=True)
class Case:
    """A call: its arguments, and what the answer must be like, or the code and words of the refusal."""

    arguments: Callable[[Scene], tuple[Any, ...]]
    judge: Callable[[Scene, Any], bool] = lambda scene, answer: True
    code: str = ""
    words: str = ""


def ask(kind: type, /, **fields: Any) -> Callable[[Scene], tuple[Any, ...]]:
    """One request; fields that are functions are asked about the scene."""
    return lambda scene: (kind(**{name: each(scene) if callable(each) else each for name, each in fields.items()}),)


def refused(kind: type, code: str, words: str, /, **fields: Any) -> Case:
    return Case(ask(kind, **fields), code=code, words=words)


ADA = {"room": "lab", "identity": "ada"}
NOBODY = {"room": "lab", "identity": "nobody"}
NOWHERE = {"room": "nowhere", "identity": "ada"}
NO_ROOM, NO_ONE = "requested room does not exist", "participant does not exist"
TRACK = {"track_sid": lambda scene: scene.track}
BIG = "x" * 600_000

ROOMS: dict[str, list[Case]] = {
    "create_room": [
        Case(ask(api.CreateRoomRequest, name="new", metadata="m"), lambda _, room: room.metadata == "m"),
        Case(ask(api.CreateRoomRequest, name="lab"), lambda _, room: room.num_participants == 2),
        refused(api.CreateRoomRequest, "invalid_argument", "no room name"),
        refused(api.CreateRoomRequest, "invalid_argument", "room name length", name="x" * 257),
        refused(api.CreateRoomRequest, "invalid_argument", "metadata", name="new", metadata=BIG),
        refused(api.CreateRoomRequest, "unimplemented", "egress", name="new", egress=api.RoomEgress()),
    ],
    "list_rooms": [
        Case(ask(api.ListRoomsRequest), lambda _, answer: "lab" in [each.name for each in answer.rooms]),
        Case(ask(api.ListRoomsRequest, names=["nowhere"]), lambda _, answer: not answer.rooms),
    ],
    "delete_room": [
        Case(ask(api.DeleteRoomRequest, room="spare")),
        refused(api.DeleteRoomRequest, "not_found", NO_ROOM, room="nowhere"),
    ],
    "update_room_metadata": [
        Case(
            ask(api.UpdateRoomMetadataRequest, room="lab", metadata="new"), lambda _, answer: answer.metadata == "new"
        ),
        refused(api.UpdateRoomMetadataRequest, "invalid_argument", "metadata", room="lab", metadata=BIG),
        refused(api.UpdateRoomMetadataRequest, "not_found", NO_ROOM, room="nowhere"),
    ],
    "list_participants": [
        Case(ask(api.ListParticipantsRequest, room="lab"), lambda _, answer: len(answer.participants) == 2),
        refused(api.ListParticipantsRequest, "not_found", NO_ROOM, room="nowhere"),
    ],
    "get_participant": [
        Case(ask(api.RoomParticipantIdentity, **ADA), lambda scene, answer: answer.tracks[0].sid == scene.track),
        refused(api.RoomParticipantIdentity, "not_found", NO_ONE, **NOBODY),
        refused(api.RoomParticipantIdentity, "not_found", NO_ROOM, **NOWHERE),
        refused(api.RoomParticipantIdentity, "invalid_argument", "identity", room="lab"),
    ],
    "mute_published_track": [
        Case(ask(api.MuteRoomTrackRequest, **ADA, **TRACK, muted=True), lambda scene, answer: bool(answer.track.muted)),
        refused(api.MuteRoomTrackRequest, "failed_precondition", "remote unmute", **ADA, **TRACK, muted=False),
        refused(api.MuteRoomTrackRequest, "not_found", "track", **ADA, track_sid="TR_no", muted=True),
        refused(api.MuteRoomTrackRequest, "not_found", NO_ONE, **NOBODY, **TRACK, muted=True),
    ],
    "update_participant": [
        Case(ask(api.UpdateParticipantRequest, **ADA, name="Ada"), lambda _, answer: answer.name == "Ada"),
        refused(api.UpdateParticipantRequest, "invalid_argument", "metadata", **ADA, metadata=BIG),
        refused(api.UpdateParticipantRequest, "not_found", NO_ONE, **NOBODY),
    ],
    "update_subscriptions": [
        Case(
            ask(
                api.UpdateSubscriptionsRequest,
                room="lab",
                identity="bob",
                track_sids=lambda scene: [scene.track],
                subscribe=False,
            )
        ),
        refused(api.UpdateSubscriptionsRequest, "not_found", NO_ONE, **NOBODY),
    ],
    "send_data": [
        Case(ask(api.SendDataRequest, room="lab", data=b"hi", kind=models.DataPacket.RELIABLE)),
        refused(api.SendDataRequest, "not_found", NO_ROOM, room="nowhere", data=b"hi"),
    ],
    "forward_participant": [
        refused(api.ForwardParticipantRequest, "unimplemented", "moved", **ADA, destination_room="new"),
        refused(api.ForwardParticipantRequest, "not_found", NO_ROOM, **NOWHERE, destination_room="new"),
    ],
    "move_participant": [
        refused(api.MoveParticipantRequest, "unimplemented", "moved", **ADA, destination_room="new"),
    ],
    "remove_participant": [
        refused(api.RoomParticipantIdentity, "not_found", NO_ONE, **NOBODY),
        Case(ask(api.RoomParticipantIdentity, **ADA)),
    ],
}

AGENT = api.CreateAgentDispatchRequest
DISPATCHES: dict[str, list[Case]] = {
    "create_dispatch": [
        Case(
            ask(AGENT, agent_name="bot", room="lab", metadata="m"),
            lambda _, answer: (answer.agent_name, answer.metadata) == ("bot", "m") and answer.id.startswith("AD_"),
        ),
        Case(ask(AGENT, agent_name="bot", room="made by this"), lambda _, answer: answer.room == "made by this"),
        refused(AGENT, "invalid_argument", "room name", agent_name="bot", room="x" * 257),
        refused(AGENT, "invalid_argument", "agent name", agent_name="x" * 257, room="lab"),
        refused(AGENT, "invalid_argument", "metadata", agent_name="bot", room="lab", metadata=BIG),
        refused(AGENT, "invalid_argument", "attributes", agent_name="bot", room="lab", attributes={"a": BIG}),
        refused(AGENT, "invalid_argument", "deployment", agent_name="bot", room="lab", deployment="a_b"),
    ],
    "list_dispatch": [
        Case(lambda scene: ("lab",), lambda scene, answer: scene.dispatch in [each.id for each in answer]),
        Case(lambda scene: ("nowhere",), lambda _, answer: answer == []),
    ],
    "get_dispatch": [
        Case(lambda scene: (scene.dispatch, "lab"), lambda scene, answer: answer.id == scene.dispatch),
        Case(lambda scene: ("AD_no", "lab"), lambda _, answer: answer is None),
    ],
    "delete_dispatch": [
        Case(lambda scene: (scene.dispatch, "lab"), lambda scene, answer: answer.id == scene.dispatch),
        Case(lambda scene: ("AD_no", "lab"), code="not_found", words="dispatch does not exist"),
    ],
}

TABLES = {
    "room": (rooms.RoomService, ROOMS),
    "agent_dispatch": (agent_dispatch_service.AgentDispatchService, DISPATCHES),
}
ELSEWHERE = {
    "egress": egress_service.EgressService,
    "ingress": ingress_service.IngressService,
    "sip": sip_service.SipService,
    "connector": connector_service.ConnectorService,
}


def methods(service: type) -> dict[str, Callable[..., Any]]:
    """The calls that a service of the package has."""
    return {
        name: each
        for name, each in inspect.getmembers(service, inspect.iscoroutinefunction)
        if not name.startswith("_") and name != "aclose"
    }


@pytest.mark.parametrize("service", TABLES)
async def test_every_method_of_rooms_and_dispatch(service: str):
    kind, table = TABLES[service]
    assert set(table) == set(methods(kind))
    async with Server(ServerOptions(keys=KEYS)) as server:
        async with (
            api.LiveKitAPI(server.url.replace("ws", "http"), KEY, SECRET) as lk,
            joined(server, "ada") as ada,
            joined(server, "bob"),
            tone(ada, 440) as publication,
        ):
            await lk.room.create_room(api.CreateRoomRequest(name="spare"))
            made = await lk.agent_dispatch.create_dispatch(AGENT(agent_name="nobody serves this", room="lab"))
            scene = Scene(ada, publication.sid, made.id)
            for name, cases in table.items():
                for number, case in enumerate(cases):
                    await perform(getattr(getattr(lk, service), name), case, scene, f"{name} {number}")


async def perform(call: Callable[..., Any], case: Case, scene: Scene, label: str) -> None:
    try:
        answer = await call(*case.arguments(scene))
    except api.TwirpError as error:
        assert (error.code, case.words in error.message) == (case.code, True), f"{label}: {error}"
    else:
        assert not case.code and case.judge(scene, answer), f"{label}: {answer}"


def made_up(annotation: Any) -> Any:
    """An argument of a type, as empty as it may be."""
    if typing.get_origin(annotation) is typing.Union:
        annotation = typing.get_args(annotation)[0]
    if inspect.isclass(annotation) and issubclass(annotation, Message):
        return annotation()
    return {str: "x", int: 1, float: 1.0, bool: True}[annotation]


@pytest.mark.parametrize("service", ELSEWHERE)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_other_services_say_that_they_are_not_here(service: str):
    async with Server(ServerOptions(keys=KEYS)) as server:
        async with api.LiveKitAPI(server.url.replace("ws", "http"), KEY, SECRET) as lk:
            for name in methods(ELSEWHERE[service]):
                call = getattr(getattr(lk, service), name)
                hints = typing.get_type_hints(call)
                needed = [
                    each.name for each in inspect.signature(call).parameters.values() if each.default is each.empty
                ]
                with pytest.raises(api.TwirpError) as caught:
                    await call(**{each: made_up(hints[each]) for each in needed})
                assert caught.value.code == "unimplemented", name
                assert "not part of this server" in caught.value.message, name


async def test_a_dispatch_makes_no_room_where_joining_would_make_none():
    async with Server(ServerOptions(keys=KEYS, auto_create=False)) as server:
        async with api.LiveKitAPI(server.url.replace("ws", "http"), KEY, SECRET) as lk:
            with pytest.raises(api.TwirpError) as caught:
                await lk.agent_dispatch.create_dispatch(AGENT(agent_name="bot", room="lab"))
    assert (caught.value.code, caught.value.message) == ("not_found", NO_ROOM)


async def test_a_fault_inside_is_an_error_of_the_api_and_in_the_log(monkeypatch, caplog):
    from greenroom.server import twirp

    async def broken(core, claims, request):
        raise LookupError("a mistake of ours")

    monkeypatch.setitem(twirp._HANDLERS, "livekit.RoomService/ListRooms", broken)
    async with Server(ServerOptions(keys=KEYS)) as server:
        async with api.LiveKitAPI(server.url.replace("ws", "http"), KEY, SECRET) as lk:
            with pytest.raises(api.TwirpError) as caught:
                await lk.room.list_rooms(api.ListRoomsRequest())
    assert caught.value.code == "internal" and "a mistake of ours" not in caught.value.message
    assert "a mistake of ours" in caplog.text

"""The server's HTTP API for jobs: rooms, participants, dispatches, and the services that go with a server."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from greenroom.errors import RequestError, UnreachableError
from greenroom.wire import messages as m
from greenroom.wire.tokens import Claims, VideoGrants, encode_token

if TYPE_CHECKING:
    import aiohttp

__all__ = ["AgentDispatchApi", "Api", "RoomApi", "ServiceApi"]

_LIFETIME = 600.0
_TIMEOUT = 30.0


class Api:
    """Calls of one server. Methods take plain arguments, or the request messages of the livekit-api package.

    LIVEKIT_TOKEN, where it is set, is what they are made with instead of a token of the worker's key.
    """

    def __init__(self, url: str, key: str, secret: str, proxy: str | None = None) -> None:
        self._url = "http" + url.removeprefix("ws").removeprefix("http")
        self._key = key
        self._secret = secret
        self._proxy = proxy
        self._client: aiohttp.ClientSession | None = None
        self.room = RoomApi(self)
        self.agent_dispatch = AgentDispatchApi(self)
        self.sip = ServiceApi(self, "SIP")
        self.egress = ServiceApi(self, "Egress")
        self.ingress = ServiceApi(self, "Ingress")

    async def call(
        self,
        method: str,
        request: m.Message,
        answer: m.Message,
        grants: VideoGrants,
        others: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Any:
        """Call a method such as "RoomService/ListRooms" and fill `answer`.

        Raises:
            RequestError: the server refused; `reason` is its code. In programs that have imported `livekit.api` this
                is a TwirpError of that package as well.
            UnreachableError: it does not answer.
        """
        import aiohttp

        from greenroom.wire.twirp import PROTOBUF

        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        claims = Claims(video=grants, others=others or {})
        token = os.environ.get("LIVEKIT_TOKEN") or encode_token(
            claims, self._key, self._secret, now=time.time(), lifetime=_LIFETIME
        )
        headers = {"Authorization": f"Bearer {token}", "Content-Type": PROTOBUF}
        url = f"{self._url.rstrip('/')}/twirp/livekit.{method}"
        try:
            async with self._client.post(
                url, data=request.SerializeToString(), headers=headers, proxy=self._proxy
            ) as response:
                if response.status != 200:
                    raise await _refusal(method, response)
                answer.ParseFromString(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnreachableError(f"{method}: no answer from {self._url}: {error}") from error
        return answer

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


async def _refusal(method: str, response: aiohttp.ClientResponse) -> RequestError:
    try:
        error = await response.json(content_type=None)
        reason, text, more = error["code"], error["msg"], error.get("meta", {})
    except (ValueError, KeyError, TypeError):
        reason, text, more = str(response.status), f"HTTP status {response.status}", {}
    official = getattr(sys.modules.get("livekit.api"), "TwirpError", None)
    if official is None:
        return RequestError(f"{method}: {text}", reason=reason)
    kind, message = _refused(official), f"{method}: {text}"
    refused = kind.__new__(kind, message)  # the two constructors do not know of each other
    vars(refused).update(message=message, reason=reason, code=reason, status=response.status, metadata=more)
    return refused


@functools.cache
def _refused(official: type[Exception]) -> type[RequestError]:
    """A RequestError that programs which use the livekit-api package catch as that package's error, too."""
    attributes = {"message": "", "code": "", "status": 0, "metadata": {}, "__module__": __name__}
    return type("RequestError", (RequestError, official), attributes)


class RoomApi:
    """RoomService."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create_room(self, request: m.CreateRoomRequest | str) -> m.Room:
        """Open a room, by request or name."""
        message = m.CreateRoomRequest(name=request) if isinstance(request, str) else request
        grants = VideoGrants(room_create=True)
        return await self._api.call("RoomService/CreateRoom", message, m.Room(), grants)  # type: ignore[no-any-return]

    async def list_rooms(self, request: m.ListRoomsRequest | None = None) -> m.ListRoomsResponse:
        """The rooms that are open."""
        answer = m.ListRoomsResponse()
        await self._api.call(
            "RoomService/ListRooms", request or m.ListRoomsRequest(), answer, VideoGrants(room_list=True)
        )
        return answer

    async def delete_room(self, request: m.DeleteRoomRequest | str) -> m.DeleteRoomResponse:
        """End a room, by request or name."""
        message = m.DeleteRoomRequest(room=request) if isinstance(request, str) else request
        answer = m.DeleteRoomResponse()
        await self._api.call("RoomService/DeleteRoom", message, answer, VideoGrants(room_create=True))
        return answer

    async def list_participants(self, request: m.ListParticipantsRequest | str) -> m.ListParticipantsResponse:
        """Who is in a room, by request or the room's name."""
        message = m.ListParticipantsRequest(room=request) if isinstance(request, str) else request
        answer = m.ListParticipantsResponse()
        await self._api.call("RoomService/ListParticipants", message, answer, _admin(message.room))
        return answer

    async def get_participant(self, request: m.RoomParticipantIdentity) -> m.ParticipantInfo:
        """One participant."""
        answer = m.ParticipantInfo()
        await self._api.call("RoomService/GetParticipant", request, answer, _admin(request.room))
        return answer

    async def remove_participant(self, request: m.RoomParticipantIdentity) -> m.RemoveParticipantResponse:
        """Make a participant leave."""
        answer = m.RemoveParticipantResponse()
        await self._api.call("RoomService/RemoveParticipant", request, answer, _admin(request.room))
        return answer

    async def mute_published_track(self, request: m.MuteRoomTrackRequest) -> m.MuteRoomTrackResponse:
        """Mute somebody's track."""
        answer = m.MuteRoomTrackResponse()
        await self._api.call("RoomService/MutePublishedTrack", request, answer, _admin(request.room))
        return answer

    async def update_participant(self, request: m.UpdateParticipantRequest) -> m.ParticipantInfo:
        """Change a participant's name, metadata, attributes or permissions."""
        answer = m.ParticipantInfo()
        await self._api.call("RoomService/UpdateParticipant", request, answer, _admin(request.room))
        return answer

    async def update_subscriptions(self, request: m.UpdateSubscriptionsRequest) -> m.UpdateSubscriptionsResponse:
        """Subscribe or unsubscribe a participant."""
        answer = m.UpdateSubscriptionsResponse()
        await self._api.call("RoomService/UpdateSubscriptions", request, answer, _admin(request.room))
        return answer

    async def send_data(self, request: m.SendDataRequest) -> m.SendDataResponse:
        """Send data into a room."""
        answer = m.SendDataResponse()
        await self._api.call("RoomService/SendData", request, answer, _admin(request.room))
        return answer

    async def update_room_metadata(self, request: m.UpdateRoomMetadataRequest) -> m.Room:
        """Change a room's metadata."""
        answer = m.Room()
        await self._api.call("RoomService/UpdateRoomMetadata", request, answer, _admin(request.room))
        return answer

    async def forward_participant(self, request: m.ForwardParticipantRequest) -> None:
        """Let a participant's tracks be in another room as well; not every server can."""
        grants = VideoGrants(room_admin=True, room=request.room, destination_room=request.destination_room)
        await self._api.call("RoomService/ForwardParticipant", request, m.ForwardParticipantResponse(), grants)

    async def move_participant(self, request: m.MoveParticipantRequest) -> None:
        """Let a participant go to another room; not every server can."""
        grants = VideoGrants(room_admin=True, room=request.room, destination_room=request.destination_room)
        await self._api.call("RoomService/MoveParticipant", request, m.MoveParticipantResponse(), grants)


class AgentDispatchApi:
    """AgentDispatchService."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create_dispatch(self, request: m.CreateAgentDispatchRequest) -> m.AgentDispatch:
        """Ask for an agent in a room."""
        answer = m.AgentDispatch()
        await self._api.call("AgentDispatchService/CreateDispatch", request, answer, _admin(request.room))
        return answer

    async def delete_dispatch(self, dispatch_id: str, room_name: str) -> m.AgentDispatch:
        """Take a dispatch back: its agents leave."""
        request = m.DeleteAgentDispatchRequest(dispatch_id=dispatch_id, room=room_name)
        answer = m.AgentDispatch()
        await self._api.call("AgentDispatchService/DeleteDispatch", request, answer, _admin(room_name))
        return answer

    async def get_dispatch(self, dispatch_id: str, room_name: str) -> m.AgentDispatch | None:
        """One dispatch of a room; None when there is none of this id."""
        answer = m.ListAgentDispatchResponse()
        request = m.ListAgentDispatchRequest(dispatch_id=dispatch_id, room=room_name)
        await self._api.call("AgentDispatchService/ListDispatch", request, answer, _admin(room_name))
        return next((each for each in answer.agent_dispatches if each.id == dispatch_id), None)

    async def list_dispatch(self, room_name: str) -> list[m.AgentDispatch]:
        """The dispatches of a room."""
        answer = m.ListAgentDispatchResponse()
        request = m.ListAgentDispatchRequest(room=room_name)
        await self._api.call("AgentDispatchService/ListDispatch", request, answer, _admin(room_name))
        return list(answer.agent_dispatches)


class ServiceApi:
    """A service that a server may have besides rooms: `await ctx.api.egress.start_room_composite_egress(request)`.

    Every method of the service is there, by its name in the official package, and takes its request message. A server
    without the service answers with RequestError.
    """

    def __init__(self, api: Api, service: str) -> None:
        self._api = api
        self._service = service

    def __getattr__(self, name: str) -> Callable[[m.Message], Awaitable[Any]]:
        from greenroom.wire.services import methods

        known = methods(self._service)
        # "create_inbound_trunk" is CreateSIPInboundTrunk.
        long = name.replace("_", self._service.lower(), 1)
        method = known.get(name.replace("_", "")) or known.get(long.replace("_", ""))
        if name.startswith("__") or method is None:
            names = ", ".join(each.name.partition("/")[2] for each in known.values())
            raise AttributeError(f"{self._service} has no method {name!r}: there are {names}")

        async def call(request: m.Message) -> Any:
            room = str(getattr(request, "room_name", ""))
            grants, others = _service_grants(self._service, room)
            return await self._api.call(method.name, request, method.answer(), grants, others)

        return call


def _service_grants(service: str, room: str) -> tuple[VideoGrants, Mapping[str, Mapping[str, object]]]:
    """What a token must allow for calls of a service."""
    match service:
        case "Egress":
            return VideoGrants(room_record=True), {}
        case "Ingress":
            return VideoGrants(ingress_admin=True), {}
        case _:
            return VideoGrants(room_admin=bool(room), room=room), {"sip": {"admin": True, "call": True}}


def _admin(room: str) -> VideoGrants:
    return VideoGrants(room_admin=True, room=room)

"""`greenroom room`: what an administrator does with rooms and those in them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Optional

import typer

from greenroom.wire.tokens import VideoGrants

__all__ = ["app"]

app = typer.Typer(help="List, make, change and end rooms, and moderate who is in them.", no_args_is_help=True)

RoomName = Annotated[str, typer.Argument(help="The room.")]
Identity = Annotated[str, typer.Argument(help="The participant.")]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the command goes, from the options before it."""

    url: str
    key: str
    secret: str
    as_json: bool


@app.callback()
def target(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="LIVEKIT_URL", help="Where the server is.")] = "ws://127.0.0.1:7880",
    api_key: Annotated[str, typer.Option(envvar="LIVEKIT_API_KEY", help="API key.")] = "devkey",
    api_secret: Annotated[str, typer.Option(envvar="LIVEKIT_API_SECRET", help="Its secret.")] = "secret",
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's reply as it is.")] = False,
) -> None:
    """List, make, change and end rooms, and moderate who is in them."""
    context.obj = Target(url, api_key, api_secret, as_json)


@app.command("list")
def list_rooms(context: typer.Context, names: Annotated[Optional[list[str]], typer.Argument()] = None) -> None:  # noqa: UP045
    """Rooms that are open."""
    reply = _call(context, "ListRooms", VideoGrants(room_list=True), names=names or [])
    rooms = reply.get("rooms", [])
    fields = ("name", "sid", "numParticipants", "numPublishers", "metadata")
    _show(context, reply, ("room", "sid", "participants", "publishers", "metadata"), fields, rooms)


@app.command()
def create(
    context: typer.Context,
    room: RoomName,
    metadata: Annotated[str, typer.Option(help="Metadata of the room.")] = "",
    max_participants: Annotated[int, typer.Option(min=0, help="How many may be in it, 0 = any number.")] = 0,
    empty_timeout: Annotated[int, typer.Option(min=0, help="Seconds it stays open when nobody has joined.")] = 300,
) -> None:
    """Open a room before anybody joins."""
    grants = VideoGrants(room_create=True)
    fields = {"name": room, "metadata": metadata, "maxParticipants": max_participants, "emptyTimeout": empty_timeout}
    reply = _call(context, "CreateRoom", grants, **fields)
    _show(context, reply, ("room", "sid", "metadata"), ("name", "sid", "metadata"), [reply])


@app.command()
def delete(context: typer.Context, room: RoomName) -> None:
    """End a room for everybody in it."""
    _done(context, _call(context, "DeleteRoom", VideoGrants(room_create=True), room=room), f"{room} is closed")


@app.command()
def participants(context: typer.Context, room: RoomName) -> None:
    """Who is in a room, and what they publish."""
    reply = _call(context, "ListParticipants", _admin(room), room=room)
    found = reply.get("participants", [])
    rows = [{**each, "tracks": ", ".join(map(_track, each.get("tracks", [])))} for each in found]
    fields = ("identity", "name", "state", "tracks", "metadata")
    _show(context, reply, ("identity", "name", "state", "tracks", "metadata"), fields, rows)


@app.command()
def remove(context: typer.Context, room: RoomName, identity: Identity) -> None:
    """Make a participant leave."""
    reply = _call(context, "RemoveParticipant", _admin(room), room=room, identity=identity)
    _done(context, reply, f"{identity} left {room}")


@app.command()
def update(
    context: typer.Context,
    room: RoomName,
    identity: Identity,
    metadata: Annotated[Optional[str], typer.Option(help="New metadata.")] = None,  # noqa: UP045
    name: Annotated[Optional[str], typer.Option(help="New name.")] = None,  # noqa: UP045
    attribute: Annotated[Optional[list[str]], typer.Option(help="name=value; may be repeated.")] = None,  # noqa: UP045
) -> None:
    """Change what the room knows of a participant."""
    from greenroom.cli.tokens import attributes

    changes = {"metadata": metadata, "name": name, "attributes": attributes(attribute or []) or None}
    given = {field: value for field, value in changes.items() if value is not None}
    reply = _call(context, "UpdateParticipant", _admin(room), room=room, identity=identity, **given)
    _done(context, reply, f"{identity} is updated")


@app.command()
def mute(
    context: typer.Context,
    room: RoomName,
    identity: Identity,
    track: Annotated[str, typer.Argument(help="The track's sid, TR_...")],
    muted: Annotated[bool, typer.Option("--mute/--unmute")] = True,
) -> None:
    """Mute a track that someone publishes."""
    fields = {"room": room, "identity": identity, "trackSid": track, "muted": muted}
    reply = _call(context, "MutePublishedTrack", _admin(room), **fields)
    _done(context, reply, f"{track} is {'muted' if muted else 'unmuted'}")


@app.command()
def subscriptions(
    context: typer.Context,
    room: RoomName,
    identity: Identity,
    tracks: Annotated[list[str], typer.Argument(help="Sids of tracks, TR_...")],
    subscribe: Annotated[bool, typer.Option("--subscribe/--unsubscribe")] = True,
) -> None:
    """Choose for a participant what it receives."""
    fields = {"room": room, "identity": identity, "trackSids": tracks, "subscribe": subscribe}
    reply = _call(context, "UpdateSubscriptions", _admin(room), **fields)
    _done(context, reply, f"{identity} {'receives' if subscribe else 'no longer receives'} {', '.join(tracks)}")


@app.command()
def metadata(
    context: typer.Context, room: RoomName, value: Annotated[str, typer.Argument(help="The new one.")]
) -> None:
    """Change a room's metadata."""
    reply = _call(context, "UpdateRoomMetadata", _admin(room), room=room, metadata=value)
    _done(context, reply, f"{room} is updated")


@app.command("send-data")
def send_data(
    context: typer.Context,
    room: RoomName,
    text: Annotated[str, typer.Argument(help="What to send, as UTF-8.")],
    to: Annotated[Optional[list[str]], typer.Option(help="An identity; everybody if none is given.")] = None,  # noqa: UP045
    topic: Annotated[str, typer.Option(help="Its topic.")] = "",
    reliable: Annotated[bool, typer.Option("--reliable/--lossy")] = True,
) -> None:
    """Send data to those in a room."""
    fields = {
        "room": room,
        "data": base64.b64encode(text.encode()).decode(),
        "kind": "RELIABLE" if reliable else "LOSSY",
        "destinationIdentities": to or [],
        "topic": topic,
    }
    _done(context, _call(context, "SendData", _admin(room), **fields), f"sent to {', '.join(to or [room])}")


def _admin(room: str) -> VideoGrants:
    return VideoGrants(room_admin=True, room=room)


def _call(context: typer.Context, method: str, grants: VideoGrants, **request: Any) -> dict[str, Any]:
    from greenroom.cli.api import Api

    chosen: Target = context.obj
    api = Api(chosen.url, chosen.key, chosen.secret)
    return asyncio.run(api.call(f"RoomService/{method}", request, grants))


def _done(context: typer.Context, reply: dict[str, Any], sentence: str) -> None:
    typer.echo(json.dumps(reply) if context.obj.as_json else sentence)


def _show(
    context: typer.Context,
    reply: dict[str, Any],
    titles: Sequence[str],
    fields: Sequence[str],
    rows: Sequence[dict[str, Any]],
) -> None:
    if context.obj.as_json:
        typer.echo(json.dumps(reply, indent=2))
        return
    from rich.table import Table

    from greenroom.cli.output import console

    table = Table(*titles)
    for row in rows:
        table.add_row(*(str(_field(row, field)) for field in fields))
    console.print(table)


def _field(row: dict[str, Any], field: str) -> Any:
    """A field by its JSON name, which servers write in either of two forms."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in field)
    return row.get(field, row.get(snake, ""))


def _track(track: dict[str, Any]) -> str:
    muted = " (muted)" if track.get("muted") else ""
    return f"{track.get('sid')} {str(track.get('source', track.get('type', ''))).lower()}{muted}"

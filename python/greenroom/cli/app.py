"""The commands and their options. Each imports what it needs when it runs."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from greenroom.cli import room
from greenroom.errors import ConfigError

__all__ = ["app"]

app = typer.Typer(
    help="Realtime audio and video: a room server, a client SDK and agents that speak the LiveKit protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
app.add_typer(room.app, name="room")

Url = Annotated[str, typer.Option(envvar="LIVEKIT_URL", help="Where the server is.")]
Key = Annotated[str, typer.Option(envvar="LIVEKIT_API_KEY", help="API key.")]
Secret = Annotated[str, typer.Option(envvar="LIVEKIT_API_SECRET", help="Its secret.")]


@app.command()
def token(
    identity: Annotated[str, typer.Argument(help="Who will join.")],
    room: Annotated[str, typer.Argument(help="Which room.")],
    name: Annotated[str, typer.Option(help="Name to display.")] = "",
    metadata: Annotated[str, typer.Option(help="Metadata of the participant.")] = "",
    attribute: Annotated[Optional[list[str]], typer.Option(help="name=value; may be repeated.")] = None,  # noqa: UP045
    publish: Annotated[bool, typer.Option(help="May publish tracks.")] = True,
    subscribe: Annotated[bool, typer.Option(help="May receive tracks.")] = True,
    data: Annotated[bool, typer.Option(help="May send data.")] = True,
    admin: Annotated[bool, typer.Option(help="May moderate the room.")] = False,
    hidden: Annotated[bool, typer.Option(help="Joins unseen.")] = False,
    kind: Annotated[str, typer.Option(help="Kind of participant: standard, agent, ingress, egress, sip.")] = "standard",
    hours: Annotated[float, typer.Option(help="How long it is good for.")] = 6.0,
    api_key: Key = "devkey",
    api_secret: Secret = "secret",
) -> None:
    """Print an access token, and nothing else, so that it can be used in a shell's $(...)."""
    from greenroom.cli import tokens
    from greenroom.wire.tokens import Claims, VideoGrants

    grants = VideoGrants(
        room_join=True,
        room=room,
        can_publish=publish,
        can_subscribe=subscribe,
        can_publish_data=data,
        room_admin=admin,
        hidden=hidden,
    )
    claims = Claims(
        identity=identity,
        name=name,
        metadata=metadata,
        attributes=tokens.attributes(attribute or []),
        kind=kind,
        video=grants,
    )
    typer.echo(tokens.sign(claims, api_key, api_secret, hours))


@app.command()
def dev(
    agent: Annotated[Optional[Path], typer.Argument(help="An agent's file to run as well, anew on save.")] = None,  # noqa: UP045
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="HTTP port; 0 takes a free one.")] = 7880,
    room: Annotated[str, typer.Option(help="Room of the token that is printed.")] = "lobby",
    identity: Annotated[str, typer.Option(help="Identity of the token that is printed.")] = "guest",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")] = False,
) -> None:
    """Run a server with a development key, and an agent if its file is given; print a token and a link to join with."""
    from greenroom.cli import output, serving

    if agent is not None and not agent.is_file():
        raise ConfigError(f"there is no file {agent}")
    output.log_to_terminal(logging.DEBUG if verbose else logging.INFO)
    asyncio.run(serving.develop(host, port, room, identity, agent))


_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
File = Annotated[Path, typer.Argument(help="The agent's file.")]


@app.command(context_settings=_PASS_ON)
def start(context: typer.Context, file: File) -> None:
    """Run the worker of an agent's file in production: JSON logs, jobs may finish; takes `start`'s own options."""
    from greenroom.cli import agent

    agent.run(file, ["start", *context.args])


@app.command(context_settings=_PASS_ON)
def connect(context: typer.Context, file: File) -> None:
    """Run one job of an agent's file in one room, given as --room, without waiting to be asked."""
    from greenroom.cli import agent

    agent.run(file, ["connect", *context.args])


@app.command()
def console(
    file: File,
    *,
    heard_from: Annotated[Optional[Path], typer.Option("--input", help="WAV file to say; else the microphone.")] = None,  # noqa: UP045
    said_to: Annotated[Optional[Path], typer.Option("--output", help="WAV file for the answer; else aloud.")] = None,  # noqa: UP045
    linger: Annotated[float, typer.Option(min=0, help="Seconds of silence that end it after the input.")] = 3.0,
    input_device: Annotated[str, typer.Option(help="Microphone: ALSA name or number of the card.")] = "",
    output_device: Annotated[str, typer.Option(help="Loudspeaker: ALSA name or number of the card.")] = "",
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Print microphones and loudspeakers.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Type instead of speaking.")] = False,
    record: Annotated[bool, typer.Option("--record", hidden=True)] = False,
    log_level: Annotated[str, typer.Option(help="What the agent logs, TRACE to CRITICAL.")] = "",
) -> None:
    """Talk to an agent from the terminal; no other server is needed."""
    from greenroom.cli import console, output

    output.log_to_terminal(logging.WARNING)
    if list_devices:
        console.list_devices()
        return
    if record:
        raise ConfigError("--record keeps a voice session of livekit-agents; --output WAV keeps what the agent says")
    if log_level:
        os.environ["LIVEKIT_LOG_LEVEL"] = log_level
    console.talk(file, console.Means(heard_from, said_to, linger, input_device, output_device, text))


@app.command(hidden=True, context_settings=_PASS_ON)
def run(context: typer.Context, file: File) -> None:
    """Run an agent's file as Python would, with the arguments that follow."""
    from greenroom.cli import agent

    agent.run(file, context.args)


@app.command("download-files")
def download_files() -> None:
    """Do nothing: agents here need no model files. For scripts that were written for others."""


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="TOML or YAML file: host, port, keys and other settings.")],
    json_logs: Annotated[bool, typer.Option(help="Log JSON lines instead of text.")] = True,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")] = False,
) -> None:
    """Run a server as a file says."""
    from greenroom.cli import output, serving
    from greenroom.server import load_options

    level = logging.DEBUG if verbose else logging.INFO
    (output.log_to_json if json_logs else output.log_to_terminal)(level)
    asyncio.run(serving.serve(load_options(config)))


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=3, max=600, help="How long the call is recorded.")] = 10.0,
    keep: Annotated[bool, typer.Option(help="Go on until interrupted, for others to join.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the recording goes.")] = Path("demo"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="HTTP port; 0 takes a free one.")] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")] = False,
) -> None:
    """Run a whole call in view: speech and video through a server, changed by a program, recorded and checked."""
    from greenroom.cli import output
    from greenroom.cli.demo import call

    output.log_to_terminal(logging.DEBUG if verbose else logging.WARNING)
    settings = call.Settings(seconds=seconds, keep=keep, folder=folder, host=host, port=port)
    raise typer.Exit(0 if asyncio.run(call.run(settings)) else 1)


@app.command()
def doctor(
    url: Annotated[str, typer.Option(envvar="LIVEKIT_URL", help="A server to look at as well.")] = "",
    api_key: Key = "devkey",
    api_secret: Secret = "secret",
) -> None:
    """Look for what could keep calls from working here, and say what to do about it."""
    from greenroom.cli import doctor

    raise typer.Exit(asyncio.run(doctor.run(url, api_key, api_secret)))


@app.command()
def bench(
    names: Annotated[Optional[list[str]], typer.Argument(help="Which ones; all if none is named.")] = None,  # noqa: UP045
    folder: Annotated[Path, typer.Option(help="Where the measurements are.")] = Path("benches"),
) -> None:
    """Run the measurements of a source tree, one after another, and print what they find."""
    from greenroom.cli import benches

    raise typer.Exit(benches.run(folder, names or []))


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version

    typer.echo(version("greenroom"))

"""Every call that programs for the official framework make is taken: names, parameters, defaults, errors, commands."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest

from greenroom import agents, rtc
from greenroom.agents import AgentServer, AutoDisconnect, AutoSubscribe, JobExecutorType, JobRequest, WorkerOptions
from greenroom.agents import cli as agents_cli
from greenroom.agents.elsewhere import explain
from greenroom.agents.options import OptionFields
from greenroom.errors import ConfigError
from tests.cli.test_commands import greenroom

from . import surface

OFFICIAL: surface.Facts = json.loads(surface.FACTS.read_text())
DOCUMENT = (Path(__file__).parents[2] / "docs/agents.md").read_text()

#: Where a name of the official submodule is in ours, when that is not the same one.
HOMES = {
    "worker": ("worker", "options"),
    "job": ("job", "context", "request", "options", "participants"),
    "utils.aio": ("aio",),
}

#: Differences that are meant, by class or function and member or parameter. docs/agents.md names each of them.
MEANT = {
    "AgentServer.job_executor_type",
    "WorkerOptions.job_executor_type",
    "WorkerOptions.prometheus_port",
    "JobContext.inference_executor",
    "JobContext.inference_headers",
    "JobContext.init_recording",
    "JobContext.make_session_report",
    "JobContext.primary_session",
    "JobContext.tagger",
    "fake_job_context.inference_executor",
}


def ours(module: str, name: str) -> Any:
    for home in HOMES.get(module, (module,)):
        found = getattr(importlib.import_module(f"greenroom.agents.{home}"), name, None)
        if found is not None:
            return found
    return getattr(agents, name)


def differences(where: str, official: surface.Facts, function: Callable[..., Any]) -> Iterator[str]:
    """What calls of the official function ours would not take, or would take otherwise."""
    own = surface.parameters(function)
    if any(each.kind is each.VAR_KEYWORD for each in inspect.signature(function).parameters.values()):
        given = {"positional": False, "default": "NOT_GIVEN"}
        own |= {name: given for name in OptionFields.__annotations__ if name not in own}
    order = [name for name, each in own.items() if each["positional"]]
    for index, (name, each) in enumerate(official.items()):
        if name not in own:
            yield f"{where}.{name}"
        elif each["positional"] and name not in order[: index + 1]:
            yield f"{where}.{name}"
        elif each["default"] not in ("required", own[name]["default"]) and name != "num_idle_processes":
            yield f"{where}.{name}"


def class_differences(name: str, official: surface.Facts, cls: Any) -> Iterator[str]:
    if "constructor" in official:
        yield from differences(name, official["constructor"], cls)
    for method, facts in official["methods"].items():
        function = getattr(cls, method, None)
        if function is None or (facts["async"] and not inspect.iscoroutinefunction(function)):
            yield f"{name}.{method}"
        else:
            yield from differences(f"{name}.{method}", facts["parameters"], function)
    stored = set(getattr(cls, "__dataclass_fields__", ())) | {"log_context_fields"}
    for attribute in official["properties"]:
        if not hasattr(cls, attribute) and attribute not in stored:
            yield f"{name}.{attribute}"


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in surface.CLASSES.items() for name in names]
)
def test_classes_take_every_official_call(module: str, name: str):
    found = set(class_differences(name.replace("Server", "Worker", name == "ServerOptions"),
                                  OFFICIAL["classes"][module][name], ours(module, name)))  # fmt: skip
    assert found - MEANT == set()


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in surface.FUNCTIONS.items() for name in names]
)
def test_functions_take_every_official_call(module: str, name: str):
    assert set(differences(name, OFFICIAL["functions"][module][name], ours(module, name))) - MEANT == set()


def test_differences_that_are_meant_exist_and_are_documented():
    found: set[str] = set()
    for module, names in OFFICIAL["classes"].items():
        for name, facts in names.items():
            found |= set(class_differences(name, facts, ours(module, name)))
    for module, names in OFFICIAL["functions"].items():
        for name, facts in names.items():
            found |= set(differences(name, facts, ours(module, name)))
    assert MEANT - found == set()
    section = DOCUMENT.partition("## Different from the official framework")[2]
    assert {name for name in MEANT if f"`{name.partition('.')[2]}`" not in section} == set()


def test_members_and_values_are_the_official_ones():
    for module, names in OFFICIAL["enums"].items():
        for name, members in names.items():
            assert members.items() <= {each.name: each.value for each in ours(module, name)}.items(), name
    for module, values in OFFICIAL["values"].items():
        for name, expected in values.items():
            own = surface.value(ours(module, name))
            assert own == expected or (name == "EventTypes" and set(expected) <= set(get_args(ours(module, name))))


def test_every_official_name_is_here_or_says_why_not():
    for name in OFFICIAL["names"]:
        if hasattr(agents, name):
            assert explain(name) is None
            continue
        with pytest.raises(ImportError, match=f"has no {name}: .*livekit-agents"):
            exec(f"from greenroom.agents import {name}")
        with pytest.raises(AttributeError, match="livekit-agents"):
            getattr(agents, name)
    with pytest.raises(ImportError, match="cannot import name 'Agnet'"):
        exec("from greenroom.agents import Agnet")


def test_the_facts_are_those_of_the_official_package():
    if version("livekit-agents") != OFFICIAL["version"]:
        pytest.skip("surface.json is about another release of livekit-agents")
    command = [sys.executable, surface.__file__, "--print"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert json.loads(printed) == OFFICIAL


# -- the names of the page's time ------------------------------------------------------------------------------------


def test_the_pages_own_names_are_here():
    accept = surface.parameters(JobRequest.accept)
    assert next(iter(accept)) == "entrypoint" and accept["entrypoint"]["positional"]
    assert {"auto_subscribe", "auto_disconnect", "name", "identity", "metadata"} <= accept.keys()
    assert [each.name for each in AutoDisconnect] == ["ROOM_EMPTY", "PUBLISHER_LEFT", "NONE"]
    assert {each.name for each in AutoSubscribe} >= {"SUBSCRIBE_ALL", "SUBSCRIBE_NONE", "VIDEO_ONLY", "AUDIO_ONLY"}
    assert agents.Worker is AgentServer and agents.ServerOptions is WorkerOptions
    for cls, members in {
        JobRequest: ("answered", "id", "job", "publisher", "room", "reject"),
        agents.JobContext: ("agent", "id", "job", "publisher", "room", "shutdown"),
        AgentServer: ("aclose", "active_jobs", "drain", "emit", "id", "off", "on", "once", "run", "simulate_job"),
    }.items():
        assert [name for name in members if not hasattr(cls, name)] == []
    assert list(surface.parameters(AgentServer.simulate_job))[:2] == ["room", "participant_identity"]


async def test_a_worker_of_the_pages_time_is_told_its_loop():
    worker = agents.Worker(WorkerOptions(request_fnc=lambda req: None), loop=asyncio.new_event_loop())
    with pytest.raises(RuntimeError, match="another event loop"):
        await worker.run(unregistered=True)


# -- what is wrong gets one clear line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"load_treshold": 0.5}, "'load_treshold': did you mean load_threshold=...?"),
        ({"entrypoint": print}, "did you mean entrypoint_fnc=...?"),
        ({"namespace": "default"}, "agent_name=..."),
        ({"zzz": 1}, "there are entrypoint_fnc, request_fnc"),
        ({"log_level": "LOUD"}, "there are CRITICAL, DEBUG, ERROR, INFO, TRACE, WARN"),
    ],
)
def test_a_wrong_option_names_the_nearest_right_one(options: dict[str, Any], says: str):
    for make in (AgentServer, WorkerOptions, AgentServer().update_options):
        with pytest.raises(ConfigError, match=re.escape(says)):
            make(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"job_memory_limit_mb": 100}, "needs job_executor_type=JobExecutorType.PROCESS"),
        ({"multiprocessing_context": "fork"}, "must be 'forkserver'"),
        ({"multiprocessing_context": "spawn", "job_executor_type": JobExecutorType.PROCESS}, "is not offered"),
        ({"max_jobs": 0}, "max_jobs must be at least 1"),
        ({"ws_url": "localhost:7880"}, "must begin with ws://"),
        ({"api_key": ""}, "LIVEKIT_API_KEY"),
        ({"preload_modules": ["no_such_module"]}, "no_such_module cannot be imported"),
    ],
)
async def test_an_option_that_cannot_work_is_refused(options: dict[str, Any], says: str, monkeypatch):
    monkeypatch.delenv("LIVEKIT_API_KEY", raising=False)
    given = {"api_key": "key", "api_secret": "secret", "port": 0, "host": "127.0.0.1", **options}
    with pytest.raises(ConfigError, match=re.escape(says)):
        await AgentServer(entrypoint_fnc=lambda ctx: None, **given).run(unregistered=True)


async def entrypoint(ctx: agents.JobContext) -> None: ...


async def test_calls_at_the_wrong_moment_raise_what_the_official_ones_do():
    server = AgentServer(api_key="key", api_secret="secret", port=0, host="127.0.0.1")
    with pytest.raises(RuntimeError):
        await server.run(unregistered=True)
    assert server.rtc_session(entrypoint, agent_name="one") is entrypoint
    with pytest.raises(RuntimeError):
        server.rtc_session()(entrypoint)
    with pytest.raises(ConfigError, match="simulation_context"):
        AgentServer().rtc_session(entrypoint, on_simulation_end=print)  # type: ignore[call-overload]
    for setter in ("setup_fnc", "load_fnc"):
        with pytest.raises(TypeError):
            setattr(server, setter, 3)
    with pytest.raises(RuntimeError):
        agents.get_job_context()
    assert agents.get_job_context(required=False) is None and agents.current_simulation() is None
    for wait in (agents.wait_for_agent, agents.wait_for_participant, agents.wait_for_track_publication):
        with pytest.raises(RuntimeError):
            await wait(rtc.Room())
    with pytest.raises(ConfigError, match="under @server"):
        AgentServer(entrypoint)  # type: ignore[arg-type]

    started = asyncio.Event()
    server.once("worker_started", started.set)
    running = asyncio.create_task(server.run(unregistered=True))
    await started.wait()
    assert server.worker_info.http_port == server.http_port > 0 and not server.worker_info.cloud_agents
    with pytest.raises(RuntimeError):
        server.update_options(max_retry=3)
    with pytest.raises(RuntimeError):
        await server.run(unregistered=True)
    await server.aclose()
    await running
    assert server.worker_info.http_port == 0


def test_options_can_be_given_by_name_everywhere():
    fields = {name: field.type for name, field in WorkerOptions.__dataclass_fields__.items()}
    assert {name: each.__forward_arg__ for name, each in OptionFields.__annotations__.items()} == fields
    assert fields.keys() < inspect.signature(AgentServer).parameters.keys()


def test_secrets_are_not_printed():
    assert "hush" not in repr(WorkerOptions(api_key="hush", api_secret="hush"))


# -- commands --------------------------------------------------------------------------------------------------------

COMMANDS = {
    "start": "--log-level --url --api-key --api-secret --drain-timeout --simulation --log-format",
    "dev": "--log-level --url --api-key --api-secret --reload --no-reload --watch --no-watch --asyncio-debug",
    "connect": "--log-level --url --api-key --api-secret --room --participant-identity",
    "download-files": "--log-level",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_every_official_option(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        agents_cli.run_app(AgentServer(), [command, "--help"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert [option for option in COMMANDS[command].split() if option not in printed] == []


def test_the_console_has_every_official_option():
    printed = greenroom("console", "--help").stdout
    for option in ("--input-device", "--output-device", "--list-devices", "--text", "--log-level"):
        assert option in printed


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]):
    agents_cli.run_app(AgentServer(), [])
    assert "download-files" in capsys.readouterr().out


def test_download_files_asks_the_plugins(capsys: pytest.CaptureFixture[str]):
    asked = []

    class Voices(agents.Plugin):
        def download_files(self) -> None:
            asked.append(self.title)

    registered = []
    agents.Plugin.emitter.once("plugin_registered", registered.append)
    plugin = Voices("voices", "1", "voices_package")
    agents.Plugin.register_plugin(plugin)
    try:
        agents_cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint), ["download-files"])
    finally:
        agents.Plugin.registered_plugins.remove(plugin)
    assert asked == ["voices"] and registered == [plugin] and "voices_package" in capsys.readouterr().out

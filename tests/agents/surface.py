"""What a framework for agents offers: names, parameters, defaults, members. The same reading for the official and ours.

`python tests/agents/surface.py` writes surface.json anew from the official package that is installed.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any, get_args

FACTS = Path(__file__).parent / "surface.json"

#: By the submodule they are in: classes with their methods, functions, values.
CLASSES = {
    "worker": ("AgentServer", "ServerOptions", "WorkerOptions", "WorkerPermissions", "ServerEnvOption", "WorkerInfo"),
    "job": ("JobContext", "JobRequest", "JobProcess", "JobAcceptArguments", "RunningJobInfo"),
    "plugin": ("Plugin",),
    "simulation": ("SimulationContext", "SimulationVerdict"),
    "utils.aio": ("Chan", "Interval"),
}
FUNCTIONS = {
    "job": ("get_job_context", "get_current_job_context", "current_simulation"),
    "cli": ("run_app",),
    "testing": ("fake_job_context",),
    "utils": (
        "wait_for_agent", "wait_for_participant", "wait_for_track_publication", "is_given", "is_dev_mode", "is_hosted",
        "log_exceptions", "nodename", "resolve_env_int", "resolve_env_var", "shortuuid", "time_ms",
    ),
    "utils.aio": ("cancel_and_wait", "gracefully_cancel", "interval"),
}  # fmt: skip
ENUMS = {"worker": ("ServerType", "WorkerType"), "job": ("JobExecutorType", "AutoSubscribe")}
VALUES = {
    "worker": (
        "ASSIGNMENT_TIMEOUT", "UPDATE_STATUS_INTERVAL", "UPDATE_LOAD_INTERVAL", "HEARTBEAT_INTERVAL",
        "WORKER_PROTOCOL_VERSION", "DRAIN_TIMEOUT", "VALID_LOG_LEVELS", "EventTypes",
    ),
    "job": ("DEFAULT_PARTICIPANT_KINDS",),
    "types": (
        "ATTRIBUTE_AGENT_NAME", "ATTRIBUTE_AGENT_STATE", "ATTRIBUTE_PUBLISH_ON_BEHALF", "ATTRIBUTE_SIMULATOR",
        "ATTRIBUTE_SIMULATOR_DISPATCH", "ATTRIBUTE_TRANSCRIPTION_FINAL", "ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID",
        "ATTRIBUTE_TRANSCRIPTION_TRACK_ID", "TOPIC_CHAT", "TOPIC_TRANSCRIPTION", "NOT_GIVEN",
    ),
}  # fmt: skip
#: Made by the framework, not by programs.
PRIVATE_CONSTRUCTORS = ("JobContext", "JobRequest")

Facts = dict[str, Any]


def value(thing: object) -> object:
    """A value as JSON can say it. Functions are the framework's own defaults, as None is elsewhere."""
    if isinstance(thing, enum.Enum):
        return thing.name
    if type(thing).__name__ == "NotGiven":
        return "NOT_GIVEN"
    if type(thing).__name__ == "ServerEnvOption":
        return [value(thing.dev_default), value(thing.prod_default)]  # type: ignore[attr-defined]
    if isinstance(thing, frozenset | set):
        return sorted(value(each) for each in thing)  # type: ignore[type-var]
    if isinstance(thing, list | tuple):
        return [int(each) for each in thing]
    if get_args(thing):
        return list(get_args(thing))
    if dataclasses.is_dataclass(thing):
        return {name: value(each) for name, each in vars(thing).items()}
    if isinstance(thing, float) and thing == float("inf"):
        return "inf"
    return thing if isinstance(thing, int | float | str | None) else None


def parameters(function: Any) -> Facts:
    """Every parameter: whether it may be passed by position, and its default ("required" without one)."""
    found = {}
    for name, each in inspect.signature(function).parameters.items():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) or name == "self":
            continue
        default = "required" if each.default is each.empty else value(each.default)
        if type(each.default).__name__ in ("_HAS_DEFAULT_FACTORY_CLASS", "WorkerPermissions"):
            default = "made"
        if name == "num_idle_processes":
            default = "of this machine"  # the official one depends on its processors
        found[name] = {"positional": each.kind is not each.KEYWORD_ONLY, "default": default}
    return found


def of_class(cls: Any) -> Facts:
    """Constructor, methods, properties and fields."""
    facts: Facts = {"methods": {}, "properties": []}
    if cls.__name__ not in PRIVATE_CONSTRUCTORS:
        facts["constructor"] = parameters(cls)
    fields = {each.name for each in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    for base in cls.__mro__:
        if base.__module__.split(".")[0] not in ("livekit", "greenroom"):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in fields:
                continue
            if isinstance(member, property) or type(member).__name__ == "cached_property":
                facts["properties"].append(name)
            elif callable(member) or isinstance(member, staticmethod | classmethod):
                function = getattr(cls, name)
                facts["methods"][name] = {
                    "async": inspect.iscoroutinefunction(inspect.unwrap(function)), "parameters": parameters(function)
                }  # fmt: skip
    facts["properties"] = sorted(set(facts["properties"]))
    return facts


def official() -> Facts:
    """The facts of the installed official package."""
    package = importlib.import_module("livekit.agents")

    def of(kind: dict[str, tuple[str, ...]], read: Any) -> Facts:
        modules = {name: importlib.import_module(f"livekit.agents.{name}") for name in kind}
        return {module: {name: read(getattr(modules[module], name)) for name in kind[module]} for module in kind}

    return {
        "version": package.__version__,
        "names": sorted(set(package.__all__)),
        "classes": of(CLASSES, of_class),
        "functions": of(FUNCTIONS, parameters),
        "enums": of(ENUMS, lambda cls: {each.name: each.value for each in cls}),
        "values": of(VALUES, value),
    }


def written(facts: Facts) -> str:
    """JSON, one line for every class, function, enumeration and value."""
    lines = ["{"]
    for section, content in facts.items():
        if not isinstance(content, dict):
            lines.append(f" {json.dumps(section)}: {json.dumps(content)},")
            continue
        lines.append(f" {json.dumps(section)}: {{")
        for module, names in content.items():
            lines.append(f"  {json.dumps(module)}: {{")
            lines += [f"   {json.dumps(name)}: {json.dumps(fact)}," for name, fact in names.items()]
            lines[-1] = lines[-1].removesuffix(",")
            lines.append("  },")
        lines[-1] = lines[-1].removesuffix(",")
        lines.append(" },")
    lines[-1] = lines[-1].removesuffix(",")
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(written(official()))
    else:
        FACTS.write_text(written(official()))

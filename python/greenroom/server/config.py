"""Server options from a file: TOML, or YAML in the form of LiveKit's configuration."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenroom.errors import ConfigError
from greenroom.server.options import Limits, ServerOptions, Webhooks

__all__ = ["load_options", "options_from"]

#: Where LiveKit's configuration says the same in another place: path there -> name here.
_ELSEWHERE = {
    ("bind_addresses",): "host",
    ("prometheus_port",): "metrics_port",
    ("prometheus", "port"): "metrics_port",
    ("rtc", "udp_port"): "udp_port",
    ("rtc", "tcp_port"): "tcp_port",
    ("rtc", "node_ip"): "advertise",
    ("room", "auto_create"): "auto_create",
    ("room", "empty_timeout"): "empty_timeout",
    ("room", "departure_timeout"): "departure_timeout",
    ("room", "max_participants"): "max_participants",
    ("room", "enable_remote_unmute"): "remote_unmute",
    ("limit", "signal_message_size_limit"): "signal_size",
    ("limit", "max_api_request_body_size"): "request_size",
    ("agents", "reoffer_jobs"): "reoffer_jobs",
    ("webhook",): "webhooks",
}


def load_options(path: str | Path) -> ServerOptions:
    """Read a configuration file.

    Args:
        path: a `.toml`, `.yaml` or `.yml` file. Names are those of `ServerOptions`; those of LiveKit's own
            configuration for the same things (`rtc.udp_port`, `room.empty_timeout`, ...) are understood too.

    Raises:
        ConfigError: the file cannot be read, or a name or value in it is not known.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    values = _parse_toml(path, text) if path.suffix == ".toml" else _parse_yaml(path, text)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold names and values")
    try:
        return options_from(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def options_from(values: Mapping[str, Any]) -> ServerOptions:
    """Options from nested names and values.

    Args:
        values: as a configuration file holds them.

    Raises:
        ConfigError: a name or value is not known.
    """
    known = {each.name: each for each in dataclasses.fields(ServerOptions)}
    found: dict[str, Any] = {}
    for path, value in _flatten(values):
        name = _ELSEWHERE.get(path, path[0] if len(path) == 1 else "")
        if name not in known:
            raise ConfigError(f"unknown setting {'.'.join(path)}; known are {', '.join(sorted(known))}")
        found[name] = _convert(name, value)
    try:
        return ServerOptions(**found)
    except TypeError as error:
        raise ConfigError(str(error)) from error


def _flatten(values: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    groups = {path[0] for path in _ELSEWHERE if len(path) > 1}
    flat: list[tuple[tuple[str, ...], Any]] = []
    for name, value in values.items():
        if name in groups and isinstance(value, dict):
            flat += [((name, inner), each) for inner, each in value.items()]
        else:
            flat.append(((name,), value))
    return flat


def _convert(name: str, value: Any) -> Any:
    default = getattr(ServerOptions(), name) if name != "keys" else {}
    if name == "host" and isinstance(value, list):
        if len(value) != 1:
            raise ConfigError("host must be one address (0.0.0.0 or :: for all)")
        value = value[0]
    if name == "advertise" and isinstance(value, str):
        value = [value]
    if name == "metrics_port" and value is None:
        return None
    if name == "limits":
        return _group(Limits, value, name)
    if name == "webhooks":
        return _group(Webhooks, value, name)
    wanted: Any = int if name == "metrics_port" else type(default)
    if wanted is float:
        wanted = int | float
    elif wanted is tuple:
        wanted = list
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"{name} must be {getattr(wanted, '__name__', 'a number')}, not {value!r}")
    return value


def _group(kind: type[Any], value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must hold names and values")
    known = {each.name for each in dataclasses.fields(kind)}
    if unknown := set(value) - known:
        raise ConfigError(f"unknown setting {name}.{min(unknown)}; known are {', '.join(sorted(known))}")
    return kind(**value)


def _parse_toml(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _parse_yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(f"to read {path}, install pyyaml, or write the same as TOML") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error

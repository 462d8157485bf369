"""The `livekit` import names over greenroom, for programs that are to run without a change.

    import greenroom.compat
    greenroom.compat.install()

    from livekit import agents, rtc    # greenroom's

or, without touching the program: `python -m greenroom.compat program.py arguments...`. The rest of the `livekit`
namespace, such as `livekit.protocol` and `livekit.api`, stays what it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from greenroom.agents.elsewhere import explain, refusal
from greenroom.agents.loading import preparations
from greenroom.errors import StateError

__all__ = ["install"]

_PACKAGES = ("rtc", "agents")
_INSTALL = "greenroom.compat:install"
#: Submodules of `livekit.rtc` that programs import from, and where their names live here. What a module here does not
#: have is looked up in `greenroom.rtc`.
_RTC_MODULES = {
    "apm": "greenroom.media.audio_processing",
    "audio_filter": "greenroom.media.audio_filter",
    "audio_frame": "greenroom.media.audio",
    "audio_mixer": "greenroom.media.audio_mixer",
    "audio_resampler": "greenroom.media.audio_resampler",
    "audio_source": "greenroom.rtc.audio_source",
    "audio_stream": "greenroom.rtc.audio_stream",
    "data_stream": "greenroom.rtc.data_stream",
    "data_track": "greenroom.rtc.data_track",
    "e2ee": "greenroom.rtc.e2ee",
    "event_emitter": "greenroom.rtc.events",
    "frame_processor": "greenroom.media.frame_processor",
    "participant": "greenroom.rtc.participant",
    "room": "greenroom.rtc.room",
    "rpc": "greenroom.rtc.rpc",
    "stats": "greenroom.rtc.stats",
    "synchronizer": "greenroom.rtc.synchronizer",
    "track": "greenroom.rtc.track",
    "track_publication": "greenroom.rtc.track_publication",
    "transcription": "greenroom.rtc.transcription",
    "utils": "greenroom.media.audio",
    "version": "greenroom",
    "video_frame": "greenroom.media.video",
    "video_source": "greenroom.rtc.video_source",
    "video_stream": "greenroom.rtc.video_stream",
}
#: The same for `livekit.agents`; where a name is in several places here, all are looked through.
_AGENTS_MODULES = {
    "_exceptions": "greenroom.errors",
    "cli": "greenroom.agents.cli",
    "cli.cli": "greenroom.agents.cli",
    "job": "greenroom.agents.job",
    "job_context": "greenroom.agents.context",
    "job_request": "greenroom.agents.request",
    "log": "greenroom.agents.logs",
    "plugin": "greenroom.agents.plugin",
    "simulation": "greenroom.agents.simulation",
    "testing": "greenroom.agents.testing",
    "types": "greenroom.agents.types",
    "utils": "greenroom.agents.utils",
    "utils.participant": "greenroom.agents.participants",
    "version": "greenroom.agents",
    "worker": "greenroom.agents.worker",
}
_MODULES: Mapping[str, Mapping[str, str]] = {"rtc": _RTC_MODULES, "agents": _AGENTS_MODULES}


class _Alias(ModuleType):
    """A module that finds its names in others."""

    def __init__(self, name: str, *sources: str) -> None:
        super().__init__(name, f"{sources[0]} under the name {name}.")
        self.__path__: list[str] = []
        self._sources = sources

    def __getattr__(self, name: str) -> object:
        if name == "__version__" or not name.startswith("__"):
            for source in self._sources:
                module = importlib.import_module(source)
                if hasattr(module, name):
                    return getattr(module, name)
        if self.__name__.startswith("livekit.agents"):
            raise refusal(self.__name__, name, sys._getframe(1))
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Refusals(MetaPathFinder):
    """Says why modules of `livekit.agents` are not here, where "no module named" would leave that open."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Find nothing.

        Raises:
            ModuleNotFoundError: the module is one of the official framework's.
        """
        package, _, name = fullname.rpartition(".")
        why = explain(name) if package == "livekit.agents" else None
        if why is not None:
            raise ModuleNotFoundError(f"there is no {fullname}: {why}", name=fullname)


def install() -> None:
    """From now on `livekit.rtc` and `livekit.agents` are greenroom's. Idempotent.

    Raises:
        StateError: the official packages were imported before: their objects and ours cannot be mixed.
    """
    for package in _PACKAGES:
        imported = sys.modules.get(f"livekit.{package}")
        if imported is not None and not isinstance(imported, _Alias):
            raise StateError(f"livekit.{package} is imported already; call greenroom.compat.install() before it is")
    namespace = sys.modules.get("livekit")
    if namespace is None:
        found = importlib.util.find_spec("livekit") is not None
        namespace = importlib.import_module("livekit") if found else ModuleType("livekit")
        sys.modules["livekit"] = namespace
    for package in _PACKAGES:
        if f"livekit.{package}" not in sys.modules:
            sys.modules[f"livekit.{package}"] = _package(package)
        setattr(namespace, package, sys.modules[f"livekit.{package}"])
    if _INSTALL not in preparations:
        preparations.append(_INSTALL)
    if not any(isinstance(finder, _Refusals) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Refusals())


def _package(name: str) -> _Alias:
    package = _Alias(f"livekit.{name}", f"greenroom.{name}")
    package.__dict__["__all__"] = list(getattr(importlib.import_module(f"greenroom.{name}"), "__all__", ()))
    for module, source in _MODULES[name].items():
        alias = _Alias(f"livekit.{name}.{module}", source, f"greenroom.{name}")
        sys.modules[alias.__name__] = alias
        # `rtc.stats` and the like are modules for those who import them, too.
        parent, _, last = module.rpartition(".")
        (package if not parent else sys.modules[f"livekit.{name}.{parent}"]).__dict__[last] = alias
    return package

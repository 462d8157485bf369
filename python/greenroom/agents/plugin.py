"""Plugins of the official framework's kind: parts of a program that may have files to download before it runs."""

from __future__ import annotations

import logging
import threading
from typing import ClassVar, Literal

from greenroom.errors import StateError
from greenroom.rtc.events import EventEmitter

__all__ = ["Plugin"]


class Plugin:
    """Something with files to download: `python agent.py download-files` asks every registered plugin to.

    Args:
        title: its name for people.
        version: its version.
        package: the package it is in.
        logger: what it logs to.
    """

    registered_plugins: ClassVar[list[Plugin]] = []
    emitter: ClassVar[EventEmitter[Literal["plugin_registered"]]] = EventEmitter()

    def __init__(self, title: str, version: str, package: str, logger: logging.Logger | None = None) -> None:
        self._title = title
        self._version = version
        self._package = package
        self._logger = logger

    @classmethod
    def register_plugin(cls, plugin: Plugin) -> None:
        """Make a plugin known.

        Raises:
            StateError: this is not the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise StateError("plugins are registered on the main thread, when their package is imported")
        cls.registered_plugins.append(plugin)
        cls.emitter.emit("plugin_registered", plugin)

    def download_files(self) -> None:
        """Fetch what the plugin needs; by default nothing."""

    @property
    def package(self) -> str:
        """The package it is in."""
        return self._package

    @property
    def title(self) -> str:
        """Its name for people."""
        return self._title

    @property
    def version(self) -> str:
        """Its version."""
        return self._version

    @property
    def logger(self) -> logging.Logger | None:
        """What it logs to."""
        return self._logger

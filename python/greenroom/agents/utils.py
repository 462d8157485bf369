"""Small helpers that agents' programs use, under the names of the official framework's `utils`."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import platform
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from greenroom.agents import aio
from greenroom.agents.options import NotGiven, NotGivenOr
from greenroom.agents.participants import wait_for_agent, wait_for_participant, wait_for_track_publication
from greenroom.rtc import EventEmitter, combine_audio_frames

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = [
    "EventEmitter",
    "aio",
    "combine_frames",
    "is_dev_mode",
    "is_given",
    "is_hosted",
    "log_exceptions",
    "merge_frames",
    "nodename",
    "resolve_env_int",
    "resolve_env_var",
    "shortuuid",
    "time_ms",
    "wait_for_agent",
    "wait_for_participant",
    "wait_for_track_publication",
]

log = logging.getLogger("greenroom.agents")

_T = TypeVar("_T")
_Function = TypeVar("_Function", bound=Callable[..., Any])

combine_frames = combine_audio_frames
merge_frames = combine_audio_frames


def is_given(obj: NotGivenOr[_T]) -> TypeIs[_T]:
    """Whether something else than `NOT_GIVEN` was passed."""
    return not isinstance(obj, NotGiven)


def is_dev_mode() -> bool:
    """Whether `dev` or `console` runs this program (LIVEKIT_DEV_MODE)."""
    return os.environ.get("LIVEKIT_DEV_MODE") == "1"


def is_hosted() -> bool:
    """Whether LiveKit Cloud runs this program (LIVEKIT_REMOTE_EOT_URL)."""
    return "LIVEKIT_REMOTE_EOT_URL" in os.environ


def nodename() -> str:
    """This machine's name."""
    return platform.node()


def shortuuid(prefix: str = "") -> str:
    """A name that nobody else has: the prefix and 12 random digits of base 16."""
    return prefix + secrets.token_hex(6)


def time_ms() -> int:
    """Unix time in milliseconds."""
    return round(time.time() * 1000)


def resolve_env_var(val: NotGivenOr[str], *env_vars: str, default: str = "") -> str:
    """`val`, else the first of these variables of the environment that is not empty, else the default."""
    if not isinstance(val, NotGiven):
        return val
    return next((value for name in env_vars if (value := os.environ.get(name))), default)


def resolve_env_int(name: str, default: int = 0) -> int:
    """A variable of the environment as a number; the default when it is empty or, with a warning, when it is none."""
    value = os.environ.get(name, "").strip()
    try:
        return int(value) if value else default
    except ValueError:
        log.warning("%s=%r is no whole number: %d counts", name, value, default)
        return default


def log_exceptions(msg: str = "", logger: logging.Logger = log) -> Callable[[_Function], _Function]:
    """Decorate a function, sync or async, so that what it raises is logged before it goes on.

    Args:
        msg: what is logged before the traceback.
        logger: where.
    """

    def decorate(function: _Function) -> _Function:
        text = msg or f"{function.__qualname__} failed"
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def logged(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await function(*args, **kwargs)
                except Exception:
                    logger.exception(text)
                    raise

        else:

            @functools.wraps(function)
            def logged(*args: Any, **kwargs: Any) -> Any:
                try:
                    return function(*args, **kwargs)
                except Exception:
                    logger.exception(text)
                    raise

        return cast(_Function, logged)

    return decorate

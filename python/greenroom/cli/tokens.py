"""Making tokens on the command line."""

from __future__ import annotations

import time
from collections.abc import Sequence

from greenroom.errors import ConfigError
from greenroom.wire.tokens import Claims, encode_token

__all__ = ["attributes", "sign"]

#: Ten years.
_MOST_HOURS = 87_600


def attributes(pairs: Sequence[str]) -> dict[str, str]:
    """`["a=1", "b=2"]` as a mapping.

    Raises:
        ConfigError: one of them has no "=".
    """
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (name and separator):
            raise ConfigError(f"--attribute {pair!r} is not of the form name=value")
        found[name] = value
    return found


def sign(claims: Claims, key: str, secret: str, hours: float) -> str:
    """The claims as a token that is good for so many hours from now."""
    if not 0 < hours <= _MOST_HOURS:
        raise ConfigError(f"--hours {hours:g}: a token must be good for longer than 0 and at most {_MOST_HOURS} hours")
    return encode_token(claims, key, secret, now=time.time(), lifetime=hours * 3600)

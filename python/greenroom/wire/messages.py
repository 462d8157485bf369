"""The LiveKit protobuf messages, loaded when the first one is used.

Treat a message as a value: whoever built it may fill it; once handed on, nobody changes it. Unknown fields
survive a decode and encode, so relayed messages keep what newer clients put into them.

Loading them takes as long as the rest of the client. So what is imported with a package names messages only in
annotations and inside functions, and what is loaded to connect or to serve does so where it likes.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom.wire._generated import *  # noqa: F403 - this module is that one, later
else:

    def __getattr__(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        from greenroom.wire import _generated

        globals().update({each: value for each, value in vars(_generated).items() if not each.startswith("_")})
        return getattr(_generated, name)

"""The server's HTTP services beyond rooms, as their descriptions name them: methods, and the messages they take."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from google.protobuf.message_factory import GetMessageClass

from greenroom.wire import messages as m

__all__ = ["Method", "methods"]


@dataclass(frozen=True, slots=True)
class Method:
    """One method: `name` as in "SIP/CreateSIPParticipant", and the classes of what it takes and gives."""

    name: str
    request: type[m.Message]
    answer: type[m.Message]


def methods(service: str) -> dict[str, Method]:
    """The methods of "SIP", "Egress" or "Ingress" by their names in lower case, such as "createsipparticipant"."""
    description = importlib.import_module(f"livekit.protocol.{service.lower()}").DESCRIPTOR.services_by_name[service]
    return {
        each.name.lower(): Method(
            f"{service}/{each.name}", GetMessageClass(each.input_type), GetMessageClass(each.output_type)
        )
        for each in description.methods
    }

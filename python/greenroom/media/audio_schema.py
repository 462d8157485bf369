"""How pydantic models hold audio frames. Imported only by pydantic's own request, so that it may be absent."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pydantic_core import core_schema

from greenroom.media.audio import AudioFrame

_NUMBERS = ("sample_rate", "num_channels", "samples_per_channel")


def audio_frame_schema() -> core_schema.CoreSchema:
    """Accepts a frame, or its fields with the samples in base64; serialises to those fields."""
    fields: dict[str, core_schema.ModelField] = {"data": core_schema.model_field(core_schema.str_schema())}
    fields |= {name: core_schema.model_field(core_schema.int_schema()) for name in _NUMBERS}
    validate = core_schema.no_info_plain_validator_function(_validate)
    return core_schema.json_or_python_schema(
        json_schema=core_schema.chain_schema([core_schema.model_fields_schema(fields), validate]),
        python_schema=validate,
        serialization=core_schema.plain_serializer_function_ser_schema(_serialize),
    )


def _validate(value: Any) -> AudioFrame:
    if isinstance(value, AudioFrame):
        return value
    if isinstance(value, tuple):
        # What a schema of model fields hands on: the fields, then what else it found.
        value = value[0]
    if not isinstance(value, dict):
        raise ValueError(f"expected an AudioFrame or its fields, got {type(value).__name__}")
    try:
        data = base64.b64decode(value["data"], validate=True)
        return AudioFrame(data, *(value[name] for name in _NUMBERS))
    except KeyError as error:
        raise ValueError(f"field {error} is missing") from None
    except binascii.Error as error:
        raise ValueError(f"data is not base64: {error}") from None


def _serialize(frame: AudioFrame) -> dict[str, Any]:
    numbers = {name: getattr(frame, name) for name in _NUMBERS}
    return {"data": base64.b64encode(frame.data).decode("ascii"), **numbers}

"""How pydantic models hold video frames. Imported only by pydantic's own request, so that it may be absent."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pydantic_core import core_schema

from greenroom.media.video import VideoFrame
from greenroom.media.video_types import VideoBufferType


def video_frame_schema() -> core_schema.CoreSchema:
    """Accepts a frame, or its fields with the type's name and the pixels in base64; serialises to those fields."""
    number, text = core_schema.model_field(core_schema.int_schema()), core_schema.model_field(core_schema.str_schema())
    fields = {"width": number, "height": number, "type": text, "data": text}
    validate = core_schema.no_info_plain_validator_function(_validate)
    return core_schema.json_or_python_schema(
        json_schema=core_schema.chain_schema([core_schema.model_fields_schema(fields), validate]),
        python_schema=validate,
        serialization=core_schema.plain_serializer_function_ser_schema(_serialize),
    )


def _validate(value: Any) -> VideoFrame:
    if isinstance(value, VideoFrame):
        return value
    if isinstance(value, tuple):
        # What a schema of model fields hands on: the fields, then what else it found.
        value = value[0]
    if not isinstance(value, dict):
        raise ValueError(f"expected a VideoFrame or its fields, got {type(value).__name__}")
    try:
        data = base64.b64decode(value["data"], validate=True)
        return VideoFrame(value["width"], value["height"], VideoBufferType.Value(value["type"]), data)
    except KeyError as error:
        raise ValueError(f"field {error} is missing") from None
    except binascii.Error as error:
        raise ValueError(f"data is not base64: {error}") from None


def _serialize(frame: VideoFrame) -> dict[str, Any]:
    data = base64.b64encode(frame.data).decode("ascii")
    return {"width": frame.width, "height": frame.height, "type": frame.type.name, "data": data}

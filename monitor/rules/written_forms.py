"""How values may be written in the file, for pydantic and for the JSON Schema."""

import re
from datetime import time
from typing import Annotated, Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from monitor.rules.durations import MAX_LENGTH, PATTERN

VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_CLOCK = r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?"


def clock_time(value: object) -> object:
    """`22:00` as a time; pydantic would take a number for seconds, and a zone. Raises ValueError."""
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not re.fullmatch(_CLOCK, value):
        raise ValueError("is no time of day such as 22:00 or 07:30")
    return time.fromisoformat(value.rjust(5, "0") if value.count(":") == 1 else value.rjust(8, "0"))


def no_truth(value: object) -> object:
    """A number; pydantic would take true for 1. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("is no number")  # noqa: TRY004 (pydantic's way)
    return value


class _OneOrSeveral:
    """A list, or without brackets its only value."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_as_tuple, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, (str, int)) and not isinstance(value, bool) else value


class DurationForm:
    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": ["string", "integer"],
            "pattern": f"^({PATTERN}|{VARIABLE})$",
            "maxLength": MAX_LENGTH,
            "maximum": 0,
            "minimum": 0,
        }


class ClockTimeForm:
    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^({_CLOCK}|{VARIABLE})$"}


T = TypeVar("T")
Several = Annotated[tuple[T, ...], _OneOrSeveral()]
"""`[a, b]`, or `a` for `[a]`."""

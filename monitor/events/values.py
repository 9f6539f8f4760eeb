"""The kinds of values that events hold, each bounded by what every database can keep: one that is let in here
never stops a transaction later.
"""

import re
from contextlib import suppress
from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

MAX_ID = 200  # ids are digests and UUIDs behind a short prefix
MAX_NAME = 2000  # subjects: three names
MAX_KEY = 250  # characters, as Airflow's own columns
MAX_URI = 1500  # characters, as Airflow's own column
MAX_TI_ID = 36  # a UUID
MAX_WORD = 50  # characters of a run type
MAX_MESSAGE = 4_000  # characters of an error's message, as the plugin sends; pages show no more
MAX_TRACE = 16_000  # characters of a traceback, the last ones: they name the error; the plugin sends no more
SHOWN_VALUE = 80  # characters of a wrong value that its message repeats
YEARS = range(1900, 9999)  # what every database and zone conversion can carry


def _need_zone(value: Any) -> Any:
    """Refuse a time without a zone: guessing one would change the event's identity."""
    if isinstance(value, str) and value.endswith("Z"):
        return value  # most are: events have half a dozen moments
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value  # the board's own
    if not isinstance(value, str):
        raise ValueError("is not a text such as 2026-11-22T10:00:00.000000Z")  # noqa: TRY004 (pydantic's way)
    if not re.search(r"(Z|[+-]\d\d:?\d\d)$", value):
        raise ValueError("has no time zone; write UTC with a Z")
    return value


def _storable(value: datetime) -> datetime:
    """Return the moment in UTC, whose year counts: that is what is stored and read again."""
    with suppress(OverflowError):  # before the calendar's beginning, or after its end
        moment = value.astimezone(timezone.utc)
        if moment.year in YEARS:
            return moment
    raise ValueError(f"is not within the years {YEARS.start} to {YEARS.stop - 1}")


def is_storable(text: str) -> bool:
    """Return True if every database takes it: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and text.encode("utf-8", "replace").decode() == text


def storable(text: str) -> str:
    """What people named, as every database takes it."""
    return _without_nul(text.encode("utf-8", "replace").decode())


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _without_nul(value: str) -> str:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


Moment = Annotated[datetime, BeforeValidator(_need_zone), AfterValidator(_storable)]
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
MOMENT: TypeAdapter[datetime | None] = TypeAdapter(Moment | None)
"""Reads what should be a moment, or null. Raises ValidationError, which is a ValueError."""


def moment_from(value: object) -> datetime:
    """A moment that somebody else wrote, in UTC. Raises ValueError where it is none, names no time zone, or
    is not within YEARS: arithmetic with what is let in here stays within the calendar."""
    try:
        return _MOMENT.validate_python(value)
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{str(value)[:SHOWN_VALUE]!r} is no moment: {why}") from None


_NoNul = AfterValidator(_no_nul)
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID), _NoNul]
TiId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TI_ID), _NoNul]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), _NoNul]
Key = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY), _NoNul]
"""What names a DAG, a run or a task."""
Uri = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URI), _NoNul]
Text = Annotated[str, AfterValidator(_without_nul)]
"""Text for people; PostgreSQL keeps no NUL, and an error's text is worth more than its NUL."""
MAX_COUNT = 2**31 - 1
Count = Annotated[int, Field(ge=-1, le=MAX_COUNT)]
"""What an INTEGER column holds; -1 is Airflow's "not mapped"."""
Word = Annotated[Text, StringConstraints(max_length=MAX_WORD)]

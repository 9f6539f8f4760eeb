"""A story whose every text is one line that shows what it holds: no template has to think of it."""

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from monitor.plain_text import line

T = TypeVar("T")


def cleaned(value: T) -> T:
    """The same record, its texts and those of the records in it made safe to show."""
    if isinstance(value, str):
        return cast(T, line(value))
    if isinstance(value, tuple):
        return cast(T, tuple(cleaned(one) for one in value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: cleaned(getattr(value, each.name)) for each in fields(value)})
    return value

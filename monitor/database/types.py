"""The column types of moments, which are in UTC on every database, and of sets of names."""

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import DateTime, Dialect, Text, TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on every database; SQLite's own type forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        return _sqlite_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _to_utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return (
            moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
        )


class Names(TypeDecorator[frozenset[str]]):
    """A set of names as one text, so that two sets can be compared for equality on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: frozenset[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(sorted(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> frozenset[str] | None:
        return None if value is None else frozenset(json.loads(value))


def _to_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment.astimezone(timezone.utc)


_WITHOUT_ZONE = len("2026-11-22 10:00:00.000000")


def _sqlite_text(moment: datetime | None) -> str | None:
    """As SQLAlchemy's own type writes it, in half the time: an event has half a dozen moments."""
    if moment is None:
        return None
    if moment.tzinfo is not timezone.utc:
        moment = _to_utc(moment)
    return moment.isoformat(" ", "microseconds")[:_WITHOUT_ZONE]

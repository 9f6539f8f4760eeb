"""The column types of moments, which are in UTC on every database, of sets of names and of JSON.

`read_each` reads stored rows and leaves out those that cannot be read, because a person, a restored backup or
another release may have written them. Such a row is logged and counted, and the others are read.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, TypeVar

from sqlalchemy import JSON, DateTime, Dialect, Text, TypeDecorator, text

from monitor.errors import EventError
from monitor.observability.metrics import UNREADABLE_ROWS

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, EventError)
"""The errors that reading a row raises if it holds something else than it should."""
MAX_LOGGED = 1_000  # rows whose names are remembered, so that each is logged once and not at every look
SHOWN_ERROR = 200  # characters

Row = TypeVar("Row")
Read = TypeVar("Read")

logger = logging.getLogger(__name__)
_logged: set[tuple[str, Any]] = set()


def read_each(table: str, rows: Iterable[Row], read: Callable[[Row], Read]) -> Iterator[Read]:
    """Yield the result of `read` for each row.
    A row at which `read` fails is left out, logged and counted."""
    for row in rows:
        try:
            found = read(row)
        except UNREADABLE as error:
            note_unreadable(table, row, error)
        else:
            yield found


def note_unreadable(table: str, row: Any, error: Exception) -> None:
    """Count a row that cannot be read, and log it the first time."""
    UNREADABLE_ROWS.labels(table).inc()
    name = (table, _number_of(row))
    if name in _logged:
        return
    if len(_logged) >= MAX_LOGGED:
        _logged.clear()
    _logged.add(name)
    why = f"{type(error).__name__}: {error}"[:SHOWN_ERROR]
    logger.error("a row of %s (%s) cannot be read, and is left out: %s", *name, why)


def _number_of(row: Any) -> Any:
    """Return the row's number, by which a person finds the row."""
    for name in ("seq", "id"):
        if (number := getattr(row, name, None)) is not None:
            return number
        if hasattr(row, "keys") and name in row.keys():  # noqa: SIM118 (of a RowMapping, too)
            return row[name]
    return "?"


PathEnd = Text().with_variant(Text(collation="C"), "postgresql")
"""The end of a path, backwards: looked up by ranges of its characters, whose order no language changes."""


class StoredJson(TypeDecorator[Any]):
    """A JSON column that gives `()` for a text that is no JSON.
    A reader that needs more than nothing cannot read the row.

    The value is never None, which has a meaning in some columns (of a token: every DAG), nor an empty
    object."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return the function that decodes a stored value."""
        read = super().result_processor(dialect, coltype)
        if read is None:
            return None

        def convert(value: Any) -> Any:
            try:
                return read(value)
            except ValueError as error:
                note_unreadable("a JSON column", None, error)
                return ()

        return convert


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on every database. SQLite's own type forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Return the function that encodes a moment for the driver."""
        return _sqlite_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a moment to UTC for the database."""
        return None if value is None else _to_utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return a stored moment in UTC."""
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
        """Return the names as a JSON array in order."""
        return None if value is None else json.dumps(sorted(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> frozenset[str] | None:
        """Return the stored names, or none if the text cannot be read."""
        if value is None:
            return None
        try:
            return frozenset(json.loads(value))
        except (ValueError, TypeError) as error:
            note_unreadable("a column of names", None, error)
            return frozenset()


def _to_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment.astimezone(timezone.utc)


_WITHOUT_ZONE = len("2026-11-22 10:00:00.000000")


def _sqlite_text(moment: datetime | None) -> str | None:
    """Return the moment as SQLAlchemy's own type writes it, in half the time.
    An event has half a dozen moments."""
    if moment is None:
        return None
    if moment.tzinfo is not timezone.utc:
        moment = _to_utc(moment)
    return moment.isoformat(" ", "microseconds")[:_WITHOUT_ZONE]


def where(sqlite: str, postgresql: str | None = None) -> dict[str, Any]:
    """Return the options of an index that holds a part of the rows. It is as small as they are."""
    return {"sqlite_where": text(sqlite), "postgresql_where": text(postgresql or sqlite)}

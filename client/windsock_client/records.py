"""The records of a feed: events and resets, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from windsock_client.errors import FeedError

SHOWN = 200  # characters of what cannot be read that a message repeats
MAX_CURSOR = 200  # characters: the monitor's have about 30, and a header of 8 KiB is refused


@dataclass(frozen=True, slots=True)
class Event:
    """A state change (docs/events.md)."""

    cursor: str
    """The event's place in the log. Store it once the event is dealt with, and hand it in as `after`."""
    id: str
    """The CloudEvent's id. It is the same whoever reported the change, and whenever it is read."""
    type: str
    """The type, such as `airflow.dag_run.failed`."""
    source: str
    """`/airflow/<deployment>`."""
    subject: str
    time: datetime
    """The moment of the state change, in UTC."""
    data: Mapping[str, Any]
    raw: Mapping[str, Any] = field(repr=False)
    """The whole CloudEvent, as it was received."""

    @property
    def deployment(self) -> str:
        """The Airflow deployment that the event comes from."""
        return self.source.removeprefix("/airflow/")


@dataclass(frozen=True, slots=True)
class Reset:
    """A gap: the log does not reach back to the reader's cursor, so events may have been missed.
    The feed goes on with the oldest event that is kept."""

    cursor: str
    """The cursor at which the feed goes on."""
    reason: str


Item = Event | Reset


def event(cursor: str, record: Any) -> Event:
    """Return the event of a decoded CloudEvent. Raises FeedError."""
    try:
        texts = {name: _of_type(str, record[name]) for name in ("id", "type", "source", "subject")}
        moment = datetime.fromisoformat(record["time"].replace("Z", "+00:00"))  # no Z before Python 3.11
        moment.astimezone(timezone.utc)  # raises for a moment in no year that UTC has
        return Event(cursor=cursor, time=moment, data=_of_type(dict, record["data"]), raw=record, **texts)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise unreadable(cursor, record, error) from error


def reset(cursor: str, record: Any) -> Reset:
    """Return the Reset of a reset's decoded data. Raises FeedError."""
    try:
        return Reset(cursor, str(record["reason"]))
    except (KeyError, TypeError) as error:
        raise unreadable(cursor, record, error) from error


def checked_cursor(value: object) -> str:
    """Return the cursor if a header can carry it back. Raises FeedError if not."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= MAX_CURSOR:
        return value
    raise FeedError(f"{value!r:.{SHOWN}} is no cursor: is this the monitor's address?")


T = TypeVar("T")


def _of_type(kind: type[T], value: object) -> T:
    """Return the value if it is of this type. Raises TypeError if not."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.{SHOWN}} is no {kind.__name__}")
    return value


def unreadable(cursor: str, value: object, error: Exception) -> FeedError:
    """Return the error for what the monitor sent at this cursor and no client can read."""
    text = f"{value!r:.{SHOWN}}"
    return FeedError(f"what is told at {cursor} is no event ({type(error).__name__}: {error}): {text}")

"""What the feed tells, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from windsock.client.errors import FeedError

SHOWN = 200  # characters of what cannot be read that a message repeats


@dataclass(frozen=True, slots=True)
class Event:
    """One state change (docs/events.md)."""

    cursor: str
    """Its place in the log: what to store once the event is dealt with, and to hand in as `after`."""
    id: str
    """The CloudEvent's id: the same whoever reported the change, and whenever it is read."""
    type: str
    """Such as `airflow.dag_run.failed`."""
    source: str
    """`/airflow/<deployment>`."""
    subject: str
    time: datetime
    """When the state changed, UTC."""
    data: Mapping[str, Any]
    raw: Mapping[str, Any] = field(repr=False)
    """The whole CloudEvent, as it was told."""

    @property
    def deployment(self) -> str:
        return self.source.removeprefix("/airflow/")


@dataclass(frozen=True, slots=True)
class Reset:
    """The log does not reach back to the reader's cursor: events may have been missed. The feed goes on with
    the oldest event that is kept."""

    cursor: str
    """From where it goes on."""
    reason: str


Item = Event | Reset


def event(cursor: str, told: Any) -> Event:
    """From a decoded CloudEvent. Raises FeedError."""
    try:
        return Event(
            cursor=cursor,
            id=told["id"],
            type=told["type"],
            source=told["source"],
            subject=told["subject"],
            time=datetime.fromisoformat(told["time"].replace("Z", "+00:00")),  # no Z before Python 3.11
            data=told["data"],
            raw=told,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(cursor, told, error) from error


def reset(cursor: str, told: Any) -> Reset:
    """From a reset's decoded data. Raises FeedError."""
    try:
        return Reset(cursor, str(told["reason"]))
    except (KeyError, TypeError) as error:
        raise unreadable(cursor, told, error) from error


def unreadable(cursor: str, told: object, error: Exception) -> FeedError:
    shown = f"{told!r:.{SHOWN}}"
    return FeedError(f"what is told at {cursor} is no event ({type(error).__name__}: {error}): {shown}")

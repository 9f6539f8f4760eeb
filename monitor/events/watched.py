"""What the events of the monitor's own watches share. Each has the natural key of what it is about for its id
(docs/events.md), so that a restart, or a second monitor, tells nothing twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from monitor.events.durations import spoken
from monitor.events.identity import stamp
from monitor.events.model import Event, parse_event

RECOVERED = ":recovered"
"""Behind the id of what is over."""


@dataclass(frozen=True)
class Told:
    """What every one of these events is told with."""

    deployment: str
    now: datetime
    watch: str | None
    """The watch's name."""


@dataclass(frozen=True)
class Bound:
    """How long is too long, and what it was taken from: a history's median and spread, or nothing but a
    setting."""

    after: timedelta
    usual: timedelta | None = None
    spread: timedelta | None = None
    count: int | None = None
    is_without_history: bool = False
    """Whether it stands for a history that is too short."""

    @property
    def data(self) -> dict[str, Any]:
        return {
            "after_seconds": self.after.total_seconds(),
            "usual_seconds": self.usual.total_seconds() if self.usual is not None else None,
            "spread_seconds": self.spread.total_seconds() if self.spread is not None else None,
        }

    def __str__(self) -> str:
        if self.is_without_history:
            return f"at most {spoken(self.after)} as long as its DAG has too few good runs to compare with"
        return f"usually {spoken(self.usual)}" if self.usual is not None else f"at most {spoken(self.after)}"


def own_event(told: Told, event_id: str, kind: str, subject: str, data: dict[str, Any]) -> Event:
    """Raises EventError."""
    return parse_event(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": f"/airflow/{told.deployment}",
            "type": kind,
            "subject": subject,
            "time": stamp(told.now),
            "datacontenttype": "application/json",
            "data": {"watch": told.watch, **data, "reported_by": "monitor"},
        }
    )


def clock_time(moment: datetime) -> str:
    """For sentences; programs read the fields."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"

"""Since when the monitor has seen without a gap what goes on in an Airflow. Nobody can say that something did
not happen while nobody looked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.reconciler import watermarks

GAP = timedelta(minutes=5)
"""Longer than a restart, a slow answer, the longest back-off (2 minutes): after more than this, everything
that waits is given time anew."""

SINCE, UNTIL = "watched_since", "watched_until"
"""Their names among the watermarks."""


@dataclass(frozen=True)
class Attention:
    since: datetime
    until: datetime


def load(connection: Connection, deployment: str) -> Attention | None:
    """As the last process left it."""
    marks = watermarks.load(connection, deployment)
    return Attention(marks[SINCE], marks[UNTIL]) if SINCE in marks and UNTIL in marks else None


def save(connection: Connection, deployment: str, attention: Attention) -> None:
    marks = {SINCE: attention.since, UNTIL: attention.until}
    watermarks.save(connection, deployment, marks, attention.until)


def looked(before: Attention | None, mark: datetime | None, now: datetime) -> Attention | None:
    """What it is at this look; None where Airflow's present is not known. `mark`: up to when it is."""
    if mark is None or now - mark > GAP:
        return None
    if before is None or not timedelta(0) <= now - before.until <= GAP:
        return Attention(now, now)
    return Attention(before.since, now)

"""What the log gives back of an event."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from monitor.database.schema import events


@dataclass(frozen=True)
class Logged:
    """One event as it stands in the log; body is its JSON, encoded once."""

    seq: int
    type: str
    body: str
    received_at: datetime


class Line(NamedTuple):
    """One event with everything that a filter or a reader's rights can ask about: what feeds share."""

    seq: int
    type: str
    body: str
    deployment: str
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    state: str | None
    asset: str | None


@dataclass(frozen=True)
class Page:
    """Events after a cursor, and up to where the log has been looked through for them."""

    events: list[Logged]
    upto: int


LINE = [
    events.c[name]
    for name in ("seq", "type", "body", "deployment", "dag_id", "run_id", "task_id", "state", "asset_uri")
]
"""The columns of a Line, in its order."""

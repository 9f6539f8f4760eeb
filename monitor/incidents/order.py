"""The order of a DAG's runs: which success is an answer to which failure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor import board
from monitor.board import RunName
from monitor.events import Event
from monitor.events.data import DagRunData, RunMissingData, TaskInstanceData

BACKFILL = "backfill"


@dataclass(frozen=True)
class Order:
    """The place of one run, or of a moment of the schedule, among the runs of its DAG."""

    moment: datetime | None
    """The end of the time that the run is for; None if the run has no logical date."""
    start: datetime | None
    is_backfill: bool = False


@dataclass(frozen=True)
class Latest:
    """The latest failures of an incident, as its row has them."""

    moment: datetime | None = None
    start: datetime | None = None
    undated_start: datetime | None = None
    """The latest start of a run that has no logical date."""

    def joined(self, order: Order | None) -> "Latest":
        """The same with one more failure."""
        if order is None:
            return self
        undated = order.start if order.moment is None else None
        return Latest(
            _later(self.moment, order.moment),
            _later(self.start, order.start),
            _later(self.undated_start, undated),
        )

    def merged(self, other: "Latest") -> "Latest":
        return Latest(
            _later(self.moment, other.moment),
            _later(self.start, other.start),
            _later(self.undated_start, other.undated_start),
        )

    def is_answered_by(self, order: Order | None) -> bool:
        """Return True if a success at this place is not older than any of the failures.

        A backfill makes many runs, some of which fail: the success of one answers for its own day only.
        """
        if order is None:
            return True
        if order.moment is None:
            return _is_not_before(order.start, self.start)
        if order.is_backfill and self.moment is not None and order.moment != self.moment:
            return False
        return _is_not_before(order.moment, self.moment) and _is_not_before(order.start, self.undated_start)


def order_of(connection: Connection, event: Event) -> Order | None:
    """Return the place of what the event is about, or None if it has none."""
    data = event.data
    if isinstance(data, DagRunData):
        return of_run(data)
    if isinstance(data, RunMissingData):
        return Order(data.expected_at, None)
    if isinstance(data, TaskInstanceData):
        return _of_task(connection, event.deployment, data)
    return None


def latest_of_failures(connection: Connection, events: Iterable[Event]) -> Latest:
    """Return the latest of some failures."""
    latest = Latest()
    for event in events:
        latest = latest.joined(order_of(connection, event))
    return latest


def of_run(data: DagRunData) -> Order:
    start = data.start_date or data.queued_at
    is_backfill = data.run_type == BACKFILL
    if data.logical_date is None:
        return Order(None, start, is_backfill)
    # The logical date of a scheduled run is the beginning of its interval, that of a manual one its own time.
    return Order(max(data.logical_date, data.data_interval_end or data.logical_date), start, is_backfill)


def schedule_moment(data: DagRunData) -> datetime | None:
    """Return the moment of the schedule that a scheduled run answers."""
    return data.run_after or data.data_interval_end or data.queued_at or data.start_date


def _of_task(connection: Connection, deployment: str, data: TaskInstanceData) -> Order:
    run = board.run(connection, RunName(deployment, data.dag_id, data.run_id))
    if run is None:
        return Order(None, data.start_date)
    # The task's own start: a run that is cleared keeps its name, and its row may be newer than this event.
    return Order(run["logical_date"], data.start_date, run["run_type"] == BACKFILL)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment), default=None)


def _is_not_before(moment: datetime | None, latest: datetime | None) -> bool:
    return moment is None or latest is None or moment >= latest

"""The order of a DAG's runs, which says which success answers which failure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.event_log.projections import runs
from monitor.event_log.projections.runs import RunName
from monitor.events.data import DagRunData, RunMissingData, TaskInstanceData
from monitor.events.event import Event

BACKFILL = "backfill"


@dataclass(frozen=True)
class Order:
    """The place of one run, or of a moment of the schedule, among the runs of its DAG."""

    moment: datetime | None
    """The end of the time that the run is for. None if the run has no logical date."""
    start: datetime | None
    is_backfill: bool = False


@dataclass(frozen=True)
class LatestFailures:
    """The latest failures of an incident, as its row has them."""

    moment: datetime | None = None
    start: datetime | None = None
    undated_start: datetime | None = None
    """The latest start of a run that has no logical date."""

    def include(self, order: Order | None) -> "LatestFailures":
        """Return the latest failures with one more."""
        if order is None:
            return self
        undated = order.start if order.moment is None else None
        return LatestFailures(
            _later(self.moment, order.moment),
            _later(self.start, order.start),
            _later(self.undated_start, undated),
        )

    def merge(self, other: "LatestFailures") -> "LatestFailures":
        """Return the later of both in each respect."""
        return LatestFailures(
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
        return order_of_run(event, data)
    if isinstance(data, RunMissingData):
        return Order(data.expected_at, None)
    if isinstance(data, TaskInstanceData):
        return _order_of_task(connection, event, data)
    return None


def latest_of_failures(connection: Connection, events: Iterable[Event]) -> LatestFailures:
    """Return the latest of some failures."""
    latest = LatestFailures()
    for event in events:
        latest = latest.include(order_of(connection, event))
    return latest


def order_of_run(event: Event, data: DagRunData) -> Order:
    """Return a run's place in the order of its DAG's runs."""
    # The logical date of a scheduled run is the beginning of its interval, that of a manual one its own time.
    dates = (data.logical_date, data.logical_date and data.data_interval_end)
    return _order(event, dates, data.start_date or data.queued_at, data.run_type)


def schedule_moment(event: Event, data: DagRunData) -> datetime | None:
    """Return the moment of the schedule that a scheduled run answers."""
    return event.passed(data.run_after or data.data_interval_end or data.queued_at or data.start_date)


def _order_of_task(connection: Connection, event: Event, data: TaskInstanceData) -> Order:
    run = runs.run(connection, RunName(event.deployment, data.dag_id, data.run_id)) or {}
    return order_of_task(event, data, run.get("logical_date"), run.get("run_type"))


def order_of_task(
    event: Event, data: TaskInstanceData, logical_date: datetime | None, run_type: str | None
) -> Order:
    """Return the place of a task in a run that has this logical date and type."""
    # The task's own start: a run that is cleared keeps its name, and its row may be newer than this event.
    return _order(event, (logical_date,), data.start_date, run_type)


def _order(
    event: Event, dates: Iterable[datetime | None], start: datetime | None, run_type: str | None
) -> Order:
    """Return the place of a run that is for these dates.
    It is the latest of the dates that has come, because a sender may name any date. If a run is for a date
    to come, its place is that of its end."""
    known_dates = [date for date in dates if date is not None]
    come = [date for date in known_dates if date <= event.time]
    moment = max(come, default=event.time) if known_dates else None
    return Order(moment, event.passed(start), run_type == BACKFILL)


def _later(first: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (first, other) if moment), default=None)


def _is_not_before(moment: datetime | None, latest: datetime | None) -> bool:
    return moment is None or latest is None or moment >= latest

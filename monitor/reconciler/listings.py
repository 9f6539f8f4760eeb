"""What the reconciler reads of Airflow: a table of listings, each with the events that its rows become.

`updated_at` has no index in any version of Airflow, `run_after` has one in all. So runs and their tasks are
listed twice: those of recent runs, which costs the same however long the history is and is asked at every
poll, and those of old runs, which reads the whole table and is asked as seldom as its cost demands
(pace.py). The two halves meet: see `_due_recently` and `_due_long_ago`.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.airflow_api import AirflowApi, Page
from monitor.airflow_api.client import Between
from monitor.events import rest
from monitor.events.data import RUN_STATES
from monitor.reconciler.pace import FRESH, OLD, Allowance

HEAD_START = timedelta(seconds=5)
"""What a change must have of age. The listener's report, which holds the error and Airflow's reason, comes
first then; the reconciler fills in what is still lacking."""

CREATED_RUNS_WAIT = timedelta(seconds=3)
"""How long an asset event waits for the runs that it creates: the scheduler makes them a loop or two later,
and the event is told only once."""

CLOCK_SLACK = timedelta(seconds=2)
"""What is younger than nothing by more than this was dated by another clock: it waits for nothing."""

RECENT = timedelta(hours=2)
"""A run is recent for so long after it was due: longer than most runs take, and short enough that a busy
Airflow has some thousands of task instances in it."""

SHARED = timedelta(minutes=30)
"""What both halves list, so that clocks may differ by so much without anything falling between them."""


@dataclass(frozen=True)
class Window:
    """The changes of a time. `now` ends it where `until` does not."""

    since: datetime
    until: datetime | None
    now: datetime


Pages = Callable[[AirflowApi, Window], AsyncGenerator[Page, None]]


@dataclass(frozen=True)
class Listing:
    """One listing. A row may be told once it is `wait` old; `age_from` is None where it may at once.
    `allowance`: how often it may be asked for (pace.py).
    """

    name: str
    pages: Pages
    build: rest.Builder
    age_from: Callable[[rest.Row], datetime | None]
    wait: timedelta
    allowance: Allowance

    def waiting_since(self, row: rest.Row, now: datetime) -> datetime | None:
        """When the change of a row that is still to wait was made; None where it may be told.

        `now` is Airflow's. Raises EventError.
        """
        made = self.age_from(row)
        return made if made and -CLOCK_SLACK <= now - made < self.wait else None


def _changed(row: rest.Row) -> datetime | None:
    return rest.moment_of(row, "start_date" if row.get("state") == "running" else "end_date")


def _made_alone(row: rest.Row) -> datetime | None:
    return None if row.get("created_dagruns") else rest.moment_of(row, "timestamp")


def _due_recently(window: Window) -> Between:
    """Runs to come too. It goes by the window, not by now: after an outage, what was recent then counts."""
    return window.since - RECENT, None


def _due_long_ago(window: Window) -> Between:
    """What _due_recently leaves out of any window that begins within this one, and SHARED more."""
    return None, (window.until or window.now) - RECENT + SHARED


def _tasks(name: str, due: Callable[[Window], Between], allowance: Allowance) -> Listing:
    def pages(api: AirflowApi, window: Window) -> AsyncGenerator[Page, None]:
        # In whatever state: behind a row that waits for its next try stand those that Airflow has filed.
        return api.task_instances_updated(window.since, window.until, run_after=due(window))

    return Listing(name, pages, rest.task_event, _changed, HEAD_START, allowance)


def _runs(name: str, due: Callable[[Window], Between], allowance: Allowance) -> Listing:
    def pages(api: AirflowApi, window: Window) -> AsyncGenerator[Page, None]:
        return api.runs_updated(window.since, window.until, RUN_STATES, due(window))

    return Listing(name, pages, rest.run_event, _changed, HEAD_START, allowance)


ASSETS = Listing(
    "asset_events",
    lambda api, window: api.asset_events(window.since, window.until),
    rest.asset_event,
    _made_alone,
    CREATED_RUNS_WAIT,
    FRESH,
)
LISTINGS = (  # a run's end is told after the ends of its tasks
    _tasks("task_instances", _due_recently, FRESH),
    _runs("dag_runs", _due_recently, FRESH),
    ASSETS,
    _tasks("old_task_instances", _due_long_ago, OLD),
    _runs("old_dag_runs", _due_long_ago, OLD),
)

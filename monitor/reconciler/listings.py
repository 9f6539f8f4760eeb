"""The listings of Airflow that are compared, and the rate limit of their requests.

`LISTINGS` is the table of listings, each with the events that its rows become.

`updated_at` has no index in any version of Airflow, and `run_after` has one in all versions. So runs and
their tasks are listed in two halves. The listing of recent runs costs the same however long the history is,
and is requested at every poll. The listing of old runs reads the whole table, and its cost decides how
seldom it is requested (`RateLimiter`). The two halves meet in `_due_recently` and `_due_long_ago`.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.airflow.client import AirflowApi, TimeRange
from monitor.airflow.paging import ListingPage
from monitor.events import from_airflow
from monitor.events.data import RUN_STATES
from monitor.events.from_airflow import Builder, Row

ANSWERS = 3  # one slow answer is a busy moment, or an api-server that has just begun, but three are a cost


@dataclass(frozen=True)
class RateLimit:
    """The load that a listing may cause."""

    share: float
    """The share of the time of one of the api-server's workers, and of one of its database's."""
    longest: timedelta
    """The longest time between two requests, whatever they cost."""


FRESH = RateLimit(0.1, timedelta(minutes=1))
"""The limit for present changes, for which people wait."""
OLD = RateLimit(0.01, timedelta(hours=1))
"""For what hardly ever happens: a state set by hand in an old run waits no longer than this."""


class RateLimiter:
    """The limiter of one listing's requests."""

    def __init__(self, rate_limit: RateLimit) -> None:
        self._rate_limit = rate_limit
        self._asked_at: datetime | None = None
        self._took: deque[timedelta] = deque(maxlen=ANSWERS)

    @property
    def cost(self) -> timedelta:
        """The least time that an answer takes, or zero until enough answers have been seen."""
        return min(self._took) if len(self._took) == ANSWERS else timedelta()

    @property
    def pause(self) -> timedelta:
        """The least time from one request to the next."""
        return min(self._rate_limit.longest, self.cost / self._rate_limit.share)

    def is_due(self, now: datetime) -> bool:
        """Return True if the listing may be asked for. A clock that was set back delays nothing."""
        return self._asked_at is None or not self._asked_at <= now < self._asked_at + self.pause

    def took(self, asked_at: datetime, seconds: float) -> None:
        """Record the duration of an answer to a request of this moment."""
        self._asked_at = asked_at
        self._took.append(timedelta(seconds=seconds))


HEAD_START = timedelta(seconds=5)
"""The least age of a change that a hook may report. The listener's report comes first then, with the error
and Airflow's reason. The reconciler fills in what is still missing."""

ENDED_RUN_HEAD_START = timedelta(seconds=1)
"""The same for the tasks of a run whose end has been reported: their processes reported before they ended,
and the scheduler saw that before it ended the run."""

CREATED_RUNS_WAIT = timedelta(seconds=3)
"""The time that an asset event waits for the runs that it creates. The scheduler makes them a loop or two
later, and the event is reported only once."""

CLOCK_SLACK = timedelta(seconds=2)
"""The tolerance for clocks. A moment later than the present by more than this comes from another clock and
waits for nothing."""

SILENT_STATES = ("upstream_failed", "removed")
SILENT_WITHOUT_WORKER = ("success", "skipped")
"""The final states of tasks without a worker: an EmptyOperator, and what a branch leaves out."""

RECENT = timedelta(hours=2)
"""A run is recent for so long after it was due: longer than most runs take, and short enough that a busy
Airflow has some thousands of task instances in it."""

SHARED = timedelta(minutes=30)
"""The overlap of both halves. Clocks may differ by so much without a gap between the halves."""


@dataclass(frozen=True)
class Window:
    """The time whose changes are listed. Without `until` it ends at `now`."""

    since: datetime
    until: datetime | None
    now: datetime


Pages = Callable[[AirflowApi, Window], AsyncGenerator[ListingPage, None]]


@dataclass(frozen=True)
class RowKind:
    """A kind of rows.
    A row may be reported once it is `wait` old, or at once if `age_from` gives None. `has_earlier_tries`
    says whether Airflow's archived tries behind the rows are looked for (task_tries.py)."""

    name: str
    build: Builder
    age_from: Callable[[Row], datetime | None]
    wait: timedelta
    has_earlier_tries: bool

    def waiting_since(self, row: Row, now: datetime) -> datetime | None:
        """Return when the change of a row that must still wait was made, or None if the row may be reported.

        `now` is Airflow's. Raises EventError."""
        made = self.age_from(row)
        return made if made and -CLOCK_SLACK <= now - made < self.wait else None


@dataclass(frozen=True)
class Listing(RowKind):
    """A listing. `rate_limit` bounds how often it may be asked for."""

    pages: Pages
    rate_limit: RateLimit


def _change_time(row: Row) -> datetime | None:
    return from_airflow.moment_of(row, "start_date" if row.get("state") == "running" else "end_date")


def _task_change_time(row: Row) -> datetime | None:
    return None if _is_silent(row) else _change_time(row)


def _is_silent(row: Row) -> bool:
    """Return True if no hook reports this state: the scheduler set it, and no worker ever had the task."""
    state = row.get("state")
    return state in SILENT_STATES or (state in SILENT_WITHOUT_WORKER and not row.get("hostname"))


def _creation_time(row: Row) -> datetime | None:
    return None if row.get("created_dagruns") else from_airflow.moment_of(row, "timestamp")


def _due_recently(window: Window) -> TimeRange:
    """Return the due dates of recent and coming runs.
    They are relative to the window, not to the present, so after an outage the runs that were recent then
    count."""
    return window.since - RECENT, None


def _due_long_ago(window: Window) -> TimeRange:
    """Return the due dates that `_due_recently` leaves out of any later window, and SHARED more."""
    return None, (window.until or window.now) - RECENT + SHARED


def _tasks(name: str, due: Callable[[Window], TimeRange], rate_limit: RateLimit) -> Listing:
    def pages(api: AirflowApi, window: Window) -> AsyncGenerator[ListingPage, None]:
        # In whatever state: behind a row that waits for its next try stand those that Airflow has filed.
        return api.task_instances_updated(window.since, window.until, run_after=due(window))

    return Listing(name, from_airflow.task_event, _task_change_time, HEAD_START, True, pages, rate_limit)


def _runs(name: str, due: Callable[[Window], TimeRange], rate_limit: RateLimit) -> Listing:
    def pages(api: AirflowApi, window: Window) -> AsyncGenerator[ListingPage, None]:
        return api.runs_updated(window.since, window.until, RUN_STATES, due(window))

    return Listing(name, from_airflow.run_event, _change_time, HEAD_START, False, pages, rate_limit)


ASSETS = Listing(
    "asset_events",
    from_airflow.asset_event,
    _creation_time,
    CREATED_RUNS_WAIT,
    False,
    lambda api, window: api.asset_events(window.since, window.until),
    FRESH,
)
TASKS = _tasks("task_instances", _due_recently, FRESH)
ENDED_RUN = RowKind("ended_run", from_airflow.task_event, _task_change_time, ENDED_RUN_HEAD_START, False)
"""The tasks of one run that has ended. Tries that are filed wait longer than this is looked at."""
LISTINGS = (  # a run's end is reported after the ends of its tasks
    TASKS,
    _runs("dag_runs", _due_recently, FRESH),
    ASSETS,
    _tasks("old_task_instances", _due_long_ago, OLD),
    _runs("old_dag_runs", _due_long_ago, OLD),
)

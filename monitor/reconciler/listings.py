"""What the reconciler reads of Airflow: a table of listings, each with the events that its rows become."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.airflow_api import AirflowApi, Page
from monitor.events import rest
from monitor.events.data import RUN_STATES

HEAD_START = timedelta(seconds=5)
"""What a change must have of age. The listener's report, which holds the error and Airflow's reason, comes
first then; the reconciler fills in what is still lacking."""

CREATED_RUNS_WAIT = timedelta(seconds=3)
"""How long an asset event waits for the runs that it creates: the scheduler makes them a loop or two later,
and the event is told only once."""

Pages = Callable[[AirflowApi, datetime, datetime | None], AsyncGenerator[Page, None]]


CLOCK_SLACK = timedelta(seconds=2)
"""What is younger than nothing by more than this was dated by another clock: it waits for nothing."""


@dataclass(frozen=True)
class Listing:
    """One listing. A row may be told once it is `wait` old; `age_from` is None where it may at once."""

    name: str
    pages: Pages
    build: rest.Builder
    age_from: Callable[[rest.Row], datetime | None]
    wait: timedelta

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


TASKS = Listing(
    "task_instances",
    lambda api, since, until: api.task_instances_updated(since, until, rest.TASK_STATES_SHOWN),
    rest.task_event,
    _changed,
    HEAD_START,
)
RUNS = Listing(
    "dag_runs",
    lambda api, since, until: api.runs_updated(since, until, RUN_STATES),
    rest.run_event,
    _changed,
    HEAD_START,
)
ASSETS = Listing(
    "asset_events",
    lambda api, since, until: api.asset_events(since, until),
    rest.asset_event,
    _made_alone,
    CREATED_RUNS_WAIT,
)
LISTINGS = (TASKS, RUNS, ASSETS)  # a run's end is told after the ends of its tasks

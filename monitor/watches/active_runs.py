"""The runs that Airflow has queued or running at the moment.

Airflow is asked because no event reports that a run is queued.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from monitor.airflow.client import AirflowApi
from monitor.errors import EventError, WindsockError
from monitor.events.data import TEST
from monitor.events.from_airflow import Row, moment_of, run_type_of, text_of
from monitor.events.from_watches import WatchedRun

MAX_RUNS = 2_000  # of each state: twenty requests. An Airflow with more is not watched run by run
BACKFILL = "backfill"
SCHEDULED = "scheduled"


class TooMany(WindsockError):
    """The error that more runs wait or run than the watches look at."""


@dataclass(frozen=True)
class ActiveRun:
    """A run that is queued or running."""

    dag_id: str
    run_id: str
    run_type: str
    run_after: datetime | None
    queued_at: datetime | None
    start_date: datetime | None

    @property
    def named(self) -> WatchedRun:
        """The run's identity for an event."""
        return WatchedRun(self.dag_id, self.run_id, self.run_type)

    @property
    def came(self) -> datetime | None:
        """The moment at which the run was created or began anew."""
        return self.queued_at or self.start_date


@dataclass(frozen=True)
class ActiveRuns:
    """The queued and running runs of an Airflow, by DAG."""

    queued: Mapping[str, Sequence[ActiveRun]] = field(default_factory=dict)
    running: Mapping[str, Sequence[ActiveRun]] = field(default_factory=dict)

    def runs_of(self, dag_id: str) -> list[ActiveRun]:
        """Return the active runs of a DAG."""
        return [*self.queued.get(dag_id, ()), *self.running.get(dag_id, ())]


async def ask(api: AirflowApi) -> ActiveRuns:
    """Ask Airflow for its active runs with two short listings. Raises AirflowError and TooMany."""
    return ActiveRuns(queued=await _list_runs(api, "queued"), running=await _list_runs(api, "running"))


async def _list_runs(api: AirflowApi, state: str) -> dict[str, list[ActiveRun]]:
    found: dict[str, list[ActiveRun]] = {}
    read = 0
    async with aclosing(api.runs_in(state)) as pages:
        async for page in pages:
            read += len(page.rows)
            if read > MAX_RUNS:
                raise TooMany(
                    f"{api.deployment}: more than {MAX_RUNS} runs are {state}; missing, late and stuck runs "
                    "are not looked for until there are fewer"
                )
            for row in page.rows:
                if (run := _read(row)) and run.run_type != TEST:  # its user looks at a test anyway
                    found.setdefault(run.dag_id, []).append(run)
    return found


def _read(row: Row) -> ActiveRun | None:
    """Return the run of a row, or None if the row makes no sense. The reconciler logs such rows."""
    try:
        times = [moment_of(row, name) for name in ("run_after", "queued_at", "start_date")]
        return ActiveRun(
            text_of(row, "dag_id"), text_of(row, "dag_run_id"), str(run_type_of(row) or ""), *times
        )
    except EventError:
        return None

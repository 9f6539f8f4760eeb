"""The observation of an Airflow that all watches share, and the time that it covers without a gap.

`ObservationWindow` says since when the monitor has observed an Airflow without a gap. A watch reports that
something did not happen, which cannot be known of a time without observation.

`ActiveRun` is a run that Airflow lists as queued or running, and `find_active_runs` asks for them.
Airflow is asked because no event reports that a run is queued."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.database.statements import Row
from monitor.errors import EventError, WindsockError
from monitor.events.data import TEST
from monitor.events.from_airflow import Row as AirflowRow
from monitor.events.from_airflow import moment_of, run_type_of, text_of
from monitor.events.from_watches import WatchContext, WatchedRun
from monitor.reconciler import status
from monitor.rules.model import Watch
from monitor.watches.findings import Key, OpenFinding

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


async def find_active_runs(api: AirflowApi) -> ActiveRuns:
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


def _read(row: AirflowRow) -> ActiveRun | None:
    """Return the run of a row, or None if the row makes no sense. The reconciler logs such rows."""
    try:
        times = [moment_of(row, name) for name in ("run_after", "queued_at", "start_date")]
        return ActiveRun(
            text_of(row, "dag_id"), text_of(row, "dag_run_id"), str(run_type_of(row) or ""), *times
        )
    except EventError:
        return None


SETTLING = timedelta(minutes=15)
"""The time for an Airflow that is back, or a monitor, to work off what has waited. Problems from that time
are reported only afterwards. The time is shorter if a watch tolerates less."""

RunStarts = Mapping[tuple[str, str], datetime]
"""The creation of the last run of each DAG and type, by both."""


@dataclass(frozen=True)
class Observation:
    """The observation of one Airflow at one look."""

    deployment: str
    now: datetime
    origin: datetime
    """The moment before which problems are not reported (monitor/event_log/deployments.py)."""
    since: datetime
    """Seen without a gap since then."""
    upto: datetime
    """Everything that Airflow did up to this moment is in the log."""
    dags: Mapping[str, Row] = field(default_factory=dict)
    assets: Mapping[str, Row] = field(default_factory=dict)
    run_starts: RunStarts = field(default_factory=dict)
    active: ActiveRuns = field(default_factory=ActiveRuns)
    open: Mapping[Key, OpenFinding] = field(default_factory=dict)

    def is_ripe(self, went_wrong: datetime, tolerated: timedelta) -> bool:
        """Return True if a problem that started at `went_wrong` may be reported.
        The start has to be after the first start of the monitor and covered by the log. After a gap, enough
        time has to have passed to catch up."""
        settled = self.since + min(tolerated, SETTLING)
        return self.origin <= went_wrong <= min(self.now, self.upto) and settled <= self.now

    def watch_context(self, watch: Watch) -> WatchContext:
        """Return the values that an event of this watch carries."""
        return WatchContext(self.deployment, self.now, watch.name)

    def dag_at_work(self, dag_id: str | None) -> Row | None:
        """Return a DAG that Airflow schedules, or None if the DAG is paused, gone or unknown."""
        dag = self.dags.get(dag_id) if dag_id else None
        return None if dag is None or dag["is_paused"] or dag["is_stale"] else dag

    def open_found(self, kind: str, subject: str) -> str | None:
        """Return the occurrence that was reported and is not over."""
        finding = self.open.get((kind, subject))
        return finding.found if finding else None


def tags_of(dag: Row | None) -> Sequence[str]:
    """Return the DAG's tags."""
    return (dag or {}).get("tags") or ()


GAP = timedelta(minutes=5)
"""Longer than a restart, a slow answer, the longest back-off (2 minutes): after more than this, everything
that waits is given time anew."""

SINCE, UNTIL = "watched_since", "watched_until"
"""Their names among the watermarks."""


@dataclass(frozen=True)
class ObservationWindow:
    """The time that an Airflow was observed without a gap."""

    since: datetime
    until: datetime


def load(connection: Connection, deployment: str) -> ObservationWindow | None:
    """Load the window as the last process left it."""
    marks = status.load_watermarks(connection, deployment)
    return ObservationWindow(marks[SINCE], marks[UNTIL]) if SINCE in marks and UNTIL in marks else None


def save(connection: Connection, deployment: str, window: ObservationWindow) -> None:
    """Save the window for the next process."""
    marks = {SINCE: window.since, UNTIL: window.until}
    status.save_watermarks(connection, deployment, marks, window.until)


def extend_window(
    before: ObservationWindow | None, mark: datetime | None, now: datetime
) -> ObservationWindow | None:
    """Return the window at this look, or None if Airflow's present is unknown.
    `mark` is the moment up to which Airflow is known."""
    if mark is None or now - mark > GAP:
        return None
    if before is None or not timedelta(0) <= now - before.until <= GAP:
        return ObservationWindow(now, now)
    return ObservationWindow(before.since, now)

"""The observation of an Airflow that all watches share, and the time that it covers without a gap.

`ObservationWindow` says since when the monitor has observed an Airflow without a gap. A watch reports that
something did not happen, which cannot be known of a time without observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.database.statements import Row
from monitor.events.from_watches import WatchContext
from monitor.reconciler import status
from monitor.rules.model import Watch
from monitor.watches.active_runs import ActiveRuns
from monitor.watches.findings import Key, OpenFinding

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

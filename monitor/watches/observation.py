"""The observation of an Airflow that all watches share, and the time that it covers without a gap.

`ObservationWindow` says since when the monitor has observed an Airflow without a gap. A watch reports that
something did not happen, which nobody can say of a time without observation.
"""

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
"""How long an Airflow that is back, or a monitor, is given to work off what has waited, before anything that
went wrong meanwhile is told. Less where less is tolerated."""

RunStarts = Mapping[tuple[str, str], datetime]
"""When the last run of a DAG and of a type came to be, by both."""


@dataclass(frozen=True)
class Observation:
    deployment: str
    now: datetime
    origin: datetime
    """What went wrong before this is told to nobody (monitor/event_log/deployments.py)."""
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
        """Whether what went wrong at this moment is to be told: it is not of the past before the first start,
        the log reaches so far, and after a gap there was time enough to work it off."""
        settled = self.since + min(tolerated, SETTLING)
        return self.origin <= went_wrong <= min(self.now, self.upto) and settled <= self.now

    def watch_context(self, watch: Watch) -> WatchContext:
        return WatchContext(self.deployment, self.now, watch.name)

    def dag_at_work(self, dag_id: str | None) -> Row | None:
        """A DAG that Airflow schedules; None where it is paused, gone, or not known."""
        dag = self.dags.get(dag_id) if dag_id else None
        return None if dag is None or dag["is_paused"] or dag["is_stale"] else dag

    def open_found(self, kind: str, subject: str) -> str | None:
        """Which occurrence was told of and is not over."""
        finding = self.open.get((kind, subject))
        return finding.found if finding else None


def tags_of(dag: Row | None) -> Sequence[str]:
    return (dag or {}).get("tags") or ()


GAP = timedelta(minutes=5)
"""Longer than a restart, a slow answer, the longest back-off (2 minutes): after more than this, everything
that waits is given time anew."""

SINCE, UNTIL = "watched_since", "watched_until"
"""Their names among the watermarks."""


@dataclass(frozen=True)
class ObservationWindow:
    since: datetime
    until: datetime


def load(connection: Connection, deployment: str) -> ObservationWindow | None:
    """As the last process left it."""
    marks = status.load_watermarks(connection, deployment)
    return ObservationWindow(marks[SINCE], marks[UNTIL]) if SINCE in marks and UNTIL in marks else None


def save(connection: Connection, deployment: str, window: ObservationWindow) -> None:
    marks = {SINCE: window.since, UNTIL: window.until}
    status.save_watermarks(connection, deployment, marks, window.until)


def extend_window(
    before: ObservationWindow | None, mark: datetime | None, now: datetime
) -> ObservationWindow | None:
    """What it is at this look; None where Airflow's present is not known. `mark`: up to when it is."""
    if mark is None or now - mark > GAP:
        return None
    if before is None or not timedelta(0) <= now - before.until <= GAP:
        return ObservationWindow(now, now)
    return ObservationWindow(before.since, now)

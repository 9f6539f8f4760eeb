"""Late: a run exists and is not begun. Airflow has made it, and its tasks wait for the scheduler.

Not late is what waits for its turn: the run of a DAG that has another one running, and backfills, which make
all of their runs at once.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from monitor.events import Event, watched_runs
from monitor.events.identity import run_key
from monitor.rules.model import Watch
from monitor.watches.active import BACKFILL, ActiveRun
from monitor.watches.choice import Choice
from monitor.watches.finding import Finding
from monitor.watches.sight import Sight, tags_of

LATE = "windsock.run.late"
AFTER = timedelta(minutes=15)  # where the watch names none: a healthy scheduler takes seconds


def late(sight: Sight, choice: Choice) -> list[Finding]:
    """The run of each DAG that is late: the one that was told, or the one that waits longest."""
    found = []
    for dag_id, runs in sight.active.queued.items():
        dag = sight.dag_at_work(dag_id)
        watch = choice.of_dag(dag_id, tags_of(dag)) if dag else None
        if dag is None or watch is None or sight.active.running.get(dag_id):
            continue
        told = sight.open_found(LATE, dag_id)
        waiting = list(_late_runs(sight, watch, runs, dag["seen_at"]))
        chosen = min(waiting, key=lambda each: (each[0].found != told, each[1]), default=None)
        if chosen:
            found.append(chosen[0])
    return found


def _late_runs(
    sight: Sight, watch: Watch, runs: Sequence[ActiveRun], seen_at: datetime | None
) -> Iterator[tuple[Finding, datetime]]:
    after = AFTER if watch.after is None else watch.after
    for run in runs:
        # A run that is cleared, or of a DAG that was paused until now, waits from then on.
        moments = [moment for moment in (run.run_after, run.queued_at, seen_at) if moment]
        if run.run_type == BACKFILL or not moments:
            continue
        due = max(moments)
        key = run_key(run.dag_id, run.run_id, None, run.queued_at)
        if sight.is_ripe(due + after, after) or key == sight.open_found(LATE, run.dag_id):
            yield _finding(sight, watch, run, due, key, after), due


def _finding(
    sight: Sight, watch: Watch, run: ActiveRun, due: datetime, key: str, after: timedelta
) -> Finding:
    def build() -> Event:
        return watched_runs.late(sight.told(watch), run.named, due, run.queued_at, after)

    return Finding(LATE, run.dag_id, key, build)

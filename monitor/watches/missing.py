"""Missing: Airflow's own schedule wants a run, and there is none.

Odd on purpose: for a DAG that does not catch up Airflow moves `next_run_after` on to the latest moment of the
schedule, run or no run, each time it parses the file. So with its scheduler dead no run is ever overdue by
more than the schedule's own step; what counts is since when one was due without a pause.

Not missing is what waits for its turn: while any run of the DAG is queued or running, the next may have to
wait for it (max_active_runs, a backlog that is caught up with, `@continuous`). Runs by hand are no answer:
they neither count as the run that was due nor end what was told.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.board import Row
from monitor.events import Event, watched_runs
from monitor.events.identity import stamp
from monitor.rules.model import Watch
from monitor.watches.active import SCHEDULED
from monitor.watches.choice import Choice
from monitor.watches.finding import Finding
from monitor.watches.moments import moment_in
from monitor.watches.sight import Sight, tags_of

MISSING = "windsock.run.missing"
AFTER = timedelta(minutes=15)  # where the watch names none: a scheduler may be replaced meanwhile
BY_SCHEDULE = (SCHEDULED,)
"""The types of runs that are an answer to a schedule: nothing that is triggered, and no backfill."""


@dataclass
class _Due:
    """A run is due, and has been without a pause."""

    expected: datetime
    """The first moment of the schedule that had none: its name."""
    since: datetime
    """Since when it is waited for."""
    listed: datetime
    """`next_run_after` as it was at the last look."""
    is_answered: bool = False
    """A run came, and the list, which is a minute old at times, does not show it yet."""

    @classmethod
    def new(cls, sight: Sight, dag_id: str, dag: Row) -> "_Due":
        """`seen_at`: what is new, unpaused or scheduled otherwise is waited for from then on."""
        told = sight.open_found(MISSING, dag_id)
        expected = moment_in(told) if told else dag["next_run_after"]
        return cls(expected, max(expected, dag["seen_at"] or expected), dag["next_run_after"])

    def look(self, sight: Sight, dag_id: str, listed: datetime) -> None:
        """Take in what came since the last look."""
        moved, self.listed = listed != self.listed, listed
        if self._came(sight, dag_id):
            self.expected, self.since, self.is_answered = listed, sight.now, not moved
        elif moved and self.is_answered:
            self.expected, self.since, self.is_answered = listed, max(listed, self.since), False

    def _came(self, sight: Sight, dag_id: str) -> bool:
        begun = [sight.begun.get((dag_id, kind)) for kind in BY_SCHEDULE]
        active = [run.run_after for run in sight.active.of(dag_id) if run.run_type in BY_SCHEDULE]
        return any(moment >= self.since for moment in begun if moment) or any(
            moment >= self.expected for moment in active if moment and not self.is_answered
        )

    def is_missing(self, sight: Sight, dag_id: str, after: timedelta) -> bool:
        if self.is_answered:
            return False
        if sight.open_found(MISSING, dag_id) == stamp(self.expected):
            return True
        if sight.active.of(dag_id):
            self.since = sight.now  # from the end of what it waits for it has its time anew
            return False
        return sight.is_ripe(self.since + after, after)


class Missing:
    """Of one deployment; it remembers since when runs are due."""

    def __init__(self) -> None:
        self._due: dict[str, _Due] = {}

    def findings(self, sight: Sight, choice: Choice) -> list[Finding]:
        """The DAGs whose run is missing."""
        waiting, found = {}, []
        for dag_id, dag in sight.dags.items():
            watch = choice.of_dag(dag_id, tags_of(dag)) if sight.dag_at_work(dag_id) else None
            listed = dag["next_run_after"]
            if watch is None or listed is None or listed > sight.now:
                continue
            due = self._due.get(dag_id) or _Due.new(sight, dag_id, dag)
            due.look(sight, dag_id, listed)
            waiting[dag_id] = due
            if due.is_missing(sight, dag_id, _after(watch)):
                found.append(_finding(sight, watch, dag_id, dag, due.expected))
        self._due = waiting
        return found


def _after(watch: Watch) -> timedelta:
    return AFTER if watch.after is None else watch.after


def _finding(sight: Sight, watch: Watch, dag_id: str, dag: Row, expected: datetime) -> Finding:
    def build() -> Event:
        return watched_runs.missing(sight.told(watch), dag_id, expected, _after(watch), dag["schedule"])

    return Finding(MISSING, dag_id, stamp(expected), build)

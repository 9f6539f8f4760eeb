"""Stuck: a run goes on for longer than it may, or than is usual by the DAG's own history."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from monitor.board import Row
from monitor.events import Event, watched_runs
from monitor.events.identity import run_key
from monitor.events.watched import Bound
from monitor.rules.model import Watch
from monitor.watches.active import ActiveRun
from monitor.watches.choice import Choice
from monitor.watches.finding import Finding
from monitor.watches.sight import Sight, tags_of
from monitor.watches.usual import unusual_after

STUCK = "windsock.run.stuck"
History = Mapping[str, Sequence[timedelta]]
"""How long the last successful runs of a DAG took, the latest first."""


def in_question(sight: Sight, choice: Choice) -> list[str]:
    """The DAGs whose history is needed: those with a run that is longer than the floor."""
    return [
        dag_id
        for dag_id, runs in sight.active.running.items()
        if (watch := _watch(sight, choice, dag_id))
        and watch.after is None
        and any(run.start_date and sight.now - run.start_date >= watch.floor for run in runs)
    ]


def stuck(sight: Sight, choice: Choice, history: History) -> list[Finding]:
    """The run of each DAG that is stuck: the one that was told, or the one that runs longest."""
    found = []
    for dag_id, runs in sight.active.running.items():
        watch = _watch(sight, choice, dag_id)
        bound = watch and _bound(watch, history.get(dag_id, ()))
        if not watch or not bound:
            continue
        told = sight.open_found(STUCK, dag_id)
        some = [one for run in runs if (one := _finding(sight, watch, run, bound, told))]
        found += sorted(some, key=lambda one: one.found != told)[:1]
    return found


def _watch(sight: Sight, choice: Choice, dag_id: str) -> Watch | None:
    dag: Row | None = sight.dag_at_work(dag_id)
    return choice.of_dag(dag_id, tags_of(dag)) if dag else None


def _bound(watch: Watch, history: Sequence[timedelta]) -> Bound | None:
    if watch.after is not None:
        return Bound(watch.after)
    return unusual_after(history, watch.floor, watch.spreads)


def _finding(sight: Sight, watch: Watch, run: ActiveRun, bound: Bound, told: str | None) -> Finding | None:
    start = run.start_date
    if start is None:
        return None
    key = run_key(run.dag_id, run.run_id, start, None)
    if key != told and not sight.is_ripe(start + bound.after, bound.after):
        return None

    def build() -> Event:
        return watched_runs.stuck(sight.told(watch), run.named, start, bound)

    return Finding(STUCK, run.dag_id, key, build)

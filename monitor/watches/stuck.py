"""Stuck: a run goes on for longer than it may, or than is usual by the DAG's own history.

A DAG that has too few good runs to know what is usual has a bound of its own (`without_history`): else a run
that hangs in a new DAG would be told to nobody. The time for which a run waited for a person is not its own
(waiting.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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
"""How long the last successful runs of a DAG took, the latest first, of those that are in question."""
Waited = Mapping[str, timedelta | None]
"""By a run's key, for how long it waited for a person; None: that is not known yet."""


@dataclass(frozen=True)
class LongRun:
    """A run that goes on for longer than its bound."""

    run: ActiveRun
    start: datetime
    bound: Bound
    watch: Watch
    is_told: bool

    @property
    def key(self) -> str:
        return run_key(self.run.dag_id, self.run.run_id, self.start, None)


def in_question(sight: Sight, choice: Choice) -> list[str]:
    """The DAGs whose history is needed: those with a run that is longer than the floor."""
    return [
        dag_id
        for dag_id, runs in sight.active.running.items()
        if (watch := _watch(sight, choice, dag_id))
        and watch.after is None
        and any(run.start_date and sight.now - run.start_date >= watch.floor for run in runs)
    ]


def long_runs(sight: Sight, choice: Choice, history: History) -> list[LongRun]:
    """Every run that is longer than its bound: those that were told, then the others, the longest first."""
    found: list[LongRun] = []
    for dag_id, runs in sight.active.running.items():
        watch = _watch(sight, choice, dag_id)
        if watch and (bound := _bound(watch, history.get(dag_id))):
            found += _longer(sight, watch, runs, bound)
    return sorted(found, key=lambda each: (not each.is_told, each.start))


def stuck(sight: Sight, runs: Sequence[LongRun], waited: Waited) -> list[Finding]:
    """The run of each DAG that is stuck: the one that was told, or else the first that is."""
    found: dict[str, Finding] = {}
    for each in runs:
        away = timedelta(0) if each.is_told else waited.get(each.key)
        if away is None or not (each.is_told or _is_ripe(sight, each, away)):
            continue
        found.setdefault(each.run.dag_id, _finding(sight, each))
    return list(found.values())


def _watch(sight: Sight, choice: Choice, dag_id: str) -> Watch | None:
    dag: Row | None = sight.dag_at_work(dag_id)
    return choice.of_dag(dag_id, tags_of(dag)) if dag else None


def _bound(watch: Watch, history: Sequence[timedelta] | None) -> Bound | None:
    if watch.after is not None:
        return Bound(watch.after)
    if history is None:  # none of its runs is longer than the floor
        return None
    usual = unusual_after(history, watch.floor, watch.spreads)
    return usual or Bound(max(watch.floor, watch.without_history), is_without_history=True)


def _longer(sight: Sight, watch: Watch, runs: Sequence[ActiveRun], bound: Bound) -> Iterator[LongRun]:
    told = sight.open_found(STUCK, runs[0].dag_id)
    for run in runs:
        if run.start_date is None:
            continue
        one = LongRun(run, run.start_date, bound, watch, False)
        if one.key == told:
            yield LongRun(run, run.start_date, bound, watch, True)
        elif _is_ripe(sight, one, timedelta(0)):
            yield one


def _is_ripe(sight: Sight, each: LongRun, away: timedelta) -> bool:
    return sight.is_ripe(each.start + away + each.bound.after, each.bound.after)


def _finding(sight: Sight, each: LongRun) -> Finding:
    def build() -> Event:
        return watched_runs.stuck(sight.told(each.watch), each.run.named, each.start, each.bound)

    return Finding(STUCK, each.run.dag_id, each.key, build)

"""The threshold of a watch for each DAG, as set or as usual in its history.

`WatchSelector` chooses the watch of a kind for a DAG or an asset. It is the first watch that names DAGs,
assets, tags or an Airflow, and otherwise the first of all. So a watch for a few DAGs needs no exception in
the watch for all DAGs.

`unusual_after` says how long is unusually long, by the median of earlier values and their spread. Two
corrections prevent false alarms.

The spread is at least a twentieth of the median. So runs that take two hours to the second are not stuck a
minute later. Nor is a daily asset stale in the night of a clock change.

A value that one in twenty reached is usual, because an asset that is updated on working days has long
weekends.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from statistics import median

from monitor.events.from_watches import Bound
from monitor.rules.field_types import matches_any
from monitor.rules.model import Watch


class WatchSelector:
    """The choice among the watches of one kind for one deployment."""

    def __init__(self, watches: Sequence[Watch], kind: str, deployment: str) -> None:
        some = [
            watch
            for watch in watches
            if watch.watch == kind and (not watch.deployment or matches_any(watch.deployment, deployment))
        ]
        self._watches = sorted(some, key=lambda watch: not watch.is_for_some)  # stable: else in their order

    def __bool__(self) -> bool:
        """Return True if anything is watched at all."""
        return any(not watch.off for watch in self._watches)

    def find_for_dag(self, dag_id: str, tags: Sequence[str]) -> Watch | None:
        """Return the watch of this DAG, or None."""
        return _first(watch for watch in self._watches if _takes_dag(watch, dag_id, tags))

    def find_for_asset(self, name: str, uri: str, dag_id: str | None, tags: Sequence[str]) -> Watch | None:
        """Return the watch of this asset, or None.
        `dag_id` is the DAG that the asset belongs to for this kind of watch."""
        return _first(
            watch
            for watch in self._watches
            if (not watch.asset or matches_any(watch.asset, uri) or matches_any(watch.asset, name))
            and _takes_dag(watch, dag_id, tags)
        )

    def find_global(self) -> Watch | None:
        """Return the watch of what belongs to no DAG, or None."""
        return _first(iter(self._watches))


def _takes_dag(watch: Watch, dag_id: str | None, tags: Sequence[str]) -> bool:
    if watch.dag_id and (dag_id is None or not matches_any(watch.dag_id, dag_id)):
        return False
    return not watch.tags or any(matches_any(watch.tags, tag) for tag in tags)


def _first(watches: Iterator[Watch]) -> Watch | None:
    watch = next(watches, None)
    return None if watch is None or watch.off else watch


HISTORY = 50  # values looked back at: two months of a daily DAG, and its new habits count within weeks
ENOUGH = 5  # below this nothing is known to be usual
NORMAL = 1.4826  # from a median absolute deviation to the deviation of what is normally distributed
LEAST_SPREAD = 0.05  # of the median
RARE = 20  # one in so many is usual


def unusual_after(lengths: Sequence[timedelta], floor: timedelta, spreads: float) -> Bound | None:
    """Return the bound from which a duration is unusual, or None if too little is known."""
    values = [length.total_seconds() for length in lengths[:HISTORY] if length >= timedelta(0)]
    if len(values) < ENOUGH:
        return None
    middle = median(values)
    spread = max(NORMAL * median(abs(value - middle) for value in values), LEAST_SPREAD * middle)
    rare = sorted(values, reverse=True)[len(values) // RARE] * (1 + spreads * LEAST_SPREAD)
    bound = max(floor.total_seconds(), middle + spreads * spread, rare)
    return Bound(timedelta(seconds=bound), timedelta(seconds=middle), timedelta(seconds=spread), len(values))

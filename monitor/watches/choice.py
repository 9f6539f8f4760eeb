"""Which watch of a kind takes a DAG or an asset: of several, the first that names DAGs, assets, tags or an
Airflow; else the first. So one that is only for a few DAGs needs no exception in the one for all.
"""

from collections.abc import Iterator, Sequence

from monitor.rules.globs import matches_any
from monitor.rules.model import Watch


class Choice:
    """Of one kind of watch, for one deployment."""

    def __init__(self, watches: Sequence[Watch], kind: str, deployment: str) -> None:
        some = [
            watch
            for watch in watches
            if watch.watch == kind and (not watch.deployment or matches_any(watch.deployment, deployment))
        ]
        self._watches = sorted(some, key=lambda watch: not watch.is_for_some)  # stable: else in their order

    def __bool__(self) -> bool:
        """Whether anything is watched at all."""
        return any(not watch.off for watch in self._watches)

    def of_dag(self, dag_id: str, tags: Sequence[str]) -> Watch | None:
        """None where nothing watches this DAG."""
        return _first(watch for watch in self._watches if _takes_dag(watch, dag_id, tags))

    def of_asset(self, name: str, uri: str, dag_id: str | None, tags: Sequence[str]) -> Watch | None:
        """`dag_id`: the DAG that the asset belongs to, for this kind of watch."""
        return _first(
            watch
            for watch in self._watches
            if (not watch.asset or matches_any(watch.asset, uri) or matches_any(watch.asset, name))
            and _takes_dag(watch, dag_id, tags)
        )

    def of_all(self) -> Watch | None:
        """Of what belongs to no DAG."""
        return _first(iter(self._watches))


def _takes_dag(watch: Watch, dag_id: str | None, tags: Sequence[str]) -> bool:
    if watch.dag_id and (dag_id is None or not matches_any(watch.dag_id, dag_id)):
        return False
    return not watch.tags or any(matches_any(watch.tags, tag) for tag in tags)


def _first(watches: Iterator[Watch]) -> Watch | None:
    watch = next(watches, None)
    return None if watch is None or watch.off else watch

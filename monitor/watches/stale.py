"""Stale: an asset was not updated for longer than it may, or than is usual by its own history."""

from collections.abc import Mapping
from datetime import datetime

from monitor.board import Row
from monitor.events import Event, stamp, watched_assets
from monitor.events.durations import spoken
from monitor.events.watched import Bound, Told
from monitor.events.watched_assets import Asset
from monitor.rules.model import Watch
from monitor.watches.choice import Choice
from monitor.watches.finding import Finding, Open
from monitor.watches.moments import moment_in
from monitor.watches.sight import Sight, tags_of
from monitor.watches.updates import History
from monitor.watches.usual import unusual_after

STALE = "windsock.asset.stale"


def stale(sight: Sight, choice: Choice, updates: Mapping[str, History]) -> list[Finding]:
    """The assets that are stale. Left out are those whose DAG, the one that updated it last, is paused or
    gone."""
    found = []
    for uri, row in sight.assets.items():
        dag_id = row["source_dag_id"]
        dag = sight.dag_at_work(dag_id)
        watch = choice.of_asset(row["name"], uri, dag_id, tags_of(dag)) if dag or not dag_id else None
        bound = watch and _bound(watch, updates.get(uri))
        if not watch or not bound:
            continue
        since: datetime = row["updated_at"]
        told = sight.open_found(STALE, uri) == stamp(since)
        if told or sight.is_ripe(since + bound.after, bound.after):
            found.append(_finding(sight, watch, row, bound))
    return found


def _bound(watch: Watch, history: History | None) -> Bound | None:
    if watch.after is not None:
        return Bound(watch.after)
    return unusual_after(history.intervals, watch.floor, watch.spreads) if history else None


def _finding(sight: Sight, watch: Watch, row: Row, bound: Bound) -> Finding:
    def build() -> Event:
        told, asset = sight.told(watch), asset_of(row)
        return watched_assets.stale(told, asset, row["updated_at"], row["source_dag_id"], bound)

    return Finding(STALE, row["uri"], stamp(row["updated_at"]), build)


def stale_no_more(sight: Sight, ended: Open) -> Event:
    """The end of what was told: an update, or nobody watches it any more."""
    row = sight.assets.get(ended.subject) or {"uri": ended.subject, "name": ended.subject}
    since, updated_at = moment_in(ended.found), row.get("updated_at")
    if updated_at and updated_at > since:
        what = f"{ended.subject} was updated again, after {spoken(updated_at - since)}"
    else:
        what = f"{ended.subject} is no longer watched: its DAG is paused or gone, or the watches are others"
    finding_id = watched_assets.stale_id(ended.subject, since)
    told = Told(sight.deployment, sight.now, None)
    dag_id = row.get("source_dag_id")
    return watched_assets.asset_recovered(told, what, STALE, finding_id, asset_of(row), dag_id, since)


def asset_of(row: Row) -> Asset:
    return Asset(row["name"], row["uri"], row.get("group"))

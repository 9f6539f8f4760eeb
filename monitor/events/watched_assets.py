"""Events of assets that are not updated, and of updates that no run consumes."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from monitor.events.durations import spoken
from monitor.events.identity import digest, stamp
from monitor.events.model import Event
from monitor.events.watched import RECOVERED, Bound, Told, clock_time, own_event


@dataclass(frozen=True)
class Asset:
    name: str
    uri: str
    group: str | None


def stale_id(uri: str, updated_at: datetime) -> str:
    return f"asset_stale:{digest(uri, stamp(updated_at))}"


def stale(told: Told, asset: Asset, updated_at: datetime, dag_id: str | None, bound: Bound) -> Event:
    """An asset was not updated for too long."""
    data = {
        "what": f"{asset.uri} was not updated for {spoken(told.now - updated_at)}, {bound}",
        "since": stamp(updated_at),
        "dag_id": dag_id,
        "asset": asdict(asset),
        "updated_at": stamp(updated_at),
        **bound.data,
        "intervals": bound.count,
    }
    return own_event(told, stale_id(asset.uri, updated_at), "windsock.asset.stale", asset.uri, data)


def unconsumed_id(asset_event_id: int, dag_id: str) -> str:
    return f"asset_unconsumed:{asset_event_id}:{digest(dag_id)}"


def unconsumed(
    told: Told, asset: Asset, asset_event_id: int, updated_at: datetime, dag_id: str, after: timedelta
) -> Event:
    """An asset was updated, and a DAG that is scheduled on it did not run."""
    waits = spoken(told.now - updated_at)
    data = {
        "what": f"{asset.uri} was updated at {clock_time(updated_at)}, {waits} ago, and {dag_id} did not run",
        "since": stamp(updated_at),
        "dag_id": dag_id,
        "asset": asdict(asset),
        "asset_event_id": asset_event_id,
        "updated_at": stamp(updated_at),
        "after_seconds": after.total_seconds(),
    }
    event_id = unconsumed_id(asset_event_id, dag_id)
    return own_event(told, event_id, "windsock.asset.unconsumed", asset.uri, data)


def asset_recovered(
    told: Told, what: str, ended: str, finding_id: str, asset: Asset, dag_id: str | None, since: datetime
) -> Event:
    """An asset is no longer stale, or its update no longer without a run."""
    data = {
        "what": what,
        "since": stamp(since),
        "dag_id": dag_id,
        "asset": asdict(asset),
        "ended": ended,
        "lasted_seconds": (told.now - since).total_seconds(),
    }
    return own_event(told, finding_id + RECOVERED, "windsock.asset.recovered", asset.uri, data)

"""The queries of assets and of their updates, and the intervals between updates.

Each query is bounded: it reads a page, or the last HISTORY updates. Each query reads the log by an asset's
URI, newest first, and needs the index of (asset_uri, seq).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, false, func, not_, or_, select

from monitor.database.schema import assets, events
from monitor.database.statements import FETCHED, Row, take
from monitor.database.types import read_each
from monitor.event_log import cursor
from monitor.event_log.filters import UPDATED, AllowedDags, may_read, readable
from monitor.event_log.projections.state import find

RECENT = 20
"""Updates, the last that were logged, among which the latest is looked for: one may be reported late."""
_UNCOUNTED: Row = {"updates": None}


@dataclass(frozen=True)
class AssetName:
    """The identity of an asset: its URI and its Airflow deployment."""

    deployment: str
    uri: str


@dataclass(frozen=True)
class AssetUpdate:
    """An asset's update and its consequences, as far as the reader may see them."""

    seq: int
    asset_event_id: int
    timestamp: datetime
    name: str
    group: str | None
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    map_index: int | None
    extra: dict[str, Any]
    created_runs: tuple[dict[str, str], ...]
    """The runs, by `dag_id` and `run_id`."""


def asset(connection: Connection, name: AssetName, allowed_dags: AllowedDags = None) -> Row | None:
    """Return an asset as the updates that the reader may see left it, or None without such updates."""
    row = find(connection, assets, vars(name))
    if row is None or allowed_dags is None:
        return dict(row) if row else None
    if latest := asset_updates(connection, name, RECENT, allowed_dags=allowed_dags):
        return _build_asset_row(name, latest)
    is_kept = row["last_seq"] > cursor.state(connection).pruned_seq
    may_see = not is_kept and may_read(name.deployment, row["source_dag_id"], allowed_dags)
    return {**row, **_UNCOUNTED} if may_see else None


def asset_list(
    connection: Connection, limit: int, before: int | None = None, allowed_dags: AllowedDags = None
) -> list[Row]:
    """Return the assets that changed last, newest first.
    For a reader of some DAGs, each is as those DAGs' updates left it. The list is shorter than `limit` if an
    answer holds no more.

    The number of updates is left out for such a reader, because it counts updates by the other DAGs too."""
    if allowed_dags is None:
        return _rows(connection, limit, before)
    last = func.max(events.c.seq)
    query = (
        select(events.c.deployment, events.c.asset_uri)
        .where(events.c.asset_uri.is_not(None), events.c.type == UPDATED)
        .where(*readable(events.c.deployment, events.c.dag_id, allowed_dags))
        .group_by(events.c.deployment, events.c.asset_uri)
        .order_by(last.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.having(last < before)
    names = [AssetName(*row) for row in connection.execute(query)]
    found = take(
        _build_asset_row(name, asset_updates(connection, name, RECENT, allowed_dags=allowed_dags))
        for name in names
    )
    if len(found) == limit or len(found) < len(names):
        return found
    # After these come the last updates that the log has forgotten and the read model still has.
    forgotten = (
        assets.c.last_seq <= cursor.state(connection).pruned_seq,
        *readable(assets.c.deployment, assets.c.source_dag_id, allowed_dags),
    )
    rows = _rows(connection, limit - len(found), before, *forgotten)
    return found + [{**row, **_UNCOUNTED} for row in rows]


def _rows(
    connection: Connection, limit: int, before: int | None, *condition: ColumnElement[bool]
) -> list[Row]:
    query = select(assets).where(*condition)
    if before is not None:
        query = query.where(assets.c.last_seq < before)
    query = query.order_by(assets.c.last_seq.desc()).limit(limit).execution_options(yield_per=FETCHED)
    with connection.execute(query) as rows:
        return take(map(dict, rows.mappings()))


def _build_asset_row(name: AssetName, updates: Sequence[AssetUpdate]) -> Row:
    """Return the read model's row as these updates alone, newest first, would have left it."""
    newest, latest = updates[0], max(updates, key=lambda update: (update.timestamp, update.seq))
    return {
        **vars(name),
        "name": newest.name,
        "group": newest.group,
        "updated_at": latest.timestamp,
        "extra": latest.extra,
        **{f"source_{key}": getattr(latest, key) for key in ("dag_id", "run_id", "task_id")},
        "last_seq": newest.seq,
        **_UNCOUNTED,
    }


def asset_updates(
    connection: Connection,
    name: AssetName,
    limit: int,
    before: int | None = None,
    allowed_dags: AllowedDags = None,
) -> list[AssetUpdate]:
    """Return the updates that the reader may see, newest first.
    `before` is the seq of the page before. The list is shorter than `limit` if an answer holds no more."""
    query = _filter_by_asset(select(events.c.seq, events.c.time, events.c.body), name, allowed_dags)
    if before is not None:
        query = query.where(events.c.seq < before)
    query = query.order_by(events.c.seq.desc()).limit(limit).execution_options(yield_per=FETCHED)
    with connection.execute(query) as rows:
        return take(
            read_each(
                "events",
                rows,
                lambda row: _update(
                    name.deployment, row.seq, row.time, json.loads(row.body)["data"], allowed_dags
                ),
            )
        )


def asset_gaps(
    connection: Connection, name: AssetName, limit: int, allowed_dags: AllowedDags = None
) -> list[timedelta]:
    """Return the time from each of the last updates to the next, the latest first."""
    query = (
        _filter_by_asset(select(events.c.time), name, allowed_dags)
        .order_by(events.c.seq.desc())
        .limit(limit + 1)
    )
    return gaps(list(connection.execute(query).scalars()))


def can_read_comparison(
    connection: Connection, name: AssetName, asset_event_id: int, until: datetime, allowed_dags: AllowedDags
) -> bool:
    """Return True if the reader surely may see the update that a text compared this one with.
    That is so if the log has no earlier update that the reader may not see, and none can have been
    forgotten."""
    if allowed_dags is None:
        return True
    query = _filter_by_asset(select(events.c.id), name, None).where(
        events.c.time <= until, events.c.id != f"asset_event:{asset_event_id}"
    )
    (allowed,) = readable(events.c.deployment, events.c.dag_id, allowed_dags)
    hidden = or_(events.c.dag_id.is_(None), not_(allowed))
    if connection.execute(query.where(hidden).limit(1)).first():
        return False
    return not cursor.state(connection).pruned_seq or bool(connection.execute(query.limit(1)).first())


def gaps(moments: Sequence[datetime]) -> list[timedelta]:
    """Return the time between neighboring moments, the latest first."""
    return [later - earlier for later, earlier in pairwise(sorted(moments, reverse=True))]


# Odd on purpose: PostgreSQL holds a URI and a type for independent and expects few events of both, so that it
# would read and sort every update of the asset to show the last of them. Of this it guesses that half fit.
_IS_UPDATE = func.coalesce(events.c.type == UPDATED, false())


def _filter_by_asset(query: Select[Any], name: AssetName, allowed_dags: AllowedDags) -> Select[Any]:
    return query.where(
        events.c.asset_uri == name.uri,
        events.c.deployment == name.deployment,
        _IS_UPDATE,
        *readable(events.c.deployment, events.c.dag_id, allowed_dags),
    )


def _update(
    deployment: str, seq: int, time: datetime, data: dict[str, Any], allowed_dags: AllowedDags
) -> AssetUpdate:
    began = ((run["dag_id"], run["run_id"]) for run in data.get("created_dagruns") or ())
    return AssetUpdate(
        seq=seq,
        asset_event_id=data["asset_event_id"],
        timestamp=time,
        name=data["asset"]["name"],
        group=data["asset"].get("group"),
        dag_id=data.get("source_dag_id"),
        run_id=data.get("source_run_id"),
        task_id=data.get("source_task_id"),
        map_index=data.get("source_map_index"),
        extra=data.get("extra") or {},
        created_runs=tuple(
            {"dag_id": dag_id, "run_id": run_id}
            for dag_id, run_id in began
            if allowed_dags is None or (deployment, dag_id) in allowed_dags
        ),
    )

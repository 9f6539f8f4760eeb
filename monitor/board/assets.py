"""An asset's updates, as the log has them, and their rhythm. Bounded: a page, or the last HISTORY of them.

Each query here reads the log by an asset's URI, newest first, which wants an index of (asset_uri, seq).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Select, false, func, select

from monitor.board.rows import Row, find
from monitor.database.schema import assets, events
from monitor.event_log import UPDATED, Visible, readable


@dataclass(frozen=True)
class AssetName:
    """Which asset, of which Airflow."""

    deployment: str
    uri: str


@dataclass(frozen=True)
class AssetUpdate:
    """One update, and what came of it as far as the reader may see it."""

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
    began: tuple[dict[str, str], ...]
    """The runs, by `dag_id` and `run_id`."""


def asset(connection: Connection, name: AssetName) -> Row | None:
    """What the board has of it; it may tell of an update that the reader may not see."""
    row = find(connection, assets, vars(name))
    return dict(row) if row else None


def asset_updates(
    connection: Connection, name: AssetName, limit: int, before: int | None = None, visible: Visible = None
) -> list[AssetUpdate]:
    """The updates that the reader may see, newest first; `before` is the seq of the page before."""
    query = _of(select(events.c.seq, events.c.time, events.c.body), name, visible)
    if before is not None:
        query = query.where(events.c.seq < before)
    rows = connection.execute(query.order_by(events.c.seq.desc()).limit(limit))
    return [
        _update(name.deployment, row.seq, row.time, json.loads(row.body)["data"], visible) for row in rows
    ]


def asset_gaps(
    connection: Connection, name: AssetName, limit: int, visible: Visible = None
) -> list[timedelta]:
    """From each of the last updates to the next, the latest first."""
    query = _of(select(events.c.time), name, visible).order_by(events.c.seq.desc()).limit(limit + 1)
    return gaps(list(connection.execute(query).scalars()))


def gaps(moments: Sequence[datetime]) -> list[timedelta]:
    return [later - earlier for later, earlier in pairwise(sorted(moments, reverse=True))]


# Odd on purpose: PostgreSQL holds a URI and a type for independent and expects few events of both, so that it
# would read and sort every update of the asset to show the last of them. Of this it guesses that half fit.
_IS_UPDATE = func.coalesce(events.c.type == UPDATED, false())


def _of(query: Select[Any], name: AssetName, visible: Visible) -> Select[Any]:
    return query.where(
        events.c.asset_uri == name.uri,
        events.c.deployment == name.deployment,
        _IS_UPDATE,
        *readable(events.c.deployment, events.c.dag_id, visible),
    )


def _update(deployment: str, seq: int, time: datetime, data: dict[str, Any], visible: Visible) -> AssetUpdate:
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
        began=tuple(
            {"dag_id": dag_id, "run_id": run_id}
            for dag_id, run_id in began
            if visible is None or (deployment, dag_id) in visible
        ),
    )

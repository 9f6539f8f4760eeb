"""The filters of events, and the reader's permissions, as SQL and in memory.

`Filter` holds the globs of a query. `conditions` and `readable` give the filter and the permissions as SQL,
and `may_read` checks the permissions on a row that has been read.

Every table with DAGs is filtered by `readable`: events, runs, incidents, deliveries, decisions and silences.
What a reader may read (`AllowedDags`) comes from web/auth/permissions.py, through `get_permissions`.

`redact_body` removes from an asset's update the runs that the reader may not see. The update names the runs
that it created, and those may belong to other DAGs.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, or_

from monitor.database.schema import events
from monitor.database.types import UNREADABLE, note_unreadable, read_each

AllowedDags = frozenset[tuple[str, str]] | None
"""The (deployment, dag_id) pairs that a user may read. None means everything."""

UPDATED = "airflow.asset.updated"


def readable(
    deployment: ColumnElement[str], dag_id: ColumnElement[Any], allowed_dags: AllowedDags
) -> list[ColumnElement[bool]]:
    """Return the reader's rights as SQL, over any table's columns."""
    if allowed_dags is None:
        return []
    allowed: dict[str, list[str]] = {}
    for name, dag in sorted(allowed_dags):
        allowed.setdefault(name, []).append(dag)
    return [or_(false(), *((deployment == name) & dag_id.in_(dags) for name, dags in allowed.items()))]


def may_read(deployment: str, dag_id: str | None, allowed_dags: AllowedDags) -> bool:
    """Return True if the reader may see a row with these names."""
    return allowed_dags is None or (deployment, dag_id) in allowed_dags


def redact_body(kind: str, body: str, allowed_dags: AllowedDags) -> str:
    """Return an event's body without what the reader may not see.
    An asset's update also names the runs that it began, and those may be of other DAGs."""
    if allowed_dags is None or kind != UPDATED:
        return body
    try:
        event = json.loads(body)
        deployment, began = _parse_created_runs(event)
        seen = [run for run in began if (deployment, run["dag_id"]) in allowed_dags]
    except UNREADABLE as error:
        note_unreadable("events", None, error)
        return "{}"  # it is unknown what the event names
    if len(seen) == len(began):
        return body
    event["data"]["created_dagruns"] = seen
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def began_by(body: str) -> Iterator[tuple[str, str]]:
    """Yield the DAGs, by deployment and dag_id, whose runs an asset's update began."""
    for deployment, began in read_each("events", [body], lambda text: _parse_created_runs(json.loads(text))):
        yield from ((deployment, run["dag_id"]) for run in began if isinstance(run.get("dag_id"), str))


def _parse_created_runs(event: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    return event["source"].rpartition("/")[2], event["data"].get("created_dagruns") or []


FILTERS = ("deployment", "type", "dag_id", "run_id", "task_id", "state", "asset")


@dataclass(frozen=True)
class Filter:
    """A filter by globs. One value of each given attribute must match. An empty filter takes all events."""

    globs: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def from_values(cls, **values: Sequence[str]) -> "Filter":
        """Return the filter of these values. An attribute without values is left out."""
        return cls(tuple((name, tuple(globs)) for name, globs in values.items() if globs))


def conditions(
    connection: Connection, event_filter: Filter, allowed_dags: AllowedDags
) -> list[ColumnElement[bool]]:
    """Return the filter and the reader's rights as SQL."""
    clauses = [
        like_any(connection, events.c["asset_uri" if name == "asset" else name], globs)
        for name, globs in event_filter.globs
    ]
    return [*clauses, *readable(events.c.deployment, events.c.dag_id, allowed_dags)]


def like_any(connection: Connection, column: ColumnElement[Any], globs: Sequence[str]) -> ColumnElement[bool]:
    """Return SQL that is true if one of these globs matches, over any table's column.
    `globs` holds at least one."""
    return or_(*(_like(connection, column, glob) for glob in globs))


def _like(connection: Connection, column: ColumnElement[Any], glob: str) -> ColumnElement[bool]:
    """Return SQL for a case-sensitive glob with * and ? only, in the database's own dialect."""
    if not set(glob) & {"*", "?"}:
        return column == glob
    if connection.dialect.name == "sqlite":
        return column.op("GLOB", is_comparison=True)(glob.replace("[", "[[]"))
    # No regular expression: PostgreSQL takes minutes for one of a thousand stars, and any reader may send it.
    pattern = re.sub(r"([\\%_])", r"\\\1", glob).replace("*", "%").replace("?", "_")
    return column.like(pattern, escape="\\")

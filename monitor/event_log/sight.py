"""What a reader may see, by the DAGs that Airflow shows to whom is signed in."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, false, or_

Visible = frozenset[tuple[str, str]] | None
"""The (deployment, dag_id) pairs that a user may read; None: everything."""

UPDATED = "airflow.asset.updated"


def readable(
    deployment: ColumnElement[str], dag_id: ColumnElement[Any], visible: Visible
) -> list[ColumnElement[bool]]:
    """The reader's rights as SQL, over any table's columns."""
    if visible is None:
        return []
    allowed: dict[str, list[str]] = {}
    for name, dag in sorted(visible):
        allowed.setdefault(name, []).append(dag)
    return [or_(false(), *((deployment == name) & dag_id.in_(dags) for name, dags in allowed.items()))]


def may_read(deployment: str, dag_id: str | None, visible: Visible) -> bool:
    """The same of one row that has been read."""
    return visible is None or (deployment, dag_id) in visible


def seen_body(kind: str, body: str, visible: Visible) -> str:
    """What a reader is told of an event that the reader may see: an asset's update also names the runs that
    it began, and those may be of other DAGs."""
    if visible is None or kind != UPDATED:
        return body
    event = json.loads(body)
    deployment, began = _begun(event)
    seen = [run for run in began if (deployment, run["dag_id"]) in visible]
    if len(seen) == len(began):
        return body
    event["data"]["created_dagruns"] = seen
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def began_by(body: str) -> Iterator[tuple[str, str]]:
    """The DAGs, by deployment and dag_id, whose runs an asset's update began."""
    deployment, began = _begun(json.loads(body))
    yield from ((deployment, run["dag_id"]) for run in began if isinstance(run.get("dag_id"), str))


def _begun(event: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    return event["source"].rpartition("/")[2], event["data"].get("created_dagruns") or []

"""The read model of DAGs: the paused state, and the tags, owners and schedule from Airflow's listing."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, bindparam, cast, exists, insert, select, union, update

from monitor.database.schema import dag_runs, dags
from monitor.database.statements import KeyLookup, Row
from monitor.event_log.projections.state import LoggedData, find, save_row
from monitor.events.data import DagPauseData
from monitor.events.event import Event
from monitor.rules.matching import MatchSubject


def apply_pauses(connection: Connection, logged: Sequence[LoggedData[DagPauseData]]) -> None:
    """Apply pauses and their ends to the read model of DAGs."""
    for seq, event, data in logged:
        key = {"deployment": event.deployment, "dag_id": data.dag_id}
        old = find(connection, dags, key)
        counted = f"times_{data.state}"
        row: Row = {"is_paused": data.state == "paused", "last_seq": seq}
        row |= {} if old else {"times_paused": 0, "times_unpaused": 0}
        save_row(connection, dags, key, row | {counted: (old[counted] if old else 0) + 1}, old)


def dag(connection: Connection, deployment: str, dag_id: str) -> Row | None:
    """Return the row of a DAG, or None if the DAG was never seen."""
    row = find(connection, dags, {"deployment": deployment, "dag_id": dag_id})
    return dict(row) if row else None


def load_dags(connection: Connection, deployment: str) -> dict[str, Row]:
    """Return every DAG that was ever seen, by its dag_id."""
    query = select(dags).where(dags.c.deployment == deployment)
    return {row["dag_id"]: dict(row) for row in connection.execute(query).mappings()}


def find_partitioned_dags(connection: Connection, deployment: str) -> set[str]:
    """Return the DAGs whose runs are begun by partitions of assets."""
    query = select(dags.c.dag_id).where(dags.c.deployment == deployment, dags.c.is_partitioned)
    return set(connection.execute(query).scalars())


def see_dags(connection: Connection, deployment: str, new: Mapping[str, Row]) -> None:
    """Insert rows for DAGs that were not seen before.
    A row holds the facts of Airflow's list (`update_dags`) and whether the DAG is paused. The paused state
    is the one fact in the read models that may come without an event."""
    defaults: Row = {"deployment": deployment, "times_paused": 0, "times_unpaused": 0, "last_seq": None}
    if new:
        connection.execute(
            insert(dags), [{**defaults, "dag_id": dag_id, **row} for dag_id, row in new.items()]
        )


LISTED = ("tags", "owners", "schedule", "next_run_after", "is_stale", "is_partitioned", "seen_at")
_UPDATE = (
    update(dags)
    .where(dags.c.deployment == bindparam("at_deployment"), dags.c.dag_id == bindparam("at_dag_id"))
    .values({name: bindparam(name) for name in LISTED})
)


def update_dags(connection: Connection, deployment: str, changed: Mapping[str, Row]) -> None:
    """Keep what Airflow's list says of known DAGs now: LISTED, all of it."""
    if changed:
        rows = [
            {"at_deployment": deployment, "at_dag_id": dag_id, **{name: row[name] for name in LISTED}}
            for dag_id, row in changed.items()
        ]
        connection.execute(_UPDATE, rows)


def strangers(connection: Connection, deployment: str, after: int, limit: int) -> set[str]:
    """Return DAGs that had a run reported after this seq and of which nothing else is known."""
    has_row = exists().where(dags.c.deployment == dag_runs.c.deployment, dags.c.dag_id == dag_runs.c.dag_id)
    query = select(dag_runs.c.dag_id).where(
        dag_runs.c.last_seq > after, dag_runs.c.deployment == deployment, ~has_row
    )
    return set(connection.execute(query.limit(limit)).scalars())


def every_dag(connection: Connection) -> frozenset[tuple[str, str]]:
    """Return each (deployment, dag_id) that Airflow's lists or a reported run have named."""
    all_dags = union(
        select(dags.c.deployment, dags.c.dag_id), select(dag_runs.c.deployment, dag_runs.c.dag_id)
    )
    return frozenset((row.deployment, row.dag_id) for row in connection.execute(all_dags))


_AT = ("deployment", "dag_id")
_DAGS = KeyLookup(dags, _AT, columns=(*_AT, "tags", "owners"))


def find_labels(connection: Connection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], Row]:
    """Return the tags and owners of each of these (deployment, dag_id), if Airflow's list has shown them."""
    return {(row["deployment"], row["dag_id"]): row for row in _DAGS.rows(connection, names)}


def has_owner(deployment: ColumnElement[str], dag_id: ColumnElement[Any], owner: str) -> ColumnElement[bool]:
    """Return the condition that the DAG of a row has this owner, whatever its case, by the JSON text."""
    return exists().where(
        dags.c.deployment == deployment,
        dags.c.dag_id == dag_id,
        cast(dags.c.owners, Text).icontains(json.dumps(owner), autoescape=True),
    )


def facts_of(connection: Connection, event: Event) -> MatchSubject:
    """Return the subject for rule matching, with the DAG's tags and owners if they are known."""
    return facts_of_all(connection, [event])[0]


def facts_of_all(connection: Connection, events: Sequence[Event]) -> list[MatchSubject]:
    """Return the subject for rule matching of each event, in order."""
    names = [(event.deployment, event.dag_id) for event in events]
    found = _DAGS.rows(connection, {name for name in names if name[1]})
    rows_by_dag = {(row["deployment"], row["dag_id"]): row for row in found}
    return [
        MatchSubject.from_event(event, rows_by_dag.get(name))
        for event, name in zip(events, names, strict=True)
    ]

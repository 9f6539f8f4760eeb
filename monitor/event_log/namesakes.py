"""Two things that claim one id. Both are kept: which of them is true, Airflow says.

An id is made of what its thing is, but a task's UUID and Airflow's numbers are taken as reported. Whoever may
report could take the id of another task's failure beforehand; so a duplicate is one only where it is of the
same thing. What is not is logged under its id and the digest of what it is, which nothing else can take.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from monitor.database.bulk import LookUp
from monitor.database.schema import events as table
from monitor.event_log.reading import known
from monitor.events import Event
from monitor.events.data import AssetUpdatedData, BackfillCompletedData, Data, TaskInstanceData
from monitor.events.identity import digest

Name = tuple[str, str]
"""source and id"""

OF_WHAT: dict[type[Data], dict[str, Any]] = {
    TaskInstanceData: {"dag_id": None, "run_id": None, "task_id": None, "map_index": -1},
    AssetUpdatedData: dict.fromkeys(("source_dag_id", "source_run_id", "source_task_id", "source_map_index")),
    BackfillCompletedData: {"dag_id": None},
}
"""The fields that say what an event is of where its id does not hold them all, and what an absent one means.
Of other types the id does, so that only another type can be another thing."""

ENDED_TRY = {"try_number": None}
NOT_FINAL = ("running", "up_for_retry")
"""A try that failed while it was queued keeps its UUID, and Airflow's number of it changes until it is over
(measured on 3.2.2)."""

_LOGGED = LookUp(table, ("source", "id"), columns=("source", "id", "type", "asset_uri", "body"))


def namesakes(connection: Connection, duplicates: Sequence[Event]) -> list[Event | None]:
    """Each of these events, in their order, under an id of its own where the log has its id for another
    thing; None where it is of the same."""
    logged = _logged(connection, duplicates)
    return [
        event.renamed(_own_id(event)) if row and not _is_of_same(row, event) else None
        for event in duplicates
        for row in [logged.get((event.source, event.id))]
    ]


def lacking(connection: Connection, events: Iterable[Event]) -> set[str]:
    """The ids of those of these events that the log lacks, or has for another thing only: what the reconciler
    asks."""
    asked = list(events)
    logged = _logged(connection, asked)
    lacks = {event.id for event in asked if (event.source, event.id) not in logged}
    apart = {
        (event.source, _own_id(event)): event.id
        for event in asked
        if event.id not in lacks and not _is_of_same(logged[event.source, event.id], event)
    }
    there = known(connection, apart)
    return lacks | {event_id for name, event_id in apart.items() if name not in there}


def _logged(connection: Connection, events: Iterable[Event]) -> dict[Name, Mapping[str, Any]]:
    names = {(event.source, event.id) for event in events}
    return {(row["source"], row["id"]): row for row in _LOGGED.rows(connection, names)}


def _own_id(event: Event) -> str:
    return f"{event.id}:{digest(event.type, event.asset_uri or '', *map(str, _of_what(event)))}"


def _of_what(event: Event) -> list[Any]:
    return [event.get(name) for name in _fields_of(event)]


def _fields_of(event: Event) -> dict[str, Any]:
    fields = OF_WHAT.get(type(event.data), {})
    if isinstance(event.data, TaskInstanceData) and event.data.state not in NOT_FINAL:
        return fields | ENDED_TRY
    return fields


def _is_of_same(row: Mapping[str, Any], event: Event) -> bool:
    fields = _fields_of(event)
    if row["type"] != event.type or not fields:
        return bool(row["type"] == event.type)
    if row["asset_uri"] != event.asset_uri:
        return False
    data = json.loads(row["body"])["data"]
    return [data.get(name, absent) for name, absent in fields.items()] == _of_what(event)

"""The conflicts of ids: one id that two different things claim, and the second id for one of them.

A task's UUID is taken as it is reported. So anybody who may report could claim the id of another task's
failure beforehand. An event is therefore a duplicate only if it is about the same thing. Any other event is
logged under the id and the digest of its subject, which nothing else can claim. So both are logged, and
Airflow says which of the two is true.

Two differences make no conflict, because Airflow itself changes them under one UUID. The first is the number
of a try that failed while it was queued. The second is the index of a mapped task, which is -1 until the
task is expanded, and 0 then.

A run that is reported as a test differs from the same run in production, because tests notify no one."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from monitor.database.schema import events as table
from monitor.database.statements import KeyLookup
from monitor.database.types import read_each
from monitor.event_log.append import line_of, name_of
from monitor.event_log.read import LINE, LogRow, find_logged
from monitor.events.data import DATA, TEST, DagRunData, TaskInstanceData
from monitor.events.event import Event
from monitor.events.identity import digest

UNKNOWN = "unreadable"
"""The thing of a row that cannot be read. It counts as another thing, so the event is logged as well."""
Thing = tuple[str, ...]
"""The thing that an event is about: its type and names."""

_LOGGED = KeyLookup(table, ("source", "id"), columns=("source", "id", *(column.name for column in LINE)))


def conflicting(connection: Connection, duplicates: Sequence[Event]) -> list[Event | None]:
    """Return each event, in order, under an id of its own if the log has its id for another thing.
    None stands for an event whose id the log has for the same thing."""
    logged = _logged(connection, duplicates)
    return [event.rename(_own_id(event)) if _is_conflict(logged, event) else None for event in duplicates]


def lacking(connection: Connection, events: Iterable[Event]) -> set[str]:
    """Return the ids of the events that the log lacks, or has for another thing only.
    The reconciler uses this."""
    candidates = list(events)
    logged = _logged(connection, candidates)
    new = {event.id for event in candidates if name_of(event) not in logged}
    apart = {(event.source, _own_id(event)): event.id for event in candidates if _is_conflict(logged, event)}
    there = find_logged(connection, apart)
    return new | {event_id for name, event_id in apart.items() if name not in there}


def _logged(connection: Connection, events: Iterable[Event]) -> dict[tuple[str, str], Thing]:
    """Return the thing for which the log has each of these ids, by source and id."""
    rows = _LOGGED.rows(connection, {name_of(event) for event in events})
    return {
        (row["source"], row["id"]): _thing(LogRow(*(row[column.name] for column in LINE))) for row in rows
    }


def _is_conflict(logged: Mapping[tuple[str, str], Thing], event: Event) -> bool:
    thing = _of(event)
    return logged.get(name_of(event), thing) != thing


def _own_id(event: Event) -> str:
    return f"{event.id}:{digest(*_of(event))}"


def _of(event: Event) -> Thing:
    return _thing(line_of(0, event))


def _thing(line: LogRow) -> Thing:
    names = (line.type, line.dag_id, line.run_id, line.task_id, _besides(line))
    return tuple("" if name is None else str(name) for name in names)


def _besides(line: LogRow) -> Any:
    """Return the value that distinguishes two things of one type and the same names."""
    return next(read_each("events", [line], _read_besides), UNKNOWN)


def _read_besides(line: LogRow) -> Any:
    shape = DATA.get(line.type)
    if shape is TaskInstanceData:
        return max(0, json.loads(line.body)["data"].get("map_index", 0))
    if shape is DagRunData:
        return json.loads(line.body)["data"].get("run_type") == TEST
    return None

"""What the log said last of one occurrence of a run, or of one try of a task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table

from monitor.board.rows import Row
from monitor.board.states import NO_ENDS, occurrence_of
from monitor.database.bulk import LookUp
from monitor.database.schema import dag_runs, task_instances
from monitor.events import Event
from monitor.events.data import DagRunData, TaskInstanceData

_LOOK_UP = {table: LookUp(table, table.primary_key.columns.keys()) for table in (dag_runs, task_instances)}


@dataclass(frozen=True)
class LastWord:
    state: str
    seq: int


def is_end(event: Event) -> bool:
    """Whether it tells of a run or a task that has ended."""
    return isinstance(event.data, DagRunData | TaskInstanceData) and event.data.state not in NO_ENDS


def last_words(connection: Connection, events: Sequence[Event]) -> dict[str, LastWord]:
    """By the event's id, what was said last of the very run or try that it is about, where that has not begun
    anew since. One statement for runs and one for tasks."""
    by_table: dict[Table, list[Event]] = {dag_runs: [], task_instances: []}
    for event in events:
        by_table[dag_runs if isinstance(event.data, DagRunData) else task_instances].append(event)
    return {
        event.id: LastWord(row["state"], row["last_seq"])
        for table, some in by_table.items()
        for event, row in _rows_of(connection, table, some)
        if row["run_key" if table is dag_runs else "ti_id"] == _occurrence(event)
    }


def _rows_of(connection: Connection, table: Table, events: Sequence[Event]) -> Iterator[tuple[Event, Row]]:
    """Each event of a run or a task with its row, where there is one."""
    names = table.primary_key.columns.keys()
    keys = [(event.deployment, *(event.get(name) for name in names[1:])) for event in events]
    rows = _LOOK_UP[table].rows(connection, set(keys))
    found = {tuple(row[name] for name in names): row for row in rows}
    yield from ((event, found[key]) for event, key in zip(events, keys, strict=True) if key in found)


def _occurrence(event: Event) -> str:
    if isinstance(event.data, DagRunData):
        return occurrence_of(event.data)
    return str(event.get("ti_id"))

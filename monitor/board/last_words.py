"""What the log said last of one occurrence of a run, or of one try of a task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, or_, select

from monitor.board.rows import at
from monitor.board.states import NO_ENDS, occurrence_of
from monitor.database.schema import dag_runs, task_instances
from monitor.events import Event
from monitor.events.data import DagRunData, TaskInstanceData

KEYS_A_QUERY = 100  # a page of Airflow's; SQLite bounds an expression's depth at 1,000


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


def _rows_of(
    connection: Connection, table: Table, events: Sequence[Event]
) -> Iterator[tuple[Event, RowMapping]]:
    """Each event of a run or a task with its row, where there is one."""
    names = [column.name for column in table.primary_key]
    for start in range(0, len(events), KEYS_A_QUERY):
        some = events[start : start + KEYS_A_QUERY]
        keys = [(event.deployment, *(event.get(name) for name in names[1:])) for event in some]
        # Not `(a, b) IN (…)`, for which SQLite reads the whole table; each of these is a look-up.
        place = or_(*(at(table, dict(zip(names, key, strict=True))) for key in keys))
        rows = connection.execute(select(table).where(place)).mappings()
        found = {tuple(row[name] for name in names): row for row in rows}
        yield from ((event, found[key]) for event, key in zip(some, keys, strict=True) if key in found)


def _occurrence(event: Event) -> str:
    if isinstance(event.data, DagRunData):
        return occurrence_of(event.data)
    return str(event.get("ti_id"))

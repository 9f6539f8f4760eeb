"""What the dashboard reads: the state of runs, tasks and assets, always a function of the log.

Reports come out of order and from several reporters, so a row gives way only to what is later: a later
occurrence or try, or in the same one a state that does not fall back from an end to `running`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, and_, insert, or_, select, update

from monitor.database.schema import assets, dag_runs, task_instances
from monitor.event_log import Visible, readable
from monitor.events import Event
from monitor.events.data import AssetData, AssetUpdatedData, DagRunData, TaskInstanceData
from monitor.events.identity import run_key

RUNNING = "running"
RUN_ENDS = ("success", "failed")
NO_ENDS = (RUNNING, "up_for_retry")
KEYS_A_QUERY = 100  # a page of Airflow's; SQLite bounds an expression's depth at 1,000
BEGINNING = datetime.min.replace(tzinfo=timezone.utc)

Row = dict[str, Any]


@dataclass(frozen=True)
class RunName:
    """Which run, of which Airflow."""

    deployment: str
    dag_id: str
    run_id: str


@dataclass(frozen=True)
class LastWord:
    """What the log said last of one occurrence of a run, or of one try of a task."""

    state: str
    seq: int


def apply(connection: Connection, seq: int, event: Event) -> None:
    """Bring the board up to this event, which has just been logged under this seq."""
    match event.data:
        case DagRunData():
            _apply_run(connection, seq, event, event.data)
        case TaskInstanceData():
            _apply_task(connection, seq, event, event.data)
        case AssetData():
            _apply_asset(connection, seq, event, event.data)


def _apply_run(connection: Connection, seq: int, event: Event, data: DagRunData) -> None:
    key = {"deployment": event.deployment, "dag_id": data.dag_id, "run_id": data.run_id}
    row = {
        "run_key": _run_key(data),
        "state": data.state,
        "run_type": data.run_type,
        "logical_date": data.logical_date,
        "queued_at": data.queued_at,
        "start_date": data.start_date,
        "end_date": data.end_date,
        "message": data.message,
        "last_seq": seq,
    }
    old = _find(connection, dag_runs, key)
    if old is None or not _run_is_older(row, old):
        _put(connection, dag_runs, key, row, old)


def _run_is_older(new: Row, old: RowMapping) -> bool:
    if new["run_key"] != old["run_key"]:
        return _began(new) < _began(old)
    return _falls_back(new, old)


def _began(row: Row | RowMapping) -> datetime:
    moment: datetime = row["start_date"] or row["queued_at"] or BEGINNING
    return moment


def _apply_task(connection: Connection, seq: int, event: Event, data: TaskInstanceData) -> None:
    key = {
        "deployment": event.deployment,
        "dag_id": data.dag_id,
        "run_id": data.run_id,
        "task_id": data.task_id,
        "map_index": data.map_index,
    }
    row = {
        "ti_id": data.ti_id,
        "try_number": data.try_number,
        "max_tries": data.max_tries,
        "state": data.state,
        "operator": data.operator,
        "hostname": data.hostname,
        "start_date": data.start_date,
        "end_date": data.end_date,
        "error": data.error.model_dump() if data.error else None,
        "last_seq": seq,
    }
    old = _find(connection, task_instances, key)
    if old is None or not _task_is_older(row, old):
        _put(connection, task_instances, key, row, old)


def _task_is_older(new: Row, old: RowMapping) -> bool:
    if new["try_number"] != old["try_number"]:
        return bool(new["try_number"] < old["try_number"])
    return bool(new["ti_id"] == old["ti_id"]) and _falls_back(new, old)


def _falls_back(new: Row, old: RowMapping) -> bool:
    return bool(new["state"] == RUNNING and old["state"] != RUNNING)


def _apply_asset(connection: Connection, seq: int, event: Event, data: AssetData) -> None:
    key = {"deployment": event.deployment, "uri": data.asset.uri}
    old = _find(connection, assets, key)
    row: Row = {"name": data.asset.name, "group": data.asset.group, "last_seq": seq}
    if isinstance(data, AssetUpdatedData):
        row["updates"] = (old["updates"] if old else 0) + 1
        if old is None or (old["updated_at"] or BEGINNING) <= data.timestamp:
            row |= {
                "updated_at": data.timestamp,
                "extra": data.extra,
                "source_dag_id": data.source_dag_id,
                "source_run_id": data.source_run_id,
                "source_task_id": data.source_task_id,
            }
    elif old is None:
        row["updates"] = 0
    _put(connection, assets, key, row, old)


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
        place = or_(*(_at(table, dict(zip(names, key, strict=True))) for key in keys))
        rows = connection.execute(select(table).where(place)).mappings()
        found = {tuple(row[name] for name in names): row for row in rows}
        yield from ((event, found[key]) for event, key in zip(some, keys, strict=True) if key in found)


def _run_key(data: DagRunData) -> str:
    return run_key(data.dag_id, data.run_id, data.start_date, data.queued_at)


def _occurrence(event: Event) -> str:
    if isinstance(event.data, DagRunData):
        return _run_key(event.data)
    return str(event.get("ti_id"))


def _at(table: Table, key: Row) -> Any:
    return and_(*(table.c[name] == value for name, value in key.items()))


def _find(connection: Connection, table: Table, key: Row) -> RowMapping | None:
    return connection.execute(select(table).where(_at(table, key))).mappings().one_or_none()


def _put(connection: Connection, table: Table, key: Row, row: Row, old: RowMapping | None) -> None:
    if old is None:
        connection.execute(insert(table).values({**key, **row}))
    else:
        connection.execute(update(table).where(_at(table, key)).values(row))


def runs(
    connection: Connection,
    limit: int,
    before: int | None = None,
    dag_id: str | None = None,
    state: str | None = None,
    visible: Visible = None,
) -> list[Row]:
    """The runs that changed last, newest first; `before` is the last_seq of the page before."""
    query = select(dag_runs).where(*readable(dag_runs.c.deployment, dag_runs.c.dag_id, visible))
    if before is not None:
        query = query.where(dag_runs.c.last_seq < before)
    if dag_id is not None:
        query = query.where(dag_runs.c.dag_id == dag_id)
    if state is not None:
        query = query.where(dag_runs.c.state == state)
    query = query.order_by(dag_runs.c.last_seq.desc()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def run(connection: Connection, name: RunName) -> Row | None:
    """One run, or None where the board does not know it."""
    row = _find(connection, dag_runs, vars(name))
    return dict(row) if row else None


def tasks(connection: Connection, name: RunName) -> list[Row]:
    """The latest try of each task of a run, in the order in which they began."""
    query = (
        select(task_instances)
        .where(_at(task_instances, vars(name)))
        .order_by(task_instances.c.start_date, task_instances.c.task_id, task_instances.c.map_index)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def asset_list(
    connection: Connection, limit: int, before: int | None = None, visible: Visible = None
) -> list[Row]:
    """The assets that changed last, newest first; one belongs to the DAG that last updated it."""
    query = select(assets).where(*readable(assets.c.deployment, assets.c.source_dag_id, visible))
    if before is not None:
        query = query.where(assets.c.last_seq < before)
    return [
        dict(row)
        for row in connection.execute(query.order_by(assets.c.last_seq.desc()).limit(limit)).mappings()
    ]

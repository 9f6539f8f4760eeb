"""The read models of runs, tasks and assets: their update with each event, and their pruning by age.

`apply_runs`, `apply_tasks` and `apply_assets` update the rows. Reports come out of order and from several
reporters, so a row is replaced only by a later report. A report is later if it is of a later occurrence or
try. Within the same occurrence or try, an end is never replaced by `running`. Two ends of the same try have
no order except their arrival, because Airflow keeps `end_date` when a state is set by hand.

The database compares old and new rows during the write, one event after the other. So nothing is read before
the write, and a batch is one statement for each table.

`forget_runs`, `forget_tasks`, `forget_tries`, `forget_assets` and `forget_import_errors` delete what is old:
ended runs with their tasks and tries, assets without updates, mended files. A row's age follows from its
`last_seq` (`seq_by` in event_log/append.py). The rows are kept at least as long as the log (settings.py).
While a row exists, a second report of the same end is recognized as a duplicate (tries.py). After that,
everything that the reconciler finds about the row is older than what is reported.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    case,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from monitor.database.schema import assets, dag_runs, import_errors, task_instances, tries, watch_findings
from monitor.database.statements import BulkInsert, Key, Row, SweepResult, oldest, replacing, walk
from monitor.database.types import UtcDateTime
from monitor.events.data import (
    DELETED,
    MAX_KEY,
    MAX_LABEL,
    MAX_MESSAGE,
    MAX_TRACE,
    AssetData,
    AssetUpdatedData,
    DagRunData,
    Data,
    TaskInstanceData,
)
from monitor.events.event import Event
from monitor.events.identity import run_key
from monitor.plain_text import cut, cut_start

D = TypeVar("D", bound=Data)
LoggedData: TypeAlias = tuple[int, Event, D]
"""An event that has just been logged: its seq, itself, its data by its type."""


def match_key(table: Table, key: Row) -> Any:
    """Return SQL that matches the row with this key."""
    return and_(*(table.c[name] == value for name, value in key.items()))


def find(connection: Connection, table: Table, key: Row) -> RowMapping | None:
    """Return the row with this key, or None."""
    return connection.execute(select(table).where(match_key(table, key))).mappings().one_or_none()


def save_row(connection: Connection, table: Table, key: Row, row: Row, old: RowMapping | None) -> None:
    """Insert the row, or update it if there was an old one."""
    if old is None:
        connection.execute(insert(table).values({**key, **row}))
    else:
        connection.execute(update(table).where(match_key(table, key)).values(row))


RUNNING = "running"
RUN_ENDS = ("success", "failed")
OVER = (*RUN_ENDS, DELETED)
NO_ENDS = (RUNNING, "up_for_retry")
_RUNNING: Any = literal_column(f"'{RUNNING}'")
_BEGINNING: Any = literal_column("'0001-01-01 00:00:00'", UtcDateTime)  # before each moment that events hold


def falls_not_back(old: Table, new: Any) -> Any:
    """Return SQL that is true unless a new row of the same occurrence or try returns to `running`."""
    return or_(new.state != _RUNNING, old.c.state == _RUNNING)


def _is_later_run(new: Any) -> Any:
    same = dag_runs.c.run_key == new.run_key, falls_not_back(dag_runs, new)
    return case(same, else_=_began(new) >= _began(dag_runs.c))


def _began(row: Any) -> Any:
    return func.coalesce(row.start_date, row.queued_at, _BEGINNING)


def _is_later_task(new: Any) -> Any:
    same = task_instances.c.ti_id == new.ti_id, falls_not_back(task_instances, new)
    return case(same, else_=new.try_number >= task_instances.c.try_number)


_PUT_RUN = BulkInsert(dag_runs, replacing(dag_runs, _is_later_run))
_PUT_TASK = BulkInsert(task_instances, replacing(task_instances, _is_later_task))


def apply_runs(connection: Connection, logged: Sequence[LoggedData[DagRunData]]) -> None:
    """Apply runs' state changes to the read model."""
    rows: list[Row] = [
        {
            "deployment": event.deployment,
            "dag_id": data.dag_id,
            "run_id": data.run_id,
            "run_key": occurrence_of(data),
            "state": data.state,
            "run_type": data.run_type,
            "logical_date": data.logical_date,
            "queued_at": event.passed(data.queued_at),
            "start_date": event.passed(data.start_date),
            "end_date": event.passed(data.end_date),
            "message": data.message and cut(data.message, MAX_MESSAGE),
            "last_seq": seq,
        }
        for seq, event, data in logged
    ]
    _PUT_RUN.rows(connection, rows)


def occurrence_of(data: DagRunData) -> str:
    """Return the key of one occurrence of a run. A run that is cleared begins another."""
    return run_key(data.dag_id, data.run_id, data.start_date, data.queued_at)


def apply_tasks(connection: Connection, logged: Sequence[LoggedData[TaskInstanceData]]) -> None:
    """Apply tasks' state changes to the read model."""
    rows: list[Row] = [
        {
            "deployment": event.deployment,
            "dag_id": data.dag_id,
            "run_id": data.run_id,
            "task_id": data.task_id,
            "map_index": data.map_index,
            "ti_id": data.ti_id,
            "try_number": data.try_number,
            "max_tries": data.max_tries,
            "state": data.state,
            "operator": data.operator and cut(data.operator, MAX_LABEL),
            "hostname": data.hostname and cut(data.hostname, MAX_LABEL),
            "start_date": event.passed(data.start_date),
            "end_date": event.passed(data.end_date),
            "error": shorten_error(vars(data.error)) if data.error else None,
            "last_seq": seq,
        }
        for seq, event, data in logged
        if data.ti_id is not None  # a later try is behind it: the read model shows that one
    ]
    _PUT_TASK.rows(connection, rows)


UPDATED = ("updated_at", "extra", "source_dag_id", "source_run_id", "source_task_id")
"""The columns that the latest update sets."""


def _build_asset_upsert(insert: Any) -> Any:
    put = insert(assets)
    new, old = put.excluded, assets.c
    # `updates` of what is put is 1 for an update, 0 where it was only created.
    is_latest = (new.updates == literal_column("1")) & (
        func.coalesce(old.updated_at, _BEGINNING) <= new.updated_at
    )
    changed = {name: case((is_latest, new[name]), else_=old[name]) for name in UPDATED}
    changed |= {name: new[name] for name in ("name", "group", "last_seq")}
    changed["updates"] = old.updates + new.updates
    return put.on_conflict_do_update(index_elements=assets.primary_key, set_=changed)


_PUT_ASSET = BulkInsert(assets, _build_asset_upsert)


def shorten_error(error: Mapping[str, Any]) -> Row:
    """Return what lists and pages show of a task's error. The log keeps the whole error."""
    kind, trace = error.get("type"), error.get("traceback")
    return {
        "type": kind and cut(kind, MAX_KEY),
        "message": cut(error["message"], MAX_MESSAGE),
        "traceback": trace and cut_start(trace, MAX_TRACE),
    }


def apply_assets(connection: Connection, logged: Sequence[LoggedData[AssetData]]) -> None:
    """Apply events about assets to the read model."""
    rows: list[Row] = [
        {
            "deployment": event.deployment,
            "uri": data.asset.uri,
            "name": data.asset.name,
            "group": data.asset.group and cut(data.asset.group, MAX_LABEL),
            "last_seq": seq,
            **_update(event, data),
        }
        for seq, event, data in logged
    ]
    _PUT_ASSET.rows(connection, rows)


def _update(event: Event, data: AssetData) -> Row:
    if not isinstance(data, AssetUpdatedData):
        return {"updates": 0, **dict.fromkeys(UPDATED)}
    of_it = (data.extra, data.source_dag_id, data.source_run_id, data.source_task_id)
    return {"updates": 1, **dict(zip(UPDATED, (event.passed(data.timestamp), *of_it), strict=True))}


def forget_runs(connection: Connection, upto: int) -> SweepResult:
    """Delete runs that have ended. A run that still runs or waits is kept, however long it takes."""
    old = dag_runs.c.last_seq <= upto, dag_runs.c.state.in_(OVER)
    return oldest(connection, dag_runs, dag_runs.c.last_seq, *old)


def forget_tasks(connection: Connection, upto: int, after: Key) -> SweepResult:
    """Delete tasks whose run is deleted.
    They are not deleted together with the run, because a run may have ten thousand."""
    return walk(connection, task_instances, after, _is_orphan(task_instances, upto))


def forget_tries(connection: Connection, upto: int, after: Key) -> SweepResult:
    """Delete tries whose run is deleted."""
    return walk(connection, tries, after, _is_orphan(tries, upto))


def forget_assets(connection: Connection, upto: int) -> SweepResult:
    """Delete assets without recent updates, but not those about which a watch's finding is open."""
    is_open = exists().where(
        watch_findings.c.deployment == assets.c.deployment,
        watch_findings.c.subject == assets.c.uri,
        watch_findings.c.ended_at.is_(None),
    )
    return oldest(connection, assets, assets.c.last_seq, assets.c.last_seq <= upto, ~is_open)


def forget_import_errors(connection: Connection, upto: int, after: Key) -> SweepResult:
    """Delete import errors that are mended."""
    old = (import_errors.c.last_seq <= upto) & ~import_errors.c.open
    return walk(connection, import_errors, after, old)


def _is_orphan(table: Table, upto: int) -> ColumnElement[bool]:
    run = (table.c[name] == dag_runs.c[name] for name in ("deployment", "dag_id", "run_id"))
    return and_(table.c.last_seq <= upto, ~exists().where(*run))

"""The state of runs, tasks and assets, brought up to each event.

Reports come out of order and from several reporters, so a row gives way only to what is later: a later
occurrence or try, or in the same one a state that does not fall back from an end to `running`. Two ends of
the same one have no order but that of their arrival: Airflow keeps `end_date` where a state is set by hand.

The database decides which is later while it writes, event after event: nothing is read before, and a batch is
one statement a table.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, case, func, literal_column, or_

from monitor.board.rows import Row, Told
from monitor.database.bulk import Write, replacing
from monitor.database.schema import UtcDateTime, assets, dag_runs, task_instances
from monitor.events import Event
from monitor.events.data import DELETED, AssetData, AssetUpdatedData, DagRunData, TaskError, TaskInstanceData
from monitor.events.identity import run_key
from monitor.events.values import MAX_KEY, MAX_MESSAGE, MAX_TRACE

RUNNING = "running"
RUN_ENDS = ("success", "failed")
OVER = (*RUN_ENDS, DELETED)
NO_ENDS = (RUNNING, "up_for_retry")
_RUNNING: Any = literal_column(f"'{RUNNING}'")
_BEGINNING: Any = literal_column("'0001-01-01 00:00:00'", UtcDateTime)  # before each moment that events hold


def falls_not_back(old: Table, new: Any) -> Any:
    """Whether a new row of the same occurrence or try is no return to its beginning."""
    return or_(new.state != _RUNNING, old.c.state == _RUNNING)


def _is_later_run(new: Any) -> Any:
    same = dag_runs.c.run_key == new.run_key, falls_not_back(dag_runs, new)
    return case(same, else_=_began(new) >= _began(dag_runs.c))


def _began(row: Any) -> Any:
    return func.coalesce(row.start_date, row.queued_at, _BEGINNING)


def _is_later_task(new: Any) -> Any:
    same = task_instances.c.ti_id == new.ti_id, falls_not_back(task_instances, new)
    return case(same, else_=new.try_number >= task_instances.c.try_number)


_PUT_RUN = Write(dag_runs, replacing(dag_runs, _is_later_run))
_PUT_TASK = Write(task_instances, replacing(task_instances, _is_later_task))


def apply_runs(connection: Connection, told: Sequence[Told[DagRunData]]) -> None:
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
            "message": data.message,
            "last_seq": seq,
        }
        for seq, event, data in told
    ]
    _PUT_RUN.rows(connection, rows)


def occurrence_of(data: DagRunData) -> str:
    return run_key(data.dag_id, data.run_id, data.start_date, data.queued_at)


def apply_tasks(connection: Connection, told: Sequence[Told[TaskInstanceData]]) -> None:
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
            "operator": data.operator,
            "hostname": data.hostname,
            "start_date": event.passed(data.start_date),
            "end_date": event.passed(data.end_date),
            "error": _shortened(data.error) if data.error else None,
            "last_seq": seq,
        }
        for seq, event, data in told
        if data.ti_id is not None  # a later try is behind it: the board shows that one
    ]
    _PUT_TASK.rows(connection, rows)


UPDATED = ("updated_at", "extra", "source_dag_id", "source_run_id", "source_task_id")
"""What is the latest update's."""


def _put_asset(insert: Any) -> Any:
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


_PUT_ASSET = Write(assets, _put_asset)


def _shortened(error: TaskError) -> Row:
    """What pages show of it. A run's page holds the errors of all its tasks."""
    return {
        "type": error.type and error.type[:MAX_KEY],
        "message": error.message[:MAX_MESSAGE],
        "traceback": error.traceback and error.traceback[-MAX_TRACE:],
    }


def apply_assets(connection: Connection, told: Sequence[Told[AssetData]]) -> None:
    rows: list[Row] = [
        {
            "deployment": event.deployment,
            "uri": data.asset.uri,
            "name": data.asset.name,
            "group": data.asset.group,
            "last_seq": seq,
            **_update(event, data),
        }
        for seq, event, data in told
    ]
    _PUT_ASSET.rows(connection, rows)


def _update(event: Event, data: AssetData) -> Row:
    if not isinstance(data, AssetUpdatedData):
        return {"updates": 0, **dict.fromkeys(UPDATED)}
    of_it = (data.extra, data.source_dag_id, data.source_run_id, data.source_task_id)
    return {"updates": 1, **dict(zip(UPDATED, (event.passed(data.timestamp), *of_it), strict=True))}

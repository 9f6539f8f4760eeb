"""The state of runs, tasks and assets, brought up to each event.

Reports come out of order and from several reporters, so a row gives way only to what is later: a later
occurrence or try, or in the same one a state that does not fall back from an end to `running`. Two ends of
the same one have no order but that of their arrival: Airflow keeps `end_date` where a state is set by hand.
"""

from datetime import datetime, timezone

from sqlalchemy import Connection, RowMapping

from monitor.board.rows import Row, find, put
from monitor.database.schema import assets, dag_runs, task_instances
from monitor.events import Event
from monitor.events.data import AssetData, AssetUpdatedData, DagRunData, TaskInstanceData
from monitor.events.identity import run_key

RUNNING = "running"
RUN_ENDS = ("success", "failed")
NO_ENDS = (RUNNING, "up_for_retry")
BEGINNING = datetime.min.replace(tzinfo=timezone.utc)


def apply_run(connection: Connection, seq: int, event: Event, data: DagRunData) -> None:
    key = {"deployment": event.deployment, "dag_id": data.dag_id, "run_id": data.run_id}
    row = {
        "run_key": occurrence_of(data),
        "state": data.state,
        "run_type": data.run_type,
        "logical_date": data.logical_date,
        "queued_at": data.queued_at,
        "start_date": data.start_date,
        "end_date": data.end_date,
        "message": data.message,
        "last_seq": seq,
    }
    old = find(connection, dag_runs, key)
    if old is None or not _run_is_older(row, old):
        put(connection, dag_runs, key, row, old)


def occurrence_of(data: DagRunData) -> str:
    return run_key(data.dag_id, data.run_id, data.start_date, data.queued_at)


def _run_is_older(new: Row, old: RowMapping) -> bool:
    if new["run_key"] != old["run_key"]:
        return _began(new) < _began(old)
    return _falls_back(new, old)


def _began(row: Row | RowMapping) -> datetime:
    moment: datetime = row["start_date"] or row["queued_at"] or BEGINNING
    return moment


def apply_task(connection: Connection, seq: int, event: Event, data: TaskInstanceData) -> None:
    if data.ti_id is None:  # a later try is behind it: the board shows that one
        return
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
    old = find(connection, task_instances, key)
    if old is None or not _task_is_older(row, old):
        put(connection, task_instances, key, row, old)


def _task_is_older(new: Row, old: RowMapping) -> bool:
    if new["ti_id"] == old["ti_id"]:
        return _falls_back(new, old)
    return bool(new["try_number"] < old["try_number"])


def _falls_back(new: Row, old: RowMapping) -> bool:
    return bool(new["state"] == RUNNING and old["state"] != RUNNING)


def apply_asset(connection: Connection, seq: int, event: Event, data: AssetData) -> None:
    key = {"deployment": event.deployment, "uri": data.asset.uri}
    old = find(connection, assets, key)
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
    put(connection, assets, key, row, old)

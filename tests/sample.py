"""Events for tests, as the listener would send them."""

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from monitor.events.identity import run_id_of

START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=timezone.utc)


def moment(seconds: float = 0) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event(kind: str, event_id: str, subject: str, at: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/airflow/local",
        "type": kind,
        "subject": subject,
        "time": at,
        "datacontenttype": "application/json",
        "data": {**data, "reported_by": "listener"},
    }


def run_event(
    state: str = "success", dag_id: str = "etl", run_id: str = "manual__1", start: float = 0, **data: Any
) -> dict[str, Any]:
    """A DAG run's state change; `start` in seconds after START names the occurrence."""
    began = START + timedelta(seconds=start)
    end = None if state == "running" else moment(start + 10)
    return event(
        f"airflow.dag_run.{state}",
        run_id_of(dag_id, run_id, began, None, state),
        f"{dag_id}/{run_id}",
        end or moment(start),
        {
            "dag_id": dag_id,
            "run_id": run_id,
            "state": state,
            "run_type": "manual",
            "start_date": moment(start),
            "end_date": end,
            **data,
        },
    )


def task_event(
    state: str = "success",
    task_id: str = "load",
    dag_id: str = "etl",
    run_id: str = "manual__1",
    ti_id: str | None = None,
    **data: Any,
) -> dict[str, Any]:
    """A task instance's state change; give `ti_id` to tell of the same try twice."""
    ti = ti_id or str(uuid.uuid4())
    return event(
        f"airflow.task_instance.{state}",
        f"task:{ti}:{state}",
        f"{dag_id}/{run_id}/{task_id}",
        moment(5),
        {
            "dag_id": dag_id,
            "run_id": run_id,
            "task_id": task_id,
            "map_index": -1,
            "ti_id": ti,
            "try_number": 1,
            "max_tries": 0,
            "state": state,
            "start_date": moment(1),
            "end_date": None if state == "running" else moment(5),
            "operator": "PythonOperator",
            "hostname": "worker-1",
            "error": None,
            **data,
        },
    )


def asset_event(number: int, uri: str = "file:///model.pkl", **data: Any) -> dict[str, Any]:
    """An asset's update, as the reconciler reports it."""
    made = event(
        "airflow.asset.updated",
        f"asset_event:{number}",
        uri,
        moment(6),
        {
            "asset": {"name": uri.rpartition("/")[2], "uri": uri, "group": "asset"},
            "asset_event_id": number,
            "timestamp": moment(6),
            "extra": {"accuracy": 0.97},
            "source_dag_id": "etl",
            "source_run_id": "manual__1",
            "source_task_id": "load",
            "source_map_index": -1,
            "created_dagruns": [],
            **data,
        },
    )
    made["data"]["reported_by"] = "listener"
    return made

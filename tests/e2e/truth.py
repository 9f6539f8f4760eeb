"""What Airflow's own database holds, as the ids that the log must hold: the two are compared whole."""

from datetime import datetime, timezone
from typing import Any

from monitor.events import run_id_of, task_id_of
from tests.airflow_server import AirflowServer

RUN_ENDS = ("success", "failed")
TASK_ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")


def terminal_ids(airflow: AirflowServer) -> dict[str, str]:
    """The id of each terminal state in Airflow's database, and in words whose it is."""
    return _runs(airflow) | _tasks(airflow, "task_instance", "id")


def _runs(airflow: AirflowServer) -> dict[str, str]:
    rows = airflow.query("SELECT dag_id, run_id, start_date, queued_at, state FROM dag_run")
    return {
        run_id_of(dag, run, _moment(start), _moment(queued), state): f"{dag}/{run} {state}"
        for dag, run, start, queued, state in rows
        if state in RUN_ENDS
    }


def _tasks(airflow: AirflowServer, table: str, key: str) -> dict[str, str]:
    rows = airflow.query(f"SELECT {key}, state, dag_id, run_id, task_id, try_number FROM {table}")  # noqa: S608
    return {
        task_id_of(_uuid(ti), state): f"{dag}/{run}/{task} try {number} {state}"
        for ti, state, dag, run, task, number in rows
        if state in TASK_ENDS
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc) if text else None


def _uuid(text: Any) -> str:
    """SQLite keeps UUIDs without their hyphens."""
    digits = str(text).replace("-", "")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

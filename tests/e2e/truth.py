"""What Airflow's own database holds, as the ids that the log must hold: the two are compared whole."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from monitor.events import run_id_of, task_id_of
from tests.airflow_server import AirflowServer

RUN_ENDS = ("success", "failed")
TASK_ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")

Alternatives = tuple[str, ...]
"""The ids under which one terminal state may have been told: one of them, once."""


def terminal_states(airflow: AirflowServer) -> dict[str, Alternatives]:
    """Each terminal state in Airflow's database, in words, and how it may be told."""
    return {**_runs(airflow), **_tasks(airflow), **_earlier_tries(airflow)}


def untold(airflow: AirflowServer, told: Sequence[str]) -> list[str]:
    """The terminal states that are not told exactly once, in words."""
    times = Counter(told)
    counted = {what: sum(times[i] for i in ids) for what, ids in terminal_states(airflow).items()}
    return [f"{what}: told {count} times" for what, count in sorted(counted.items()) if count != 1]


def _runs(airflow: AirflowServer) -> dict[str, Alternatives]:
    rows = airflow.query("SELECT dag_id, run_id, start_date, queued_at, state FROM dag_run")
    return {
        f"{dag}/{run} {state}": (run_id_of(dag, run, _moment(start), _moment(queued), state),)
        for dag, run, start, queued, state in rows
        if state in RUN_ENDS
    }


def _tasks(airflow: AirflowServer) -> dict[str, Alternatives]:
    rows = airflow.query("SELECT id, state, dag_id, run_id, task_id, map_index FROM task_instance")
    return {
        f"{dag}/{run}/{task}[{index}] {state}": (task_id_of(_uuid(ti), state),)
        for ti, state, dag, run, task, index in rows
        if state in TASK_ENDS
    }


def _earlier_tries(airflow: AirflowServer) -> dict[str, Alternatives]:
    """Airflow files a try that was retried as `failed`; while it was the latest, it was up_for_retry."""
    rows = airflow.query(
        "SELECT task_instance_id, state, dag_id, run_id, task_id, try_number FROM task_instance_history"
    )
    return {
        f"{dag}/{run}/{task} try {number} {state}": (
            task_id_of(_uuid(ti), state),
            task_id_of(_uuid(ti), "up_for_retry"),
        )
        for ti, state, dag, run, task, number in rows
        if state in TASK_ENDS
    }


def _moment(stored: Any) -> datetime | None:
    """SQLite keeps moments as text without a zone; PostgreSQL answers in the session's zone."""
    if isinstance(stored, datetime):
        return stored.astimezone(timezone.utc)
    return datetime.fromisoformat(stored).replace(tzinfo=timezone.utc) if stored else None


def _uuid(stored: Any) -> str:
    """SQLite keeps UUIDs as text without their hyphens; PostgreSQL answers a UUID."""
    return str(UUID(str(stored)))

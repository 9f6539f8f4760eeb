"""A busy Airflow's worth of events around the present, for pages that are looked at."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.sample import START, asset_event, run_event, task_event
from tests.unit.web_support import Served

ERROR = {
    "type": "ValueError",
    "message": "column 'target' is missing\nin features.csv",
    "traceback": 'Traceback (most recent call last):\n  File "train.py", line 12, in fit\nValueError: column',
}
TASKS = (
    "owner_task",
    "load_data",
    "data_preprocessing",
    "separate_data_outputs",
    "build_model",
    "load_model",
)
METRICS = {"accuracy": 0.9736842, "roc_auc": 0.99702, "rows": 569, "sha256": "9f86d081884c7d65" * 4}


def before(seconds: float) -> float:
    """So many seconds ago, as tests/sample.py counts: from START."""
    return (datetime.now(timezone.utc) - START).total_seconds() - seconds


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def run_of(state: str, dag_id: str, run_id: str, ago: float, took: float = 60, **data: Any) -> dict[str, Any]:
    """A run that was queued a little, and began so many seconds ago."""
    start = before(ago)
    end = None if state == "running" else at(start + took)
    queued = at(start - 4)
    made = run_event(state, dag_id, run_id, start=start, queued_at=queued, **{"end_date": end, **data})
    return made | {"time": end or at(start)}


def task_of(
    state: str, task_id: str, dag_id: str, run_id: str, ago: float, took: float | None, **data: Any
) -> dict[str, Any]:
    start = before(ago)
    end = None if took is None else at(start + took)
    made = task_event(state, task_id, dag_id, run_id, start_date=at(start), end_date=end, **data)
    return made | {"time": end or at(start)}


def in_progress(dag_id: str, run_id: str, ago: float = 95) -> Iterator[dict[str, Any]]:
    """A run in which four tasks are done and one goes on."""
    yield run_of("running", dag_id, run_id, ago)
    for number, task_id in enumerate(TASKS[:4]):
        yield task_of("success", task_id, dag_id, run_id, ago - 15 * number, 12 + number)
    yield task_of("running", TASKS[4], dag_id, run_id, ago - 65, None)


def failing(dag_id: str, run_id: str, ago: float = 700) -> Iterator[dict[str, Any]]:
    """A run whose second task failed twice."""
    told = {"max_tries": 1, "error": ERROR}
    yield task_of("success", "extract", dag_id, run_id, ago, 30)
    yield task_of("up_for_retry", "train", dag_id, run_id, ago - 35, 60, **told)
    yield task_of("failed", "train", dag_id, run_id, ago - 130, 80, try_number=2, **told)
    yield task_of("upstream_failed", "publish", dag_id, run_id, ago - 215, 0, operator="EmptyOperator")
    yield run_of("failed", dag_id, run_id, ago, 220, message="task_failure", run_type="scheduled")


def mapped(dag_id: str, run_id: str, ago: float = 300) -> Iterator[dict[str, Any]]:
    """A run with mapped tasks, some of which still go on."""
    yield run_of("running", dag_id, run_id, ago, run_type="scheduled")
    for index in range(12):
        state, took = ("success", 40 + 9 * index) if index < 9 else ("running", None)
        yield task_of(state, "shard", dag_id, run_id, ago - 8 * index, took, map_index=index)


def fill(monitor: Served) -> None:
    """What a page is looked at with."""
    for told in (
        [run_of("success", "reports", f"scheduled__{hour}", 3600 * hour, 90) for hour in range(6, 1, -1)],
        list(failing("nightly", "scheduled__2026-11-25T02:00:00+00:00")),
        list(failing("billing_export", "scheduled__2026-11-25T03:00:00+00:00", 4000)),
        [
            run_of("success", "Airflow_Lab2", "manual__2026-11-25T03:30:00+00:00", 1800, 14),
            asset_event(
                *(1,),
                source_dag_id="Airflow_Lab2",
                source_run_id="manual__2026-11-25T03:30:00+00:00",
                extra=METRICS,
            ),
        ],
        list(mapped("scoring", "scheduled__2026-11-25T04:00:00+00:00")),
        list(in_progress("Airflow_Lab2", "manual__2026-11-25T04:10:00+00:00")),
    ):
        answer = monitor.post(told)
        assert answer.json()["rejected"] == 0, answer.text

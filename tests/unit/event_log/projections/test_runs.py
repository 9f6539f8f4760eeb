"""The list of runs: each filter, the search, pages, rights; on both databases."""

from datetime import timedelta
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import runs
from monitor.event_log.projections.runs import MAX_STRIP, RunFilter, RunName
from tests.sample import START, run_event, task_event
from tests.unit.event_log.projections.test_state import tell

EVERY = [
    run_event("success", "etl_daily", "scheduled__1", run_type="scheduled"),
    run_event("failed", "etl_hourly", "scheduled__2", start=60, run_type="scheduled"),
    run_event("running", "Report", "manual__100%_a", start=120),
    {**run_event("running", "etl_daily", "manual__4", start=180), "source": "/airflow/emea"},
]


def found(database: Database, wanted: RunFilter, visible: AllowedDags = None, **page: Any) -> list[str]:
    rows = database.read_now(
        lambda c: runs.run_list(c, wanted, page.get("limit", 10), page.get("before"), visible)
    )
    return [row["run_id"] for row in rows]


@pytest.mark.parametrize(
    ("wanted", "run_ids"),
    [
        ({}, ["manual__4", "manual__100%_a", "scheduled__2", "scheduled__1"]),
        ({"dag_id": ("etl_*",)}, ["manual__4", "scheduled__2", "scheduled__1"]),
        ({"dag_id": ("Repor?", "etl_hourly")}, ["manual__100%_a", "scheduled__2"]),
        ({"deployment": ("em*",)}, ["manual__4"]),
        ({"state": ("failed", "success")}, ["scheduled__2", "scheduled__1"]),
        ({"run_type": ("manual",)}, ["manual__4", "manual__100%_a"]),
        ({"since": START + timedelta(seconds=60)}, ["manual__4", "manual__100%_a", "scheduled__2"]),
        ({"until": START + timedelta(seconds=60)}, ["scheduled__1"]),
        ({"search": "report"}, ["manual__100%_a"]),
        ({"search": "MANUAL__"}, ["manual__4", "manual__100%_a"]),
        ({"search": "0%_"}, ["manual__100%_a"]),
        ({"search": "_%"}, []),
        ({"search": "manual", "state": ("failed",)}, []),
    ],
)
def test_runs_are_found(database: Database, wanted: dict[str, Any], run_ids: list[str]) -> None:
    tell(database, *EVERY)
    assert found(database, RunFilter(**wanted)) == run_ids


def test_pages_follow_one_another(database: Database) -> None:
    tell(database, *EVERY)
    assert found(database, RunFilter(), limit=2) == ["manual__4", "manual__100%_a"]
    assert found(database, RunFilter(), before=3) == ["scheduled__2", "scheduled__1"]


def test_nobody_finds_what_is_not_to_be_read(database: Database) -> None:
    tell(database, *EVERY)
    only = frozenset({("local", "etl_daily")})
    assert found(database, RunFilter(search="etl"), only) == ["scheduled__1"]
    assert found(database, RunFilter(), frozenset()) == []


def test_a_strip_names_few_tasks_and_counts_many(database: Database) -> None:
    name = RunName("local", "etl", "manual__1")
    tell(database, task_event("success", "first"), task_event("running", "second"))
    few = database.read_now(lambda c: runs.strip(c, name))
    assert [task["task_id"] for task in few.tasks] == ["first", "second"]
    assert few.counts == {"running": 1, "success": 1}
    tell(database, *(task_event("success", map_index=index) for index in range(MAX_STRIP)))
    many = database.read_now(lambda c: runs.strip(c, name))
    assert many.tasks == ()
    assert many.counts == {"running": 1, "success": MAX_STRIP + 1}


def test_the_first_failure_is_the_cause(database: Database) -> None:
    name = RunName("local", "etl", "manual__1")
    assert database.read_now(lambda c: runs.first_failure(c, name)) is None
    late, early = "2026-11-22T10:00:09Z", "2026-11-22T10:00:03Z"
    tell(database, task_event("failed", "late", end_date=late), task_event("failed", "early", end_date=early))
    failure = database.read_now(lambda c: runs.first_failure(c, name))
    assert failure is not None
    assert failure["task_id"] == "early"

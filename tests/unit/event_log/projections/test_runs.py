"""The list of runs: each filter, the search, pages, rights; on both databases."""

from datetime import timedelta
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import runs
from monitor.event_log.projections.runs import MAX_ERRORS, MAX_STRIP, RunFilter, RunName, TaskPlace
from tests.sample import START, moment, run_event, task_event
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


def test_tasks_come_in_pages_those_that_failed_or_run_first(database: Database) -> None:
    states = ["success", "failed", "skipped", "running", "success", "up_for_retry", "success"]
    mapped = [task_event(state, "many", map_index=number) for number, state in enumerate(states)]
    tell(database, run_event("running"), *mapped, task_event("success", "a"))
    name, after = RunName("local", "etl", "manual__1"), None
    pages: list[list[int]] = []
    while not pages or after is not None:
        page = database.read_now(lambda c: runs.task_page(c, name, 3, after, 10_000))  # noqa: B023
        pages.append([task["map_index"] for task in page.tasks])
        after = page.following
    assert pages == [[1, 3, 5], [-1, 0, 2], [4, 6]]
    short = database.read_now(lambda c: runs.task_page(c, name, 3, TaskPlace(True, "many", 0), 1))
    assert [task["map_index"] for task in short.tasks] == [2]
    assert short.following == TaskPlace(True, "many", 2)


def test_a_message_reads_the_errors_of_the_first_failures_alone(database: Database) -> None:
    error = {"type": "E", "message": "m", "traceback": None}
    many = range(MAX_ERRORS + 2)
    tell(
        database,
        run_event("failed"),
        *(task_event("failed", f"t{one:03}", error=error, end_date=moment(4 - one / 20)) for one in many),
    )
    name = RunName("local", "etl", "manual__1")
    tasks = database.read_now(lambda c: runs.tasks(c, name))
    assert len(tasks) == len(many)
    assert [task["task_id"] for task in tasks if task["error"] is None] == ["t000", "t001"]
    first = database.read_now(lambda c: runs.first_failure(c, name))
    assert first is not None
    assert first["task_id"] == f"t{MAX_ERRORS + 1:03}"

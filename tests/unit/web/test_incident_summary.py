"""The summaries of incidents, which pages and the API show."""

from collections.abc import Iterator

import pytest

from monitor.event_log.filters import AllowedDags
from monitor.notifications import incidents
from monitor.notifications.incidents import Incident
from monitor.settings import Settings
from monitor.web import incident_summary
from monitor.web.incident_summary import MAX_RANGES, MAX_TEXT, MAX_TRACE, IncidentSummary, fold_indexes
from tests.sample import event, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served, serving

TOGETHER = """
rules:
  - name: together
    match: {type: airflow.dag_run.*}
    group: {by: [deployment], wait: 1h}
    to: [ops@example.com]
"""
TRACE = """Traceback (most recent call last):
  File "/opt/venv/lib/python3.12/site-packages/airflow/sdk/task_runner.py", line 920, in run
    result = execute()
  File "/opt/airflow/dags/etl.py", line 41, in load
    connect("password=hunter2")
ValueError: no column
"""
ERROR = {"type": "ValueError", "message": "no column\nin features.csv", "traceback": TRACE}


@pytest.fixture
def monitor(settings: Settings, clock: FakeClock) -> Iterator[Served]:
    with serving(settings, clock) as monitor:
        yield monitor


def summaries(monitor: Served, allowed_dags: AllowedDags = None) -> dict[str, IncidentSummary]:
    """By the incidents' titles."""
    found: list[Incident] = monitor.app.state.services.database.read_now(
        lambda connection: incidents.page(connection, 50, allowed_dags=allowed_dags)
    )
    by_id = monitor.app.state.services.database.read_now(
        lambda connection: incident_summary.summarize(connection, found, allowed_dags)
    )
    return {incident.title: by_id[incident.id] for incident in found}


def test_indexes_are_folded() -> None:
    assert fold_indexes([]) == ""
    assert fold_indexes([4]) == "4"
    assert fold_indexes([1, 2, 3, 7]) == "1–3, 7"
    assert fold_indexes(range(0, 100, 2)) == ", ".join(map(str, range(0, 2 * MAX_RANGES, 2))) + ", …"


def test_a_run_names_its_first_failed_task(monitor: Served) -> None:
    monitor.post(
        [
            task_event("failed", "later", end_date=moment(8), error=None),
            task_event("failed", "load", end_date=moment(5), error=ERROR, try_number=2, max_tries=2),
            run_event("failed"),
        ]
    )
    summary = summaries(monitor)["etl fails"]
    assert summary.error
    assert summary.error.headline == "ValueError: no column"
    assert summary.error.lines == (
        "Traceback (most recent call last):",
        '  File "/opt/airflow/dags/etl.py", line 41, in load',
        '    connect("password=***")',
        "  (1 frame of Airflow)",
        "ValueError: no column",
    )
    assert "task_runner.py" in summary.trace
    assert "hunter2" not in summary.trace
    assert (summary.where, summary.other_tasks) == ("load", 1)
    assert summary.task
    assert (summary.task.first.tries, summary.task.first.host) == ("try 2 of 3", "worker-1")


def test_mapped_instances_are_folded_and_counted(monitor: Served) -> None:
    states = {index: "success" if index in (0, 4, 5) else "failed" for index in range(8)}
    monitor.post(
        [
            *(task_event(state, "load", map_index=index, error=None) for index, state in states.items()),
            run_event("failed"),
        ]
    )
    task = summaries(monitor)["etl fails"].task
    assert task
    assert task.name == "load[1–3, 6–7]"
    assert (task.failed, task.instances) == (5, 8)


def test_an_import_error_has_its_file_and_traceback(monitor: Served) -> None:
    trace = {"filename": "/dags/broken.py", "stacktrace": TRACE}
    monitor.post([event("airflow.dag.import_error", "import_error:1", "broken.py", moment(1), trace)])
    [summary] = summaries(monitor).values()
    assert summary.where == "/dags/broken.py"
    assert summary.error
    assert summary.error.headline == "ValueError: no column"
    assert "task_runner.py" in summary.trace


def test_texts_of_tasks_are_bounded(monitor: Served) -> None:
    long = {"type": "E" * 900, "message": "m" * 9_000, "traceback": "a line\n" * 2_000}
    monitor.post([task_event("failed", error=long, hostname="h" * 900), run_event("failed")])
    summary = summaries(monitor)["etl fails"]
    assert summary.error
    assert summary.task
    assert summary.task.first.host
    assert len(summary.error.headline) <= 2 * MAX_TEXT
    assert len(summary.task.first.host) <= MAX_TEXT
    assert len(summary.trace) <= MAX_TRACE


def test_nobody_notified_says_why(monitor: Served) -> None:
    rules = monitor.app.state.services.rules
    rules.path.write_text(TOGETHER.replace("airflow.dag_run.*}", "airflow.dag_run.*, dag_id: other}"))
    while not rules.look():  # read when two looks have found it the same
        pass
    monitor.post([run_event("failed")])
    notified = summaries(monitor)["etl fails"].notified
    assert (notified.reached, notified.waiting, notified.is_hidden) == ("", "", False)
    assert notified.nobody
    assert "no rule matches" in notified.nobody.reason


def test_a_notification_of_several_dags_is_hidden_from_a_reader_of_one(monitor: Served) -> None:
    rules = monitor.app.state.services.rules
    rules.path.write_text(TOGETHER)
    while not rules.look():
        pass
    monitor.post([run_event("failed", "etl"), run_event("failed", "payroll", start=1)])
    every = summaries(monitor)
    assert {summary.notified.waiting for summary in every.values()} == {"ops@example.com by email"}
    own = summaries(monitor, frozenset({("local", "etl")}))
    assert set(own) == {"etl fails"}
    notified = own["etl fails"].notified
    assert (notified.reached, notified.waiting, notified.undelivered) == ("", "", None)
    assert notified.is_hidden
    assert "payroll" not in repr(own)

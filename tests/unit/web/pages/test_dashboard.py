"""The dashboard: what needs attention comes first, running runs have a usual time, recoveries are said."""

import html
import re
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert

from monitor.database.schema import dags
from monitor.settings import Settings
from monitor.web.pages.dashboard import ENOUGH_RUNS
from monitor.web.services import PartHealth
from tests import wait
from tests.sample import START, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served, serving

ERROR = {"type": "ValueError", "message": "column 'target' is missing\nin features.csv", "traceback": "x"}
MINUTE = 60
MOST_STATEMENTS = 40
NOW_SECONDS = 3 * 60 * MINUTE  # what is before START is the past, of which no incident is made
NOW = START + timedelta(seconds=NOW_SECONDS)


@pytest.fixture(params=["sqlite", "postgresql"])
def monitor(request: pytest.FixtureRequest, settings: Settings, clock: FakeClock) -> Iterator[Served]:
    on_postgres = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if on_postgres else ""
    clock.now = NOW
    with serving(settings.model_copy(update={"database_url": url}), clock) as monitor:
        yield monitor


def texts(monitor: Served, list_id: str) -> str:
    """What a list of the page says, without its elements."""
    page = monitor.client.get("/").text
    found = re.search(rf'<(ol|ul)[^>]* id="{list_id}".*?</\1>', page, re.DOTALL)
    assert found is not None, list_id
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found[0])).split())


def run_of(state: str, run_id: str, start: float, took: float = 2 * MINUTE) -> dict[str, Any]:
    """Return the event of a run; `start` in seconds after NOW."""
    end = None if state == "running" else (NOW + timedelta(seconds=start + took)).isoformat()
    return run_event(state, "etl", run_id, start=NOW_SECONDS + start, end_date=end)


def fail(monitor: Served, number: int = 1, start: float = -40) -> None:
    """Let a run fail lately: a report that comes late is a reason to look at the spool."""
    run_id = f"run_{number}"
    task = task_event("failed", "load", "etl", run_id, error=ERROR)
    assert monitor.post([task, run_of("failed", run_id, start, took=10)]).json()["accepted"] == 2
    wait.until(lambda: "etl" in texts(monitor, "attention"), "the incident")


def test_with_nothing_wrong_the_page_says_so_at_once(monitor: Served) -> None:
    assert texts(monitor, "attention").startswith("Nothing needs attention. No run failed")
    page = monitor.client.get("/").text
    assert page.index('id="attention"') < page.index('id="running"')
    assert "All systems OK" in texts(monitor, "health")
    assert "<details open" not in page


def test_an_open_incident_says_its_error_and_offers_what_to_do(monitor: Served) -> None:
    dag = {"deployment": "local", "dag_id": "etl", "is_paused": False, "times_paused": 0, "times_unpaused": 0}
    row = {**dag, "tags": [], "owners": ["data-team"]}
    monitor.app.state.services.database.write_now(lambda database: database.execute(insert(dags), row))
    fail(monitor)
    said = texts(monitor, "attention")
    assert "etl fails ValueError : column 'target' is missing" in said
    assert "in task load" in said
    assert "features.csv" not in said  # the first line alone
    assert "1 failure · Airflow local · owner data-team" in said
    page = monitor.client.get("/").text
    assert '/incidents/1#acknowledge">Acknowledge' in page
    assert '/silences/new?incident=1">Silence' in page
    monitor.client.post("/incidents/1/acknowledge", data={"reason": "a ticket is open"})
    assert texts(monitor, "attention").startswith("Nothing needs attention. 1 open incident is acknowledged.")
    assert "a ticket is open" in texts(monitor, "quiet")
    assert "(acknowledged)" in texts(monitor, "failures")


def test_a_part_of_the_system_that_is_down_stands_first(settings: Settings, clock: FakeClock) -> None:
    why = "the disk is full"

    async def report() -> dict[str, PartHealth]:
        return {"database": PartHealth("down", why, remedy="Make room.")}

    clock.now = NOW
    with serving(settings, clock) as monitor:
        monitor.app.state.services.reports.append(report)
        fail(monitor)
        said = texts(monitor, "attention")
        assert said.startswith(f"Database is down {why} Make room.")
        assert said.index(why) < said.index("etl fails")
        assert "systems needs attention" in texts(monitor, "health")


def test_a_failure_that_is_resolved_says_by_what(monitor: Served) -> None:
    fail(monitor)
    assert "Resolved" not in texts(monitor, "failures")
    monitor.post([run_of("success", "run_2", -30, took=10)])
    wait.until(lambda: "Resolved" in texts(monitor, "failures"), "the recovery")
    assert re.search(r"Resolved .* by a success Incident \(resolved\)", texts(monitor, "failures"))
    assert texts(monitor, "attention").startswith(
        "Nothing needs attention. 1 run failed in the last 24 hours; no incident is open."
    )
    fail(monitor, number=3, start=-20)  # the next incident is not that of the first failure
    said = texts(monitor, "failures")
    assert said.index("run_3") < said.index("(open)") < said.index("run_1") < said.index("(resolved)")


def test_a_failure_that_was_closed_by_hand_says_by_whom(monitor: Served) -> None:
    fail(monitor)
    monitor.client.post("/incidents/1/close", data={"reason": "the DAG is gone"})
    wait.until(lambda: "Closed" in texts(monitor, "failures"), "the end")
    assert re.search(r"Closed .* by local Incident \(closed\)", texts(monitor, "failures"))


def test_a_run_is_held_against_earlier_ones_of_its_dag(monitor: Served) -> None:
    monitor.post([run_of("running", "now", -60)])
    assert "usually" not in texts(monitor, "running")
    for number in range(ENOUGH_RUNS):
        monitor.post([run_of("success", f"run_{number}", -10_000 + 300 * number, took=119 + number)])
    assert "usually 2 min started" in texts(monitor, "running")
    assert "late" not in texts(monitor, "running")


def test_a_run_that_takes_unusually_long_is_marked(monitor: Served, clock: FakeClock) -> None:
    for number in range(6):
        monitor.post([run_of("success", f"run_{number}", -10_000 + 300 * number, took=119 + number)])
    monitor.post([run_of("running", "now", 0)])
    clock.now = NOW + timedelta(minutes=2)
    assert "late" not in texts(monitor, "running")
    clock.now = NOW + timedelta(minutes=20)
    assert "running late" in texts(monitor, "running")


def test_more_rows_ask_the_database_no_more_questions(settings: Settings, clock: FakeClock) -> None:
    clock.now = NOW
    with serving(settings, clock) as monitor:

        def report(name: str) -> None:
            failed = run_event("failed", name, "run_1", start=NOW_SECONDS - 600)
            task = task_event("failed", "load", name, "run_1", error=ERROR)
            goes_on = run_event("running", name, "run_2", start=NOW_SECONDS - 60)
            good = run_event("success", f"good_{name}", "run_1", start=NOW_SECONDS - 600)
            assert monitor.post([task, failed, goes_on, good]).json()["accepted"] == 4
            wait.until(lambda: name in texts(monitor, "attention"), "the incident")

        report("first")
        few = count_statements(monitor)
        assert few <= MOST_STATEMENTS
        more = ("second", "third", "fourth", "fifth")
        for name in more:
            report(name)
        assert count_statements(monitor) < few + len(more)


def count_statements(monitor: Served) -> int:
    """Return how many statements the page takes, on SQLite. Other work adds to some of the looks."""
    return min(len(trace_page(monitor)) for _ in range(5))


def trace_page(monitor: Served) -> list[str]:
    said: list[str] = []
    engine = monitor.app.state.services.database.engine

    def trace(connection: sqlite3.Connection, *_: Any) -> None:
        connection.set_trace_callback(said.append)

    event.listen(engine, "checkout", trace)
    texts(monitor, "attention")
    event.remove(engine, "checkout", trace)
    return [statement for statement in said if "SELECT" in statement]

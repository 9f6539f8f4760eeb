"""The board shows the latest of each run, task and asset, in whatever order the reports come."""

from datetime import datetime, timezone
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import delete, update

from monitor.database.engine import Database
from monitor.database.schema import events, log_state
from monitor.event_log.append import append
from monitor.event_log.projections import assets, runs
from monitor.event_log.projections.apply import apply
from monitor.event_log.projections.assets import AssetName
from monitor.event_log.projections.runs import RunName
from monitor.events.data import MAX_KEY, MAX_LABEL, MAX_MESSAGE, MAX_TRACE
from monitor.events.event import parse_event
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import NOW

ETL = RunName("local", "etl", "manual__1")
TI = ["00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"]


def tell(database: Database, *raws: dict[str, Any]) -> None:
    for raw in raws:
        event = parse_event(raw)

        def write(connection: Any, event: Any = event) -> None:
            seq = append(connection, [event], NOW)[0]
            assert seq is not None
            apply(connection, seq, event)

        database.write_now(write)


def run(database: Database) -> dict[str, Any]:
    row = database.read_now(lambda c: runs.run(c, ETL))
    assert row is not None
    return row


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_cleared_run_ends_as_its_last_occurrence(database: Database, order: tuple[int, ...]) -> None:
    told = [
        run_event("running"),
        run_event("failed", message="task_failure"),
        run_event("running", start=100),
        run_event("success", start=100),
    ]
    tell(database, *(told[number] for number in order))
    assert run(database)["state"] == "success"


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_retried_task_ends_as_its_last_try(database: Database, order: tuple[int, ...]) -> None:
    told = [
        task_event("running", ti_id=TI[0]),
        task_event("up_for_retry", ti_id=TI[0], error={"type": "OSError", "message": "reset"}),
        task_event("running", ti_id=TI[1], try_number=2),
        task_event("success", ti_id=TI[1], try_number=2),
    ]
    tell(database, *(told[number] for number in order))
    (task,) = database.read_now(lambda c: runs.tasks(c, ETL))
    assert (task["state"], task["try_number"], task["error"]) == ("success", 2, None)


@pytest.mark.parametrize("date", ["start_date", "queued_at"])
def test_no_run_is_the_latest_by_a_date_that_is_to_come(database: Database, date: str) -> None:
    dates: dict[str, Any] = {"start_date": None, date: "2999-01-01T00:00:00Z"}
    forged = run_event("failed", **dates)
    tell(database, forged, run_event("running", start=100))
    assert run(database)["state"] == "running"
    tell(database, run_event("success", start=100))
    assert run(database)["state"] == "success"


def test_no_update_is_the_latest_by_a_date_that_is_to_come(database: Database) -> None:
    forged = asset_event(1, timestamp="2999-01-01T00:00:00Z")
    true = asset_event(2, extra={"accuracy": 0.5})
    tell(database, forged, true)
    (asset,) = database.read_now(lambda c: assets.asset_list(c, 10))
    assert asset["extra"] == {"accuracy": 0.5}


def test_a_state_set_by_hand_is_shown(database: Database) -> None:
    tell(database, run_event("failed"), run_event("success"))
    assert run(database)["state"] == "success"


def test_mapped_tasks_stand_side_by_side(database: Database) -> None:
    tell(database, *(task_event("success", map_index=index) for index in range(3)))
    tasks = database.read_now(lambda c: runs.tasks(c, ETL))
    assert [task["map_index"] for task in tasks] == [0, 1, 2]


def test_the_error_of_a_failed_task_is_kept(database: Database) -> None:
    error = {"type": "ValueError", "message": "größe <b>", "traceback": None}
    tell(database, task_event("failed", error=error))
    assert database.read_now(lambda c: runs.tasks(c, ETL))[0]["error"] == error


def test_a_long_error_is_cut(database: Database) -> None:
    error = {
        "type": "E" * 300,
        "message": "m" * 300_000,
        "traceback": "first" + "t" * 300_000 + "last",
        "more": "x",
    }
    long = "x" * 300_000
    tell(database, task_event("failed", error=error, hostname=long, operator=long), run_event(message=long))
    (task,) = database.read_now(lambda c: runs.tasks(c, ETL))
    kept = task["error"]
    assert kept["type"] == "E" * (MAX_KEY - 1) + "…"
    assert kept["message"] == "m" * (MAX_MESSAGE - 1) + "…"
    assert len(kept["traceback"]) == MAX_TRACE
    assert kept["traceback"].startswith("…t")
    assert kept["traceback"].endswith("last")
    assert "more" not in kept
    assert task["hostname"] == task["operator"] == "x" * (MAX_LABEL - 1) + "…"
    run = database.read_now(lambda c: runs.run(c, ETL))
    assert run is not None
    assert run["message"] == "x" * (MAX_MESSAGE - 1) + "…"


def test_an_asset_counts_its_updates_and_keeps_the_latest(database: Database) -> None:
    later = asset_event(2, timestamp="2026-11-22T12:00:00.000000Z", extra={"accuracy": 0.99})
    later["time"] = later["data"]["timestamp"]
    created = asset_event(3)
    created["type"], created["id"] = "airflow.asset.created", "asset:1:created"
    tell(database, created, later, asset_event(1))
    (asset,) = database.read_now(lambda c: assets.asset_list(c, 10))
    assert (asset["updates"], asset["extra"], asset["name"]) == (2, {"accuracy": 0.99}, "model.pkl")


def test_lists_page_and_show_only_what_may_be_seen(database: Database) -> None:
    tell(database, *(run_event(dag_id=dag, run_id=str(n)) for n in range(3) for dag in ("mine", "theirs")))
    tell(database, asset_event(1, source_dag_id="theirs"))
    mine = frozenset({("local", "mine")})
    first = database.read_now(lambda c: runs.runs(c, 2, allowed_dags=mine))
    rest = database.read_now(lambda c: runs.runs(c, 2, before=first[-1]["last_seq"], allowed_dags=mine))
    assert [row["run_id"] for row in first + rest] == ["2", "1", "0"]
    assert {row["dag_id"] for row in first + rest} == {"mine"}
    assert database.read_now(lambda c: assets.asset_list(c, 10, allowed_dags=mine)) == []
    assert len(database.read_now(lambda c: runs.runs(c, 10, dag_id="theirs", state="success"))) == 3


MINE = frozenset({("local", "mine")})
MODEL = AssetName("local", "file:///model.pkl")


def update_of(dag_id: str, number: int, minute: int) -> dict[str, Any]:
    at = f"2026-11-22T10:{minute:02}:00.000000Z"
    asset = {"name": f"model of {dag_id}", "uri": MODEL.uri, "group": dag_id}
    made = asset_event(number, asset=asset, timestamp=at, extra={dag_id: number}, source_dag_id=dag_id)
    return {**made, "time": at}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_asset_is_as_the_updates_that_are_seen_left_it(database: Database, order: tuple[int, ...]) -> None:
    told = [update_of("mine", 1, 1), update_of("theirs", 2, 2), update_of("theirs", 3, 0)]
    tell(database, *(told[number] for number in order))
    (listed,) = database.read_now(lambda c: assets.asset_list(c, 10, allowed_dags=MINE))
    assert listed == database.read_now(lambda c: assets.asset(c, MODEL, MINE))
    assert "theirs" not in str(listed)
    assert (listed["extra"], listed["last_seq"], listed["updates"]) == ({"mine": 1}, order.index(0) + 1, None)
    assert (
        database.read_now(lambda c: assets.asset_list(c, 10, before=order.index(0) + 1, allowed_dags=MINE))
        == []
    )


def test_what_the_log_has_forgotten_of_an_asset_is_still_shown_to_whose_it_was(database: Database) -> None:
    tell(database, update_of("mine", 1, 1))
    database.write_now(lambda c: c.execute(update(log_state).values(pruned_seq=1)))
    database.write_now(lambda c: c.execute(delete(events)))
    (listed,) = database.read_now(lambda c: assets.asset_list(c, 10, allowed_dags=MINE))
    assert listed == database.read_now(lambda c: assets.asset(c, MODEL, MINE))
    assert listed["extra"] == {"mine": 1}
    theirs = frozenset({("local", "theirs")})
    assert database.read_now(lambda c: assets.asset_list(c, 10, allowed_dags=theirs)) == []
    assert database.read_now(lambda c: assets.asset(c, MODEL, theirs)) is None


def test_what_an_update_was_compared_with_is_asked_for_however_long_ago_it_was(database: Database) -> None:
    """A letter stands as it was written: the updates since then, and what is forgotten, change nothing."""

    def in_sight() -> bool:
        at = datetime(2026, 11, 22, 10, 1, tzinfo=timezone.utc)
        return database.read_now(lambda c: assets.can_read_comparison(c, MODEL, 2, at, MINE))

    tell(database, update_of("mine", 2, 1))
    assert in_sight()
    tell(database, update_of("theirs", 1, 0), *(update_of("mine", 3 + number, 2) for number in range(30)))
    assert not in_sight()
    database.write_now(lambda c: c.execute(delete(events).where(events.c.dag_id == "theirs")))
    database.write_now(lambda c: c.execute(update(log_state).values(pruned_seq=1)))
    assert not in_sight()

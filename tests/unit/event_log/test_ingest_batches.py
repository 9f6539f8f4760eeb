"""A batch is decided, and shown on the board, as if its events had come one by one."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select, update

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.database.schema import (
    assets,
    dag_runs,
    dags,
    decisions,
    deliveries,
    events,
    import_errors,
    incidents,
    log_state,
    notification_incidents,
    notifications,
    task_instances,
    tries,
)
from monitor.event_log.append import append
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.projections import apply
from monitor.events.event import parse_event
from monitor.events.identity import earlier_try_id_of, import_error_id, import_error_mended_id, pause_id
from monitor.rules.loader import default_config
from monitor.rules.matching import MatchSubject
from monitor.rules.model import Config, Match, Receiver, Rule
from monitor.rules.ruleset import Rules
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import Town

OPS = "ops@example.com"
TI = "00000000-0000-7000-8000-000000000001"
WRITTEN = (
    *(assets, dag_runs, dags, decisions, deliveries, events, import_errors, incidents),
    *(notification_incidents, notifications, task_instances, tries),
)

STORY = [
    run_event("running", run_id="a"),
    task_event("running", ti_id=TI, run_id="a"),
    task_event("failed", ti_id=TI, run_id="a"),
    run_event("failed", run_id="a"),
    run_event("running", run_id="b", start=20),
    task_event("running", ti_id=TI, run_id="a"),  # late
    run_event("success", run_id="b", start=20),
    asset_event(2),
    asset_event(1, timestamp="2026-11-22T09:00:00.000000Z", extra={}),  # an earlier one, told late
    run_event("failed", run_id="c", start=40),
    run_event("failed", run_id="d", start=60),
    run_event("failed", dag_id="other"),
    run_event("running", run_id="a"),  # late
    run_event("running", run_id="a", start=80),  # cleared
]


def take(town: Town, *batches: Sequence[dict[str, Any]]) -> None:
    for batch in batches:
        events = [parse_event(raw) for raw in batch]

        def write(connection: Connection, events: Any = events) -> None:
            seqs = append(connection, events, town.clock())
            logged = [(seq, event) for seq, event in zip(seqs, events, strict=True) if seq is not None]
            apply.apply_all(connection, logged)
            town.engine.notify_all(connection, logged, town.clock())

        town.database.write_now(write)


def written(database: Database) -> dict[str, list[dict[str, Any]]]:
    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        return {
            table.name: [
                dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in WRITTEN
        }

    return database.read_now(read)


def test_a_batch_is_written_as_if_its_events_came_one_by_one(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    config = default_config((OPS,), ())
    apart = Database(f"sqlite:///{tmp_path / 'apart.db'}")
    migrate(apart)
    clock.forward(600)
    take(Town(database, config, clock), STORY)
    take(Town(apart, config, clock), *([raw] for raw in STORY))

    together = written(database)
    assert together == written(apart)
    assert len(together["incidents"]) == 3
    assert [row["kind"] for row in together["deliveries"]] == ["opened", "recovered", "opened", "opened"]
    apart.close()


class Poisoned(Rules):
    """Fails at one event."""

    def find_matching(self, facts: MatchSubject) -> list[Rule]:
        if facts.event.get("run_id") == "c":
            raise RuntimeError("cannot decide")
        return super().find_matching(facts)


def test_an_event_that_cannot_be_decided_stops_none_of_its_batch(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    town = Town(database, default_config((OPS,), ()), clock)
    town.rules = Poisoned(town.rules.config)
    clock.forward(600)
    take(town, STORY)

    found = written(database)
    undecided = [row for row in found["decisions"] if "the rules failed" in row["reason"]]
    assert [row["event_id"] for row in undecided] == [STORY[9]["id"]]
    assert [row["kind"] for row in found["deliveries"]] == ["opened", "recovered", "opened", "opened"]
    assert town.metrics.undecided._value.get() == 1
    assert STORY[9]["id"] in caplog.text


def _task(dag_id: str, number: int, state: str, kept: bool, by: str) -> dict[str, Any]:
    """A report of a try; where its UUID is not `kept`, as Airflow has filed it."""
    ti_id = f"{TI[:-2]}{len(dag_id)}{number}"  # of this try of this DAG's alone
    raw = task_event(state, dag_id=dag_id, run_id="a", ti_id=ti_id, try_number=number)
    if not kept:
        raw["id"] = earlier_try_id_of(dag_id, "a", "load", -1, number, state)
    raw["data"] |= {"reported_by": by} if kept else {"reported_by": "reconciler", "ti_id": None}
    return raw


def _file(state: str, filename: str) -> dict[str, Any]:
    """A report of a file: of its whole path by a hook, of its path within a bundle by the reconciler."""
    bundle = None if filename.startswith("/") else "dags-folder"
    error_id = import_error_id(filename, "broken", bundle)
    data = {"filename": filename, "bundle_name": bundle}
    if state == "mended":
        mended = {**data, "error_id": error_id}
        return event(
            "airflow.dag.import_error_mended", import_error_mended_id(error_id), filename, moment(9), mended
        )
    return event("airflow.dag.import_error", error_id, filename, moment(8), {**data, "stacktrace": "broken"})


LONG = "folder/" * 40
FILES = (
    "etl.py",
    "a/etl.py",
    "/dags/a/etl.py",
    "/etl.py",
    "/dags/ab/etl.py",
    f"{LONG}x.py",
    f"/a/{LONG}x.py",
)
DAGS = st.sampled_from(["etl", "other"])
ANYTHING = st.one_of(
    st.builds(
        lambda state, dag_id, run_id, start, kind: run_event(state, dag_id, run_id, start, run_type=kind),
        st.sampled_from(["running", "success", "failed"]),
        DAGS,
        st.sampled_from("ab"),
        st.sampled_from([0, 20, 40]),
        st.sampled_from(["manual", "scheduled"]),
    ),
    st.builds(
        _task,
        DAGS,
        st.sampled_from([1, 2]),
        st.sampled_from(["running", "success", "failed", "up_for_retry"]),
        st.booleans(),
        st.sampled_from(["listener", "reconciler"]),
    ),
    st.builds(asset_event, st.sampled_from([1, 2, 3]), timestamp=st.sampled_from([moment(1), moment(6)])),
    st.builds(_file, st.sampled_from(["broken", "mended"]), st.sampled_from(FILES)),
    st.builds(
        lambda dag_id, state: event(
            f"airflow.dag.{state}",
            pause_id(dag_id, state),
            dag_id,
            moment(),
            {"dag_id": dag_id, "state": state},
        ),
        DAGS,
        st.sampled_from(["paused", "unpaused"]),
    ),
)
TELL = ("every_failure", "recovered", "success", "notice")
TELLS_ALL = Config(
    receivers={"ops": Receiver(email=(OPS, "two@example.com"))},
    rules=(
        Rule(name="runs", match=Match(type=("airflow.dag*",)), to=("ops",)),
        Rule(
            name="tasks", match=Match(type=("airflow.task*", "airflow.asset*")), notify_on=TELL, to=("ops",)
        ),
    ),
)


@pytest.fixture
def alike(tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    pair = (Database(f"sqlite:///{tmp_path / 'one.db'}"), Database(f"sqlite:///{tmp_path / 'other.db'}"))
    for database in pair:
        migrate(database)
    yield pair
    for database in pair:
        database.close()


def _ingested(database: Database, *batches: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What stands in a database that was empty, but for what Town puts there."""
    database.write_now(_empty)
    clock = FakeClock()
    clock.forward(600)
    town = Town(database, TELLS_ALL, clock)
    ingest = Ingest(
        database, town.engine.notify_all, Wakeups(WakeSignal(), WakeSignal(), {}), town.metrics, clock
    )
    for batch in batches:
        parsed = [parse_event(raw) for raw in batch]
        database.write_now(partial(ingest.log, events=parsed))()
    assert town.metrics.undecided._value.get() == 0
    return written(database)


def _empty(connection: Connection) -> None:
    for table in WRITTEN:
        connection.execute(delete(table))
    connection.execute(update(log_state).values(last_seq=0))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(ANYTHING, min_size=1, max_size=40), size=st.integers(2, 100))
def test_any_events_are_written_as_if_they_came_one_by_one(
    alike: tuple[Database, Database], story: list[dict[str, Any]], size: int
) -> None:
    one, other = alike
    together = _ingested(one, *(story[start : start + size] for start in range(0, len(story), size)))
    assert together == _ingested(other, *([raw] for raw in story))


def test_what_comes_again_after_it_was_set_otherwise_says_nothing_new(
    alike: tuple[Database, Database],
) -> None:
    one, other = alike
    success, failed = (_task("etl", 1, state, True, "reconciler") for state in ("success", "failed"))
    filed = _task("etl", 1, "failed", False, "reconciler")
    together = _ingested(one, [success], [failed], [success, filed])
    assert together == _ingested(other, [success], [failed], [success], [filed])
    assert len(together["events"]) == 2

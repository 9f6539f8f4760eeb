"""A batch is decided, and shown on the board, as if its events had come one by one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from monitor import board, event_log
from monitor.database import Database
from monitor.database.migrate import migrate
from monitor.database.schema import (
    assets,
    dag_runs,
    decisions,
    deliveries,
    incidents,
    notification_incidents,
    notifications,
    task_instances,
    tries,
)
from monitor.events import parse_event
from monitor.rules import Rules, default_config
from monitor.rules.facts import Facts
from monitor.rules.model import Rule
from tests.monitor.conftest import FakeClock
from tests.monitor.notify_support import Town
from tests.sample import asset_event, run_event, task_event

OPS = "ops@example.com"
TI = "00000000-0000-7000-8000-000000000001"
WRITTEN = (
    *(assets, dag_runs, decisions, deliveries, incidents),
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
            seqs = event_log.append(connection, events, town.clock())
            logged = [(seq, event) for seq, event in zip(seqs, events, strict=True) if seq is not None]
            board.apply_all(connection, logged)
            town.engine.tell_all(connection, logged, town.clock())

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

    def for_event(self, facts: Facts) -> list[Rule]:
        if facts.event.get("run_id") == "c":
            raise RuntimeError("cannot decide")
        return super().for_event(facts)


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

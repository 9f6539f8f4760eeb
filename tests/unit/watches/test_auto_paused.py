"""A DAG that Airflow pauses by itself: told once, with what to do, until it is unpaused."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.events.from_airflow import pause_event
from monitor.rules.loader import default_config
from monitor.rules.model import Watch
from tests.unit.airflow_api_fake import FakeAirflow, run_row, serving
from tests.unit.conftest import FakeClock
from tests.unit.watch_support import Scene, kinds, play, sqlite

MINUTE = timedelta(minutes=1)
WATCHES = [Watch(name="auto_paused", watch="auto_paused")]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite(tmp_path) as database:
        yield database


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        fake.dag_rows = [{"dag_id": "etl", "max_consecutive_failed_dag_runs": 3}]
        fake.runs = [run_row(f"run_{number}", clock(), "failed") for number in range(3)]
        yield fake


async def pause(on: Scene, number: int = 1, paused: bool = True) -> None:
    row = {"dag_id": "etl", "is_paused": paused}
    await on.take(pause_event("local", row, on.fake.clock(), number))


def entry(owner: str) -> dict[str, Any]:
    return {"dag_id": "etl", "event": "paused", "owner": owner, "when": "2026-11-22T12:00:00Z"}


@pytest.mark.parametrize("audit", [None, [entry("scheduler")]], ids=["inferred", "audit log"])
def test_it_is_told_once_and_again_when_it_is_paused_again(
    fake: FakeAirflow, database: Database, audit: list[dict[str, Any]] | None
) -> None:
    fake.audit = audit

    async def act(on: Scene) -> None:
        on.know("etl")
        await on.look_for(5 * MINUTE)
        for number in (1, 2):
            await pause(on, number)
            (told,) = await on.look_for(3 * MINUTE)
            assert (told["type"], told["subject"]) == ("windsock.dag.auto_paused", "etl")
            assert told["data"]["failed_runs"] == 3
            assert told["data"]["is_certain"] == (audit is not None)
            assert "no other watch looks at it" in told["data"]["remedy"]
            on.start()
            assert await on.look_for(3 * MINUTE) == []
            await pause(on, number, paused=False)
            (over,) = await on.look_for(3 * MINUTE)
            assert (over["type"], over["data"]["what"]) == ("windsock.dag.recovered", "etl is unpaused")

    play(fake, database, act, WATCHES)


@pytest.mark.parametrize(
    ("limit", "state", "audit"),
    [
        (0, "failed", [entry("scheduler")]),
        (4, "failed", [entry("scheduler")]),
        (3, "success", [entry("scheduler")]),
        (3, "failed", []),
        (3, "failed", [entry("anna")]),
    ],
    ids=["no limit", "fewer runs than the limit", "the last one succeeded", "by the interface", "by Anna"],
)
def test_a_pause_that_a_person_made_is_not_told(
    fake: FakeAirflow, database: Database, limit: int, state: str, audit: list[dict[str, Any]]
) -> None:
    fake.dag_rows[0]["max_consecutive_failed_dag_runs"] = limit
    fake.runs[0]["state"] = state
    fake.audit = audit

    async def act(on: Scene) -> None:
        on.know("etl")
        await pause(on)
        assert await on.look_for(5 * MINUTE) == []
        assert len(fake.requests("/details")) == 1  # and asked about once

    play(fake, database, act, WATCHES)


def test_one_that_was_paused_when_it_was_first_seen_is_not_told(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", is_paused=True)
        assert await on.look_for(5 * MINUTE) == []

    play(fake, database, act, WATCHES)


def test_it_is_told_without_a_file(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl")
        await pause(on)
        assert "dag.auto_paused" in kinds(await on.look_for(5 * MINUTE))

    play(fake, database, act, list(default_config(["a@example.com"], []).watches))

"""A backfill is announced once it is through: how many runs, how many failed."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from monitor.airflow.client import AirflowApi
from monitor.database.engine import Database
from monitor.events.event import parse_event
from monitor.reconciler.backfills import Backfills
from tests.sample import run_event
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, Row, moment, serving
from tests.unit.conftest import NOW, FakeClock
from tests.unit.reconciler_support import Scene, scene

GOLDEN = json.loads((Path(__file__).parents[2] / "contract" / "backfill.completed.json").read_text())


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        fake.runs = [{**run, "_updated_at": NOW} for run in GOLDEN["runs"]]
        yield fake


def backfill(number: int, through: timedelta | None) -> Row:
    """Through so long ago; None: not yet."""
    completed = None if through is None else moment(NOW - through)
    return {**GOLDEN["backfill"], "id": number, "completed_at": completed}


class Looks:
    def __init__(self, on: Scene, fake: FakeAirflow, api: AirflowApi) -> None:
        self.on = on
        self._snapshot = Backfills(api, on.database, on.ingest, on.metrics, fake.clock)

    async def look(self) -> list[str]:
        """Compare; answers which backfills are in the log."""
        await self._snapshot.compare()
        return [event_id for event_id in self.on.logged() if event_id.startswith("backfill:")]

    async def end_run(self, run_type: str = "backfill", run_id: str = "backfill__1") -> None:
        await self.on.ingest.take([parse_event(run_event(run_id=run_id, run_type=run_type))])


def play(fake: FakeAirflow, database: Database, act: Any) -> None:
    async def story() -> None:
        api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, fake.clock)
        try:
            async with scene(fake, database) as on:
                await act(Looks(on, fake, api))
        finally:
            await api.close()

    asyncio.run(story())


def test_it_is_reported_once_when_it_is_through(fake: FakeAirflow, database: Database) -> None:
    fake.backfills = [backfill(12, None)]

    async def act(looks: Looks) -> None:
        assert await looks.look() == []
        assert not fake.requests("/backfills")  # nothing says that there is one
        await looks.end_run()
        assert await looks.look() == []
        fake.backfills = [backfill(12, timedelta(seconds=5))]
        assert await looks.look() == ["backfill:12:completed"]
        asked = len(fake.asked)
        await looks.end_run("manual", "manual__2")
        assert await looks.look() == ["backfill:12:completed"]
        assert len(fake.asked) == asked  # nothing is under way any more
        await looks.end_run(run_id="backfill__3")  # of the next one
        fake.backfills += [backfill(13, timedelta(seconds=5))]
        assert await looks.look() == ["backfill:12:completed", "backfill:13:completed"]

    play(fake, database, act)


def test_one_that_was_through_long_ago_is_no_news(fake: FakeAirflow, database: Database) -> None:
    fake.backfills = [backfill(3, timedelta(days=9)), backfill(4, timedelta(hours=1))]

    async def act(looks: Looks) -> None:
        await looks.end_run()
        assert await looks.look() == ["backfill:4:completed"]

    play(fake, database, act)


def test_a_user_who_may_not_read_backfills_is_said_once(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    fake.failures = [("/backfills", JSONResponse({"detail": "Forbidden"}, 403)) for _ in range(9)]

    async def act(looks: Looks) -> None:
        for number in range(3):
            await looks.end_run(run_id=f"backfill__{number}")
            assert await looks.look() == []

    play(fake, database, act)
    assert caplog.text.count("etl of backfills") == 1

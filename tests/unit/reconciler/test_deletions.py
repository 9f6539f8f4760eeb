"""Runs and DAGs that are deleted from Airflow: known by its own word, shown, their incidents closed."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from monitor.airflow.client import AirflowApi
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.errors import AirflowError
from monitor.event_log import append, read
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.projections import dags, runs
from monitor.event_log.projections.runs import RunName
from monitor.events.event import parse_event
from monitor.notifications import incidents as notifications_incidents
from monitor.notifications.incidents import Incident
from monitor.observability.metrics import Metrics
from monitor.reconciler.deletions import ASK_AGAIN, Deletions
from tests.sample import run_event
from tests.unit.airflow_api_fake import NO_ROUTE, PASSWORD, USERNAME, FakeAirflow, run_row, serving
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import engine_of

LATER = ASK_AGAIN.total_seconds() + 1


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


@dataclass
class Scene:
    deletions: Deletions
    ingest: Ingest
    database: Database
    fake: FakeAirflow

    async def take(self, *raw: dict[str, Any]) -> None:
        await self.ingest.take([parse_event(one) for one in raw])

    async def look(self, after: float = 60) -> None:
        self.fake.clock.forward(after)
        await self.deletions.compare()

    def state(self, run_id: str = "manual__1") -> str:
        row = self.database.read_now(lambda c: runs.run(c, RunName("local", "etl", run_id)))
        assert row is not None
        return str(row["state"])

    def incidents(self) -> list[Incident]:
        return self.database.read_now(lambda c: notifications_incidents.page(c, 10))

    def deleted(self) -> list[dict[str, Any]]:
        page = self.database.read_now(lambda c: read.read_after(c, 0, 1_000))
        told = [json.loads(one.body) for one in page.events]
        return [one for one in told if one["type"] == "airflow.dag_run.deleted"]


def play(fake: FakeAirflow, database: Database, act: Callable[[Scene], Awaitable[None]]) -> None:
    async def story() -> None:
        metrics = Metrics()
        ingest = Ingest(
            database,
            engine_of().notify_all,
            Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()}),
            metrics,
            fake.clock,
        )
        api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, fake.clock)
        deletions = Deletions(api, database, ingest, metrics, fake.clock)
        writer = asyncio.create_task(ingest.run())
        try:
            await act(Scene(deletions, ingest, database, fake))
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            await api.close()

    asyncio.run(story())


def running(fake: FakeAirflow, run_id: str = "manual__1", state: str = "running") -> dict[str, Any]:
    return run_row(run_id, fake.clock(), state)


def test_a_run_that_is_deleted_while_it_runs_is_shown_as_deleted(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        await on.take(run_event("running"))
        fake.runs = [running(fake)]
        await on.look()
        assert (on.state(), fake.requests("/dagRuns/manual__1")) == ("running", [])
        fake.runs = []
        await on.look()
        await on.look()
        assert on.state() == "deleted"
        [told] = on.deleted()
        assert (told["subject"], told["data"]["start_date"]) == (
            "etl/manual__1",
            run_event()["data"]["start_date"],
        )
        await on.take(run_event("running", start=3600))  # made anew under the same name
        assert on.state() == "running"

    play(fake, database, act)


@pytest.mark.parametrize(
    "answer",
    [
        PlainTextResponse("default backend - 404", 404),
        JSONResponse({"detail": "Not Found"}, 404),
        JSONResponse({"detail": "Forbidden"}, 403),
        PlainTextResponse("", 503),
        NO_ROUTE,
    ],
)
def test_only_airflows_own_word_on_the_run_counts(
    fake: FakeAirflow, database: Database, answer: Response
) -> None:
    async def act(on: Scene) -> None:
        await on.take(run_event("running"), run_event("failed", run_id="other"))
        for _ in range(3):
            fake.failures = [("/dagRuns/", answer)] * 5
            with contextlib.suppress(AirflowError):
                await on.look(LATER)
        assert (on.state(), on.deleted()) == ("running", [])
        assert on.incidents()[0].is_open

    play(fake, database, act)


def test_a_run_that_ended_a_moment_ago_is_left_to_its_end(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        await on.take(run_event("running"))
        fake.runs = [running(fake, state="success")]
        for _ in range(2):
            await on.look()
        assert on.state() == "running"
        assert len(fake.requests("/dagRuns/manual__1")) == 1  # and not asked about at each look

    play(fake, database, act)


def test_an_incident_is_closed_when_every_run_of_it_is_deleted(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        for number in range(2):
            await on.take(run_event("failed", run_id=f"run_{number}", start=60 * number))
        fake.runs = [running(fake, f"run_{number}", "failed") for number in range(2)]
        await on.look(LATER)
        del fake.runs[1]
        await on.look(LATER)
        assert on.incidents()[0].is_open  # the first failure is still there
        del fake.runs[0]
        await on.look(LATER)
        [incident] = on.incidents()
        assert (incident.state, incident.closed_because) == (
            "closed",
            "its 2 runs were deleted from Airflow",
        )
        assert (on.state("run_0"), on.state("run_1")) == ("deleted", "deleted")

    play(fake, database, act)


def test_an_incident_is_closed_when_its_dag_is_deleted(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        await on.take(run_event("failed"))
        fake.runs = [running(fake, state="failed")]
        listed: dict[str, Any] = {
            "tags": [],
            "owners": [],
            "schedule": None,
            "next_run_after": None,
            "seen_at": None,
            "is_partitioned": False,
        }
        stale = {"etl": {**listed, "is_stale": True}}
        new = {"etl": {**stale["etl"], "is_paused": False}}
        database.write_now(lambda c: dags.see_dags(c, "local", new))
        await on.look(LATER)
        assert on.incidents()[0].is_open  # gone from its file, and not deleted
        fake.deleted_dags = {"etl"}
        await on.look(LATER)
        [incident] = on.incidents()
        assert incident.closed_because == "the DAG etl was deleted from Airflow"

    play(fake, database, act)


def test_an_incident_of_which_the_log_has_forgotten_a_failure_stays_open(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        await on.take(run_event("failed", run_id="old"))
        fake.clock.forward(60)
        await on.take(run_event("failed", start=60))
        database.write_now(lambda c: append.prune(c, fake.clock()))
        await on.look(LATER)
        assert on.incidents()[0].is_open

    play(fake, database, act)

"""A run's end is reported: what hooks do not tell of its tasks is in the log at once, and Airflow's work for
it is bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from monitor.concurrency import end
from monitor.database.engine import Database
from monitor.events import from_airflow
from monitor.events.event import Event
from monitor.reconciler.ended_runs import LOOKS, MAX_ALONE, MAX_WAITING
from tests import wait
from tests.unit.airflow_api_fake import FakeAirflow, Row, run_row, serving, task_row
from tests.unit.conftest import NOW, FakeClock
from tests.unit.reconciler_support import Scene, ago, play

OF_THE_RUN = "/dagRuns/manual__1/taskInstances"
OF_ALL = "/dagRuns/~/taskInstances"
NEVER = 3600.0
"""The interval: no poll comes between."""


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


def ended(run_id: str = "manual__1", at: datetime = NOW, due: datetime | None = None) -> Event:
    event = from_airflow.run_event("local", run_row(run_id, at, due=due), NOW)
    assert event is not None
    return event


def silent(number: int, state: str = "success", run_id: str = "manual__1") -> Row:
    """A task that no worker ever had: an EmptyOperator's, or one that a branch left out."""
    row = task_row(number, NOW, state)
    return row | {"hostname": None, "operator": "EmptyOperator", "dag_run_id": run_id}


def id_of(row: Row) -> str:
    return f"task:{row['id']}:{row['state']}"


@asynccontextmanager
async def at_work(on: Scene) -> AsyncIterator[None]:
    running = asyncio.create_task(on.reconciler.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        await end([running])


async def until_logged(on: Scene, wanted: set[str]) -> None:
    await asyncio.to_thread(wait.until, lambda: wanted <= set(on.logged()), f"{wanted} in the log")


async def until_done(on: Scene, result: str, count: int = 1) -> None:
    name = "windsock_reconcile_ended_runs_total"
    await asyncio.to_thread(wait.until, lambda: on.count(name, result=result) >= count, result)


def test_what_no_hook_reports_is_logged_without_a_poll_and_asked_for_once(
    fake: FakeAirflow, database: Database
) -> None:
    fake.tasks = [
        silent(1),
        silent(2, "skipped"),
        silent(3, "upstream_failed"),
        silent(4, "removed"),
        task_row(5, ago(seconds=2), "failed"),  # whose process was killed
    ]

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended()])
            await until_logged(on, set(map(id_of, fake.tasks)))
            await until_done(on, "complete")
        assert len(fake.requests(OF_THE_RUN)) == 1
        assert not fake.requests(OF_ALL)

    play(fake, database, act, interval=NEVER)


def test_it_looks_again_because_a_runs_hook_fires_before_airflow_commits(
    fake: FakeAirflow, database: Database
) -> None:
    uncommitted = silent(1) | {"state": "scheduled", "end_date": None}
    fake.tasks = [uncommitted]

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended()])
            await asyncio.to_thread(wait.until, lambda: fake.requests(OF_THE_RUN), "a first look")
            fake.tasks = [silent(1)]
            await until_logged(on, {id_of(silent(1))})
            await until_done(on, "complete")
        assert len(fake.requests(OF_THE_RUN)) == 2

    play(fake, database, act, interval=NEVER)


def test_a_hook_that_may_still_report_comes_first(fake: FakeAirflow, database: Database) -> None:
    """Its report holds the error. What only a poll sees has more of a head start still."""
    fake.tasks = [task_row(1, NOW, "failed")]

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended()])
            await asyncio.to_thread(wait.until, lambda: fake.requests(OF_THE_RUN), "a first look")
            assert id_of(fake.tasks[0]) not in on.logged()
            fake.clock.forward(1)
            await until_logged(on, {id_of(fake.tasks[0])})

    play(fake, database, act, interval=NEVER)


def test_a_run_that_never_completes_is_left_to_the_poll(fake: FakeAirflow, database: Database) -> None:
    fake.tasks = [silent(1) | {"state": None, "end_date": None}]  # dagrun_timeout before Airflow 3.2

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended()])
            await until_done(on, "left")
        assert len(fake.requests(OF_THE_RUN)) == len(LOOKS)

    play(fake, database, act, interval=NEVER)


def test_a_hundred_runs_that_end_together_are_shown_by_one_listing(
    fake: FakeAirflow, database: Database
) -> None:
    runs = [f"run_{number}" for number in range(100)]
    fake.tasks = [silent(number, run_id=run) for number, run in enumerate(runs)]

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended(run) for run in runs])
            await until_logged(on, set(map(id_of, fake.tasks)))
            await until_done(on, "left", 100)
        assert not fake.requests("/dagRuns/run_")
        assert len(fake.requests(OF_ALL)) <= 2 * len(LOOKS)

    play(fake, database, act, interval=NEVER)


def test_old_runs_that_end_together_are_asked_for_few_at_a_time(
    fake: FakeAirflow, database: Database
) -> None:
    """The listing of recent runs does not show them: a backfill's."""
    runs = [f"backfill_{number}" for number in range(3 * MAX_ALONE)]
    fake.tasks = [silent(number, run_id=run) for number, run in enumerate(runs)]

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended(run, due=NOW - timedelta(days=9)) for run in runs])
            await until_logged(on, set(map(id_of, fake.tasks)))
            await until_done(on, "complete", len(runs))
        assert len(fake.requests("/dagRuns/backfill_")) == len(runs)
        assert not fake.requests(OF_ALL)

    play(fake, database, act, interval=NEVER)


def test_more_than_it_remembers_is_left_to_the_poll(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        async with at_work(on):
            events = [ended(f"run_{number}") for number in range(MAX_WAITING + 7)]
            for start in range(0, len(events), 500):
                await on.ingest.take(events[start : start + 500])
            await until_done(on, "left", len(events))
        assert len(fake.requests("/taskInstances")) <= 2 * len(LOOKS)

    play(fake, database, act, interval=NEVER)


def test_an_old_end_out_of_a_spool_is_left_to_the_poll(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended("old", ago(hours=1)), ended()])
            await until_done(on, "complete")
        assert not fake.requests("/dagRuns/old/")

    play(fake, database, act, interval=NEVER)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_an_airflow_that_does_not_answer_is_asked_no_more_than_an_incomplete_run(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    fake.tasks = [silent(1)]
    fake.failures = [(OF_THE_RUN, PlainTextResponse("", status)) for _ in range(100)]

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended()])
            await until_done(on, "left")
        assert len(fake.requests(OF_THE_RUN)) == len(LOOKS)

    play(fake, database, act, interval=NEVER)
    assert caplog.text.count("wait for the next poll") == 1


def test_a_run_that_was_deleted_meanwhile_is_done_with(fake: FakeAirflow, database: Database) -> None:
    said = {"detail": "The DagRun with dag_id: `etl` and run_id: `manual__1` was not found"}
    fake.failures = [(OF_THE_RUN, JSONResponse(said, 404)) for _ in range(100)]

    async def act(on: Scene) -> None:
        async with at_work(on):
            await on.ingest.take([ended()])
            await until_done(on, "complete")
        assert len(fake.requests(OF_THE_RUN)) == 1

    play(fake, database, act, interval=NEVER)

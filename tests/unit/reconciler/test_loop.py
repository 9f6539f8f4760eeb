"""The reconciler: what it fills in, what it waits for, and what holds it up."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.responses import JSONResponse, PlainTextResponse

from monitor.concurrency import end
from monitor.database.engine import Database
from monitor.database.schema import task_instances
from monitor.errors import AirflowRefused, AirflowUnreachable
from monitor.event_log.projections import tries
from monitor.events import from_airflow
from monitor.events.event import parse_event
from monitor.events.identity import stamp
from monitor.reconciler.comparison import OVERLAP
from monitor.reconciler.listings import LISTINGS
from monitor.reconciler.status import MAX_BACK_OFF, TOLERATED
from tests import wait
from tests.unit.airflow_api_fake import FakeAirflow, asset_row, run_row, serving, task_row
from tests.unit.conftest import NOW, FakeClock
from tests.unit.reconciler_support import INTERVAL, Scene, ago, play, run_ids, scene


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


def test_it_fills_in_what_the_log_lacks_once(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("told", ago(minutes=1)), run_row("lacking", ago(minutes=1), "failed")]
    fake.tasks = [task_row(1, ago(minutes=1), "upstream_failed")]
    fake.assets = [asset_row(7, ago(minutes=1), ["release__1"])]
    told = from_airflow.run_event("local", fake.runs[0], NOW)
    assert told is not None

    async def act(on: Scene) -> None:
        await on.ingest.take([told])
        for _ in range(3):
            assert await on.reconciler.poll() == INTERVAL
        logged = on.logged()
        assert len(logged) == len(set(logged)) == 4
        assert {"asset_event:7", "task:01936a5e-0000-7000-8000-000000000001:upstream_failed"} < set(logged)
        assert on.count("windsock_reconcile_filled_total", type="airflow.dag_run.failed") == 1
        assert on.count("windsock_reconcile_filled_total", type="airflow.dag_run.success") == 0
        assert on.count("windsock_reconcile_polls_total", result="ok") == 3
        assert on.reconciler.status.last_good == NOW

    play(fake, database, act)


@pytest.mark.parametrize("path", ["/dagRuns", "/taskInstances", "/assets/events"])
def test_a_failure_in_the_middle_loses_nothing(fake: FakeAirflow, database: Database, path: str) -> None:
    fake.tasks = [task_row(number, ago(minutes=1)) for number in range(150)]
    fake.runs = [run_row(str(number), ago(minutes=1)) for number in range(150)]
    fake.assets = [asset_row(number, ago(minutes=1), ["r"]) for number in range(150)]
    answers = 0

    def fail_at_the_second_page(request: Any) -> None:
        nonlocal answers
        if request.url.path.endswith(path):
            answers += 1
            if answers == 2:
                fake.failures.append((path, PlainTextResponse("", 503)))

    fake.before_answer = fail_at_the_second_page

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert 0 < len(on.logged()) < 450
        fake.clock.forward(TOLERATED.total_seconds())
        assert "503" in str(on.trouble())
        fake.clock.forward(3600)
        await on.reconciler.poll()
        assert len(on.logged()) == len(set(on.logged())) == 450
        assert on.trouble() is None

    play(fake, database, act)


def test_airflows_dates_of_a_task_replace_its_hooks(fake: FakeAirflow, database: Database) -> None:
    """A hook speaks from within the task's process: it showed 0.3 s where Airflow and the mail said 4.4 s."""
    end = ago(seconds=1)  # too young to be told by the reconciler, and not too young to correct
    fake.tasks = [task_row(1, end), task_row(2, end), task_row(3, end, "failed")]
    listed = [event for row in fake.tasks if (event := from_airflow.task_event("local", row, NOW))]
    told = []
    for event in listed[:2]:
        hooks = json.loads(event.body)
        hooks["data"] |= {"start_date": stamp(end - timedelta(seconds=0.3)), "reported_by": "listener"}
        told.append(parse_event(hooks))

    def dates() -> dict[str, tuple[Any, Any]]:
        rows = database.read_now(lambda connection: connection.execute(select(task_instances)).all())
        return {row.ti_id: (row.start_date, row.end_date) for row in rows}

    async def act(on: Scene) -> None:
        await on.ingest.take(told)
        logged = on.logged()
        assert {start for start, _ in dates().values()} == {end - timedelta(seconds=0.3)}
        await on.reconciler.poll()
        expected = {one.get("ti_id"): (one.get("start_date"), end) for one in listed[:2]}
        assert dates() == expected
        assert on.logged() == logged
        assert not database.read_now(lambda connection: tries.find_changed_dates(connection, [listed[0]]))

    play(fake, database, act)


def test_the_listeners_report_has_a_head_start(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("young", ago(seconds=1)), run_row("old", ago(seconds=30))]
    fake.runs.append(run_row("by a clock ahead of airflow's", NOW + timedelta(seconds=40), updated=NOW))

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert set(on.logged()) == run_ids(fake, "old", "by a clock ahead of airflow's")
        fake.clock.forward(OVERLAP.total_seconds() + 3600)
        await on.reconciler.poll()
        assert set(on.logged()) == run_ids(fake, *(row["dag_run_id"] for row in fake.runs))

    play(fake, database, act)


def test_an_asset_event_waits_a_little_for_the_runs_that_it_creates(
    fake: FakeAirflow, database: Database
) -> None:
    fake.assets = [asset_row(1, NOW), asset_row(2, NOW), asset_row(3, NOW, ["release__3"])]

    async def act(on: Scene) -> None:
        await on.reconciler.look_at_assets()
        assert on.logged() == ["asset_event:3"]
        fake.assets[0] = asset_row(1, NOW, ["release__1"])
        fake.clock.forward(1)
        await on.reconciler.look_at_assets()
        assert on.logged() == ["asset_event:3", "asset_event:1"]
        fake.clock.forward(2)
        await on.reconciler.look_at_assets()
        assert on.logged() == ["asset_event:3", "asset_event:1", "asset_event:2"]

    play(fake, database, act)


def test_a_row_that_makes_no_sense_holds_up_no_other(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    fake.runs = [{**run_row("bad", ago(minutes=1)), "dag_id": None}, run_row("good", ago(minutes=1))]

    async def act(on: Scene) -> None:
        for _ in range(3):
            await on.reconciler.poll()
        assert set(on.logged()) == run_ids(fake, "good")
        assert on.trouble() is None

    play(fake, database, act)
    assert caplog.text.count("dag_id: None") == 1


def test_a_listing_that_airflow_fails_at_holds_up_no_other(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("seen", ago(minutes=1))]
    fake.failures = [("/taskInstances", PlainTextResponse("", 500)) for _ in range(100)]

    async def act(on: Scene) -> None:
        assert await on.reconciler.poll() == INTERVAL
        assert set(on.logged()) == run_ids(fake, "seen")
        fake.clock.forward(TOLERATED.total_seconds())
        assert "500" in str(on.trouble())

    play(fake, database, act)


def test_since_when_airflow_is_silent(fake: FakeAirflow, database: Database) -> None:
    """What one listing fails at is no silence; nor is a refusal of one."""
    fake.runs = [run_row("seen", ago(minutes=1))]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert on.reconciler.status.silent_since is None
        assert set(on.reconciler.status.marks) == {listing.name for listing in LISTINGS}
        fake.failures = [("/assets/events", JSONResponse({}, 500))]
        await on.reconciler.poll()
        assert on.reconciler.status.silent_since is None
        silent_since = fake.clock.now
        for _ in range(3):
            fake.failures = [("", JSONResponse({}, 503)) for _ in range(10)]
            await on.reconciler.poll()
            assert on.reconciler.status.silent_since == silent_since
            fake.clock.forward(60)
        fake.failures = []
        await on.reconciler.poll()
        assert on.reconciler.status.silent_since is None

    play(fake, database, act)


@dataclass
class Snap:
    """A snapshot that fails when it is told to."""

    name: str
    every: timedelta
    failure: Exception | None = None
    compared: int = 0

    async def is_wanted(self) -> bool:
        return False

    async def compare(self) -> None:
        self.compared += 1
        if self.failure:
            raise self.failure


def test_snapshots_are_compared_when_they_are_due_and_one_that_is_refused_is_trouble(
    fake: FakeAirflow, database: Database
) -> None:
    refused = Snap("errors", timedelta(seconds=60), AirflowRefused("403: no"))
    quick, slow = Snap("quick", timedelta(seconds=15)), Snap("slow", timedelta(minutes=5))
    fake.runs = [run_row("seen", ago(minutes=1))]

    async def story() -> None:
        async with scene(fake, database, snapshots=[refused, quick, slow]) as on:
            for _ in range(4):
                assert await on.reconciler.poll() == INTERVAL
                assert on.trouble() == "403: no"  # also where it was not due
                fake.clock.forward(15)
            assert (refused.compared, quick.compared, slow.compared) == (1, 4, 1)
            assert set(on.logged()) == run_ids(fake, "seen")
            assert await on.reconciler.look_at_assets()
            assert on.trouble() == "403: no"  # what else goes well does not mend it
            refused.failure = None
            await on.reconciler.poll()
            assert on.trouble() is None
            quick.failure = AirflowUnreachable("500")
            fake.clock.forward(15)
            await on.reconciler.poll()
            quick.failure = None
            await on.reconciler.poll()  # no answer is no answer: it is asked again at once
            assert on.trouble() is None

    asyncio.run(story())


def test_an_airflow_that_hangs_does_not_slow_another(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("seen", ago(minutes=1))]
    release = threading.Event()

    def hang(_request: Any) -> None:
        release.wait(20)

    async def story(other: FakeAirflow) -> None:
        other.before_answer = hang
        async with scene(other, database) as hanging, scene(fake, database) as on:
            waiting = asyncio.create_task(hanging.reconciler.poll())
            try:
                await asyncio.to_thread(wait.until, lambda: other.asked, "the other to be asked")
                assert await on.reconciler.poll() == INTERVAL
                assert set(on.logged()) == run_ids(fake, "seen")
                assert not waiting.done()
            finally:
                release.set()
                await waiting

    with serving(FakeAirflow(fake.clock)) as other:
        asyncio.run(story(other))


def test_a_user_that_may_not_read_assets_gets_the_rest(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("seen", ago(minutes=1))]
    fake.failures = [("/assets/events", JSONResponse({"detail": "Forbidden"}, 403))]

    async def act(on: Scene) -> None:
        assert await on.reconciler.poll() == INTERVAL
        assert set(on.logged()) == run_ids(fake, "seen")
        assert "403" in str(on.trouble())
        assert on.count("windsock_reconcile_polls_total", result="refused") == 1

    play(fake, database, act)


def test_an_airflow_that_is_away_is_asked_less_often_and_told_of_once(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="monitor.reconciler")
    fake.failures = [("/api/v2", PlainTextResponse("", 502)) for _ in range(2 * 10)]

    async def act(on: Scene) -> None:
        waits = [await on.reconciler.poll() for _ in range(10)]
        assert all(wait <= MAX_BACK_OFF for wait in waits)
        assert waits[0] <= INTERVAL
        assert min(waits[4:]) >= MAX_BACK_OFF / 2
        assert on.count("windsock_reconcile_polls_total", result="unreachable") == 10
        fake.clock.forward(100)
        assert await on.reconciler.poll() == INTERVAL
        assert on.count("windsock_reconcile_lag_seconds", listing="dag_runs") == 0

    play(fake, database, act)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("monitor.reconciler")]
    assert len(told) == 2
    assert "502" in told[0]
    assert "again" in told[1]


def test_a_retry_to_come_is_not_asked_for_because_its_row_has_the_next_trys_id(
    fake: FakeAirflow, database: Database
) -> None:
    fake.tasks = [task_row(1, ago(minutes=1), "up_for_retry"), task_row(2, ago(minutes=1), "running")]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert on.logged() == ["task:01936a5e-0000-7000-8000-000000000002:running"]

    play(fake, database, act)


@pytest.mark.slow
def test_a_nudge_has_it_look_at_assets_at_once_and_polling_goes_on(
    fake: FakeAirflow, database: Database
) -> None:
    fake.runs = [run_row("polled", ago(minutes=1))]

    async def until(on: Scene, wanted: set[str]) -> None:
        await asyncio.to_thread(wait.until, lambda: set(on.logged()) == wanted, f"{wanted} in the log")

    async def act(on: Scene) -> None:
        running = asyncio.create_task(on.reconciler.run())
        try:
            # The hook fires before Airflow commits: the first look finds nothing.
            on.wakes.reconcilers["local"].set()
            await asyncio.to_thread(wait.until, lambda: fake.requests("/assets/events"), "a first look")
            fake.assets = [asset_row(1, NOW, ["release__1"])]
            await until(on, {"asset_event:1"})
            assert fake.requests("/dagRuns") == []
        finally:
            await end([running])

    async def poll(on: Scene) -> None:
        running = asyncio.create_task(on.reconciler.run())
        try:
            await until(on, {"asset_event:1", *run_ids(fake, "polled")})
        finally:
            await end([running])

    play(fake, database, act, interval=3600)
    play(fake, database, poll, interval=0.05)

"""The reconciler against a scripted Airflow and a real database: what it fills in, and what never happens."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.responses import JSONResponse, PlainTextResponse

from monitor import event_log
from monitor.airflow_api import AirflowApi
from monitor.database import Database
from monitor.database.migrate import migrate
from monitor.errors import AirflowRefused
from monitor.events import rest
from monitor.ingest import Ingest, Wakes
from monitor.metrics import Metrics
from monitor.reconciler import Reconciler
from monitor.reconciler.comparison import OVERLAP
from monitor.reconciler.snapshots import Snapshot
from monitor.reconciler.standing import MAX_BACK_OFF, TOLERATED
from monitor.rules import default_rules
from monitor.telling import Telling
from monitor.wake import Wake
from tests import wait
from tests.monitor.airflow_api_fake import (
    PASSWORD,
    UPDATED,
    USERNAME,
    FakeAirflow,
    asset_row,
    moment,
    run_row,
    serving,
    task_row,
)
from tests.monitor.conftest import NOW, FakeClock

INTERVAL = 15.0
STEP = 300  # rows of a listing in one comparison
RETENTION = timedelta(days=90)


def ago(**units: float) -> Any:
    return NOW - timedelta(**units)


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


@dataclass
class Scene:
    """A reconciler at work, and the log that it fills."""

    reconciler: Reconciler
    ingest: Ingest
    wakes: Wakes
    metrics: Metrics
    database: Database

    def logged(self) -> list[str]:
        page = self.database.read_now(lambda connection: event_log.read_after(connection, 0, 20_000))
        return [json.loads(event.body)["id"] for event in page.events]

    def count(self, name: str, **labels: str) -> float:
        registry: CollectorRegistry = self.metrics.registry
        return registry.get_sample_value(name, {"deployment": "local", **labels}) or 0.0


@asynccontextmanager
async def scene(
    fake: FakeAirflow, database: Database, interval: float = INTERVAL, snapshots: Sequence[Snapshot] = ()
) -> AsyncIterator[Scene]:
    wakes, metrics = Wakes(Wake(), Wake(), Wake()), Metrics()
    ingest = Ingest(
        database, default_rules((), ()), Telling(timedelta(days=1)), wakes, metrics, fake.clock, "example.com"
    )
    api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, fake.clock)
    reconciler = Reconciler(
        *(api, database, ingest, wakes.reconciler, metrics, fake.clock, interval),
        retention=RETENTION,
        snapshots=snapshots,
        max_rows=STEP,
    )
    writer = asyncio.create_task(ingest.run())
    try:
        yield Scene(reconciler, ingest, wakes, metrics, database)
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
        await api.close()


def play(
    fake: FakeAirflow, database: Database, act: Callable[[Scene], Awaitable[None]], interval: float = INTERVAL
) -> None:
    async def story() -> None:
        async with scene(fake, database, interval) as on:
            await act(on)

    asyncio.run(story())


def run_ids(fake: FakeAirflow, *runs: str) -> set[str]:
    """The ids under which these runs stand in the log."""
    built = [rest.run_event("local", row, NOW) for row in fake.runs if row["dag_run_id"] in runs]
    return {event.id for event in built if event}


def test_it_fills_in_what_the_log_lacks_once(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("told", ago(minutes=1)), run_row("lacking", ago(minutes=1), "failed")]
    fake.tasks = [task_row(1, ago(minutes=1), "upstream_failed")]
    fake.assets = [asset_row(7, ago(minutes=1), ["release__1"])]
    told = rest.run_event("local", fake.runs[0], NOW)
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


def test_a_first_start_logs_the_present_first_and_then_a_bounded_past_in_steps(
    fake: FakeAirflow, database: Database
) -> None:
    past = 2 * STEP + 50
    fake.tasks = [task_row(number, ago(hours=1, seconds=number)) for number in range(past)]
    fake.runs = [
        run_row("just now", ago(minutes=2)),
        run_row("an hour ago", ago(hours=1)),
        run_row("an old run that ended an hour ago", ago(hours=1), due=ago(days=400)),
        run_row("last week", ago(days=7)),
    ]

    async def act(on: Scene) -> None:
        assert await on.reconciler.poll() == INTERVAL  # the past is in no hurry
        assert on.logged()[0] in run_ids(fake, "just now")
        assert len(on.logged()) <= STEP + 3
        for _ in range(10):
            assert await on.reconciler.poll() == INTERVAL
        runs = run_ids(fake, *(row["dag_run_id"] for row in fake.runs[:3]))
        assert runs < set(on.logged())
        assert len(on.logged()) == past + 3
        asked = len(fake.asked)
        await on.reconciler.poll()
        assert len(fake.asked) - asked == 5  # the past is over

    play(fake, database, act)


def test_the_past_goes_on_where_the_last_process_left_it(fake: FakeAirflow, database: Database) -> None:
    fake.tasks = [task_row(number, ago(hours=1, seconds=number)) for number in range(2 * STEP)]

    async def first(on: Scene) -> None:
        while not on.logged():
            await on.reconciler.poll()
        assert len(on.logged()) < 2 * STEP

    async def second(on: Scene) -> None:
        for _ in range(10):
            await on.reconciler.poll()
        assert len(on.logged()) == 2 * STEP

    play(fake, database, first)
    fake.clock.forward(24 * 3600)
    play(fake, database, second)


def test_nothing_is_missed_whatever_the_age_of_its_run(fake: FakeAirflow, database: Database) -> None:
    now = NOW + timedelta(seconds=60)
    fake.runs = [
        run_row("cleared after months", now, due=ago(days=200)),
        run_row("a backfill", now, due=ago(days=2000)),
        run_row("yet to come", now, due=NOW + timedelta(days=3)),
        *(run_row(f"{minutes} minutes", now, due=ago(minutes=minutes)) for minutes in range(60, 180, 5)),
    ]
    fake.tasks = [
        task_row(1, ago(days=80), "success", updated=now, due=ago(days=200)),  # by hand, in an ended run
        {**task_row(2, now, "removed", due=ago(days=1)), "start_date": None, "end_date": None},
    ]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        fake.clock.forward(120)
        await on.reconciler.poll()
        assert len(on.logged()) == len(fake.runs) + len(fake.tasks)

    play(fake, database, act)


def test_what_is_dear_to_airflow_is_asked_for_seldom_and_still_told(
    fake: FakeAirflow, database: Database
) -> None:
    def take_long(request: Any) -> None:
        if request.url.path.endswith("/taskInstances") and "run_after_gte" not in request.query_params:
            fake.clock.forward(2)

    fake.before_answer = take_long

    def dear() -> list[str]:
        return [path for path in fake.requests("/taskInstances") if "run_after_gte" not in path]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert len(dear()) == 2  # in the present, and, at a first start, in the past
        fake.clock.forward(300)
        await on.reconciler.poll()
        asked, polls = len(dear()), len(fake.requests("/dagRuns"))
        fake.tasks = [task_row(1, fake.clock(), due=ago(days=9)), task_row(2, fake.clock())]
        fake.clock.forward(190)  # 2 seconds are 1 % of 200
        await on.reconciler.poll()
        assert len(fake.requests("/dagRuns")) > polls
        assert len(dear()) == asked
        assert on.logged() == ["task:01936a5e-0000-7000-8000-000000000002:success"]
        interval = "windsock_reconcile_interval_seconds"
        assert on.count(interval, listing="old_task_instances") == 200
        assert on.count(interval, listing="task_instances") == INTERVAL
        fake.clock.forward(20)
        await on.reconciler.poll()
        assert len(on.logged()) == 2

    play(fake, database, act)


def test_a_row_that_is_touched_long_after_is_not_told_again(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    now = NOW + timedelta(seconds=30)
    fake.tasks = [task_row(n, ago(days=RETENTION.days + 1), updated=now, due=ago(days=40)) for n in range(3)]
    fake.tasks.append(task_row(9, ago(days=RETENTION.days - 1), updated=now, due=ago(days=40)))

    async def act(on: Scene) -> None:
        fake.clock.forward(60)
        await on.reconciler.poll()
        assert on.logged() == ["task:01936a5e-0000-7000-8000-000000000009:success"]
        assert on.count("windsock_reconcile_passed_over_total", reason="forgotten") == 3

    play(fake, database, act)
    assert caplog.text.count("before what the log keeps") == 1


def test_what_is_set_by_hand_after_the_log_has_forgotten_it_is_told(
    fake: FakeAirflow, database: Database
) -> None:
    fake.tasks = [task_row(1, ago(minutes=1), "failed"), task_row(2, ago(minutes=1), "failed")]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert len(on.logged()) == 2
        fake.clock.forward(100 * 24 * 3600)
        await on.database.write(lambda connection: event_log.prune(connection, fake.clock()))
        fake.tasks[0]["state"] = "success"  # Airflow leaves the old end_date
        for row in fake.tasks:
            row[UPDATED] = fake.clock()
        await on.reconciler.poll()
        assert on.logged() == ["task:01936a5e-0000-7000-8000-000000000001:success:2"]
        assert on.count("windsock_reconcile_passed_over_total", reason="forgotten") > 0

    play(fake, database, act)


def test_what_was_set_by_hand_and_set_back_is_told_again(fake: FakeAirflow, database: Database) -> None:
    row = run_row("manual__1", ago(minutes=1), "failed")
    fake.runs = [row]

    async def act(on: Scene) -> None:
        for state in ("failed", "success", "failed"):
            row["state"], row[UPDATED] = state, fake.clock()
            row["end_date"] = moment(fake.clock() - timedelta(seconds=10))
            await on.reconciler.poll()
            fake.clock.forward(60)
        first, second, third = on.logged()
        assert first.endswith(":failed")
        assert second.endswith(":success")
        assert third == f"{first}:2"

    play(fake, database, act)


def test_what_happened_while_no_monitor_ran_is_told(fake: FakeAirflow, database: Database) -> None:
    async def first(on: Scene) -> None:
        await on.reconciler.poll()

    async def later(on: Scene) -> None:
        await on.reconciler.poll()
        assert set(on.logged()) == run_ids(fake, "in between")

    play(fake, database, first)
    fake.clock.forward(7 * 24 * 3600)
    fake.runs = [run_row("before", ago(hours=1)), run_row("in between", NOW + timedelta(days=1))]
    play(fake, database, later)


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
        assert "503" in str(on.reconciler.status.last_error)
        fake.clock.forward(3600)
        await on.reconciler.poll()
        assert len(on.logged()) == len(set(on.logged())) == 450
        assert on.reconciler.status.last_error is None

    play(fake, database, act)


def test_what_airflow_commits_late_is_told(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        fake.runs = [run_row("late", ago(seconds=30))]  # before the watermark, and not to be seen until now
        fake.clock.forward(1)
        await on.reconciler.poll()
        assert set(on.logged()) == run_ids(fake, "late")

    play(fake, database, act)


def test_what_comes_very_late_is_told_by_the_deep_look(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        fake.clock.forward(600)
        await on.reconciler.poll()
        fake.runs = [run_row("very late", NOW + timedelta(seconds=30))]
        fake.clock.forward(60)
        await on.reconciler.poll()
        assert on.logged() == []
        fake.clock.forward(300)
        await on.reconciler.poll()
        assert set(on.logged()) == run_ids(fake, "very late")

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


def test_catching_up_goes_in_steps_and_leaves_nothing_out(fake: FakeAirflow, database: Database) -> None:
    async def first(on: Scene) -> None:
        await on.reconciler.poll()

    async def later(on: Scene) -> None:
        waits = [await on.reconciler.poll()]
        assert 0 < len(on.logged()) <= 2 * STEP
        while waits[-1] == 0:
            waits.append(await on.reconciler.poll())
        assert waits[-1] == INTERVAL
        assert len(waits) > 2
        assert len(on.logged()) == len(set(on.logged())) == rows

    rows = 2 * STEP + 50
    play(fake, database, first)
    fake.clock.forward(24 * 3600)
    fake.tasks = [task_row(number, NOW + timedelta(seconds=10 * number)) for number in range(rows)]
    play(fake, database, later)


def test_more_rows_than_a_step_in_one_moment_are_read_all_the_same(
    fake: FakeAirflow, database: Database
) -> None:
    rows = STEP + 10
    fake.tasks = [task_row(number, ago(minutes=2)) for number in range(rows)]

    async def act(on: Scene) -> None:
        for _ in range(20):
            if await on.reconciler.poll() == INTERVAL:
                break
        assert len(on.logged()) == rows

    play(fake, database, act)


def test_a_row_that_makes_no_sense_holds_up_no_other(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    fake.runs = [{**run_row("bad", ago(minutes=1)), "dag_id": None}, run_row("good", ago(minutes=1))]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert set(on.logged()) == run_ids(fake, "good")
        assert on.reconciler.status.last_error is None

    play(fake, database, act)
    assert "dag_id: None" in caplog.text


def test_a_listing_that_airflow_fails_at_holds_up_no_other(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("seen", ago(minutes=1))]
    fake.failures = [("/taskInstances", PlainTextResponse("", 500)) for _ in range(100)]

    async def act(on: Scene) -> None:
        assert await on.reconciler.poll() == INTERVAL
        assert set(on.logged()) == run_ids(fake, "seen")
        fake.clock.forward(TOLERATED.total_seconds())
        assert "500" in str(on.reconciler.status.last_error)

    play(fake, database, act)


@dataclass
class Snap:
    """A snapshot that fails when it is told to."""

    name: str
    every: timedelta
    failure: Exception | None = None
    compared: int = 0

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
                assert on.reconciler.status.last_error == "403: no"  # also where it was not due
                fake.clock.forward(15)
            assert (refused.compared, quick.compared, slow.compared) == (1, 4, 1)
            assert set(on.logged()) == run_ids(fake, "seen")
            refused.failure = None
            await on.reconciler.poll()
            assert on.reconciler.status.last_error is None

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


def test_ten_thousand_changes_of_an_outage_are_caught_up_with_by_either_way_of_paging(
    fake: FakeAirflow, postgres_url: str
) -> None:
    """Every row once, and the watermark with them; half of them of runs that were old before."""
    database = Database(postgres_url)
    migrate(database)
    rows = 10_500

    async def first(on: Scene) -> None:
        await on.reconciler.poll()

    async def later(on: Scene) -> None:
        while await on.reconciler.poll() == 0:
            assert on.reconciler.status.last_error is None
        assert len(on.logged()) == len(set(on.logged())) == rows
        assert on.reconciler.status.watermark == fake.clock()
        filled = on.count("windsock_reconcile_filled_total", type="airflow.task_instance.success")
        assert filled == rows
        assert on.count("windsock_reconcile_rows_total", listing="old_task_instances") >= rows / 2

    try:
        play(fake, database, first)
        fake.cursors = False
        fake.clock.forward(24 * 3600)
        for number in range(rows):
            ended = NOW + timedelta(seconds=8 * number)
            fake.tasks.append(task_row(number, ended, due=ago(days=30) if number % 2 else None))
        play(fake, database, later)
    finally:
        database.close()


def test_a_user_that_may_not_read_assets_gets_the_rest(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("seen", ago(minutes=1))]
    fake.failures = [("/assets/events", JSONResponse({"detail": "Forbidden"}, 403))]

    async def act(on: Scene) -> None:
        assert await on.reconciler.poll() == INTERVAL
        assert set(on.logged()) == run_ids(fake, "seen")
        assert "403" in str(on.reconciler.status.last_error)
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
            on.wakes.reconciler.set()
            await asyncio.to_thread(wait.until, lambda: fake.requests("/assets/events"), "a first look")
            fake.assets = [asset_row(1, NOW, ["release__1"])]
            await until(on, {"asset_event:1"})
            assert fake.requests("/dagRuns") == []
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def poll(on: Scene) -> None:
        running = asyncio.create_task(on.reconciler.run())
        try:
            await until(on, {"asset_event:1", *run_ids(fake, "polled")})
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    play(fake, database, act, interval=3600)
    play(fake, database, poll, interval=0.05)

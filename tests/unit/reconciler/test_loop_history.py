"""The reconciler over time: the past, outages, runs of any age, and what the log has forgotten."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log import append
from tests.unit.airflow_api_fake import UPDATED, FakeAirflow, moment, run_row, serving, task_row
from tests.unit.conftest import NOW, FakeClock
from tests.unit.reconciler_support import INTERVAL, RETENTION, STEP, Scene, ago, play, run_ids


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


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
        for answers in (3, 4):  # one slow answer is not yet a cost, and three are
            fake.clock.forward(INTERVAL)
            await on.reconciler.poll()
            assert len(dear()) == answers
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
        assert on.count("windsock_reconcile_skipped_total", reason="expired") == 3

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
        await on.database.write(lambda connection: append.prune(connection, fake.clock()))
        fake.tasks[0]["state"] = "success"  # Airflow leaves the old end_date
        for row in fake.tasks:
            row[UPDATED] = fake.clock()
        await on.reconciler.poll()
        assert on.logged() == ["task:01936a5e-0000-7000-8000-000000000001:success:2"]
        assert on.count("windsock_reconcile_skipped_total", reason="expired") > 0

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
            assert on.trouble() is None
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

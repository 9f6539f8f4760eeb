"""Runs that do not come, do not begin, do not end: told once, and only where somebody could know it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from monitor.database.engine import Database
from monitor.events.identity import stamp
from monitor.rules.model import Watch
from monitor.watches.observation import GAP, SETTLING
from tests.unit.airflow_api_fake import FakeAirflow, moment, serving
from tests.unit.conftest import NOW, FakeClock
from tests.unit.watch_support import Scene, kinds, play, run, sqlite, told_run

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
QUARTER = timedelta(minutes=15)
DUE = NOW + HOUR


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """SQLite only: what the watches ask of a database, test_watch_trouble.py asks of both."""
    with sqlite(tmp_path) as database:
        yield database


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


@pytest.mark.slow
def test_a_run_that_does_not_come_is_told_once_and_is_over_when_it_comes(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", DUE)
        assert await on.look_for(HOUR) == await on.look_for(QUARTER) == []
        (told,) = await on.look()
        assert (told["type"], told["subject"]) == ("windsock.run.missing", "etl")
        assert told["data"] == {
            "watch": "missing",
            "what": "etl has no run for 2026-11-22 11:00 UTC, 16 min ago",
            "since": stamp(DUE),
            "dag_id": "etl",
            "expected_at": stamp(DUE),
            "after_seconds": 900.0,
            "schedule": "0 * * * *",
            "reported_by": "monitor",
        }
        assert await on.look_for(5 * HOUR) == []
        assert on.count("windsock_watch_open_findings", watch="missing") == 1
        on.know("etl", DUE + 7 * HOUR)
        assert await on.look() == []
        assert on.count("windsock_watch_open_findings", watch="missing") == 0
        assert await on.look_for(2 * HOUR) != []  # the next one that does not come is another
        assert on.count("windsock_watch_findings_total", watch="missing") == 2

    play(fake, database, act)


def test_a_schedule_that_is_moved_on_without_a_run_hides_nothing(
    fake: FakeAirflow, database: Database
) -> None:
    """A DAG that does not catch up, every five minutes, and a scheduler that is dead."""

    async def act(on: Scene) -> None:
        told = []
        for number in range(12):
            on.know("etl", DUE + number * 5 * MINUTE)
            on.fake.clock.now = DUE + number * 5 * MINUTE
            told += await on.look_for(5 * MINUTE) if number else await on.look(0)
        assert [one["data"]["expected_at"] for one in told] == [stamp(DUE)]
        on.start()
        on.know("etl", DUE + HOUR)
        assert await on.look_for(HOUR) == []  # also not by the next process

    async def prepared(on: Scene) -> None:
        on.know("etl", DUE)
        await on.look_for(HOUR - MINUTE)
        await act(on)

    play(fake, database, prepared)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("paused", {"is_paused": True}),
        ("gone from its file", {"is_stale": True}),
        ("without a schedule, by assets, or once and over", {"next_run_after": None}),
        ("not due", {"next_run_after": NOW + 24 * HOUR}),
    ],
)
def test_nothing_is_missing_of_what_is_not_to_run(
    fake: FakeAirflow, database: Database, why: str, change: dict[str, Any]
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", DUE, **change)
        assert await on.look_for(3 * HOUR) == []

    play(fake, database, act)


def test_what_waits_for_its_turn_is_not_missing(fake: FakeAirflow, database: Database) -> None:
    """One run at a time: max_active_runs, a backlog, `@continuous`."""

    async def act(on: Scene) -> None:
        on.know("etl", DUE)
        fake.runs = [run("etl", "running", DUE - HOUR, DUE - HOUR)]
        assert "run.missing" not in kinds(await on.look_for(4 * HOUR))
        fake.runs = []
        assert await on.look_for(QUARTER - MINUTE) == []  # it has its time anew
        assert kinds(await on.look_for(3 * MINUTE)) == ["run.missing"]

    play(fake, database, act)


def test_a_backlog_that_gets_on_is_not_missing(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", DUE)
        await on.look_for(HOUR - MINUTE)
        for number in range(30):
            on.know("etl", DUE - (40 - number) * 24 * HOUR)
            began = on.fake.clock()
            row = run("etl", "success", DUE - (41 - number) * 24 * HOUR, began, MINUTE)
            row["queued_at"] = stamp(began)
            await on.take(told_run(row, began))
            assert await on.look_for(3 * MINUTE) == []
        assert kinds(await on.look_for(HOUR)) == ["run.missing"]  # it has stopped

    play(fake, database, act)


def test_a_run_by_hand_is_no_answer_to_the_schedule(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", DUE)
        await on.look_for(HOUR)
        by_hand = run("etl", "success", on.fake.clock(), on.fake.clock(), MINUTE, "manual")
        await on.take(told_run(by_hand, on.fake.clock()))
        assert kinds(await on.look_for(HOUR)) == ["run.missing"]
        fake.runs = [run("etl", "running", on.fake.clock(), on.fake.clock(), run_type="manual")]
        assert await on.look_for(5 * MINUTE) == []
        assert on.count("windsock_watch_open_findings", watch="missing") == 1

    play(fake, database, act)


def test_a_list_that_is_older_than_the_run_makes_nothing_missing(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", DUE)
        await on.look_for(HOUR + MINUTE)
        await on.take(told_run(run("etl", "success", DUE, DUE, MINUTE), on.fake.clock()))
        assert await on.look_for(5 * HOUR) == []

    play(fake, database, act)


@pytest.mark.parametrize("kind", ["missing", "late", "stuck"])
def test_a_first_start_tells_nothing_of_what_was_before(
    fake: FakeAirflow, database: Database, kind: str
) -> None:
    async def act(on: Scene) -> None:
        for number in range(100):
            long_ago = NOW - timedelta(days=1, minutes=number)
            on.know(f"dag_{number}", long_ago)
            state = {"late": "queued", "stuck": "running"}.get(kind)
            if state:
                fake.runs.append(
                    run(f"dag_{number}", state, long_ago, long_ago if state == "running" else None)
                )
        assert await on.look_for(2 * HOUR) == []
        on.know("dag_1", NOW + 3 * HOUR)
        if kind == "missing":
            assert kinds(await on.look_for(2 * HOUR)) == ["run.missing"]

    play(fake, database, act, [Watch(name=kind, watch=kind, after=HOUR if kind == "stuck" else None)])


def test_after_an_outage_airflow_is_given_time(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        for number in range(100):
            on.know(f"dag_{number}", DUE)
        await on.look_for(HOUR - MINUTE)
        on.silent_since = on.fake.clock()
        assert kinds(await on.look_for(6 * HOUR)) == ["airflow.unreachable"]
        on.silent_since = None
        assert kinds(await on.look()) == ["airflow.recovered"]
        assert await on.look_for(SETTLING - 2 * MINUTE) == []
        for number in range(99):  # all but one are worked off meanwhile
            on.know(f"dag_{number}", on.fake.clock() + 24 * HOUR)
        assert [one["subject"] for one in await on.look_for(HOUR)] == ["dag_99"]

    play(fake, database, act)


def test_a_log_that_is_behind_knows_nothing(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", DUE)
        await on.look_for(HOUR)
        on.behind = GAP + MINUTE
        assert await on.look_for(3 * HOUR) == []
        assert on.count("windsock_watch_checks_total", result="no_data") == 45

    play(fake, database, act)


@pytest.mark.parametrize(("stopped", "told"), [(2 * MINUTE, 1), (2 * HOUR, 0)])
def test_a_restart_tells_nothing_twice_and_a_long_one_gives_time_anew(
    fake: FakeAirflow, database: Database, stopped: timedelta, told: int
) -> None:
    async def act(on: Scene) -> None:
        on.know("first", DUE)
        on.know("second", DUE + 10 * MINUTE)
        assert kinds(await on.look_for(HOUR + QUARTER + 2 * MINUTE)) == ["run.missing"]
        on.fake.clock.now += stopped
        on.start()
        assert len(await on.look_for(9 * MINUTE)) == told
        assert len(await on.look_for(HOUR)) == 1 - told

    play(fake, database, act)


def test_what_is_unpaused_or_new_is_waited_for_from_then_on(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        await on.look_for(2 * HOUR)
        now = on.fake.clock()
        on.know("unpaused", DUE, seen_at=now)
        on.know("new", NOW - timedelta(days=400), seen_at=now, schedule="@once")
        assert await on.look_for(QUARTER) == []
        assert sorted(one["subject"] for one in await on.look_for(2 * MINUTE)) == ["new", "unpaused"]

    play(fake, database, act)


def test_a_run_that_does_not_begin_is_late(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl")
        fake.runs = [run("etl", "queued", DUE), run("etl", "queued", DUE + MINUTE, run_type="manual")]
        assert await on.look_for(HOUR) == await on.look_for(QUARTER) == []
        (told,) = await on.look()
        assert told["subject"] == "etl/scheduled__2026-11-22T11:00:00"
        assert (
            told["data"]["what"]
            == "a run of etl, due at 2026-11-22 11:00 UTC, has waited 16 min for its start"
        )
        assert (told["data"]["run_id"], told["data"]["run_type"]) == (fake.runs[0]["dag_run_id"], "scheduled")
        assert await on.look_for(HOUR) == []
        on.start()
        assert await on.look_for(HOUR) == []
        del fake.runs[0]
        assert kinds(await on.look()) == ["run.late"]  # the other one still is

    play(fake, database, act)


@pytest.mark.parametrize(
    ("why", "others", "dag"),
    [
        ("another one of it runs", [run("etl", "running", NOW, NOW)], {}),
        ("the DAG is paused", [], {"is_paused": True}),
        ("the DAG is gone", [], {"is_stale": True}),
    ],
)
def test_what_is_held_is_not_late(
    fake: FakeAirflow, database: Database, why: str, others: list[dict[str, Any]], dag: dict[str, Any]
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", **dag)
        fake.runs = [run("etl", "queued", DUE), *others]
        assert await on.look_for(4 * HOUR) == []

    play(fake, database, act)


def test_backfills_wait_for_their_turn(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl")
        fake.runs = [run("etl", "queued", DUE + n * MINUTE, run_type="backfill") for n in range(50)]
        assert await on.look_for(4 * HOUR) == []

    play(fake, database, act)


async def had_runs(on: Scene, dag_id: str, *minutes: float) -> None:
    """Runs that succeeded, each of so many minutes."""
    began = NOW - timedelta(days=len(minutes) + 1)
    for number, length in enumerate(minutes):
        at = began + timedelta(days=number)
        row = run(dag_id, "success", at, at, timedelta(minutes=length))
        await on.take(told_run(row, on.fake.clock()))


@pytest.mark.parametrize(
    ("history", "told_after", "why"),
    [
        ([60] * 10, 75, "to the minute each time: a quarter more is unusual"),
        ([60, 50, 70, 40, 80, 60, 55, 65], 60 + 5 * 1.4826 * 7.5, "five spreads above the median"),
        ([1, 1, 2, 1, 1, 1], 10, "never before the floor"),
        ([10] * 6 + [120], 150, "one in twenty or fewer is usual"),
        ([10] * 45 + [300, 60, 60, 10, 10], 75, "but not one in fifty"),
        ([60] * 4, 360, "too little is known: six hours"),
        ([], 360, "nothing is known: six hours"),
    ],
)
def test_a_run_is_stuck_by_its_own_history(
    fake: FakeAirflow, database: Database, history: list[float], told_after: float, why: str
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl")
        await had_runs(on, "etl", *history)
        await on.look_for(SETTLING)
        began = on.fake.clock()
        fake.runs = [run("etl", "running", began, began)]
        (one,) = await on.look_for(7 * HOUR)
        running = timedelta(seconds=one["data"]["running_seconds"])
        assert timedelta(0) <= running - timedelta(minutes=told_after) <= 5 * MINUTE
        assert one["data"]["after_seconds"] == pytest.approx(told_after * 60)
        assert one["data"]["runs"] == (len(history[-50:]) if len(history) >= 5 else None)
        assert ("too few good runs" in one["data"]["what"]) == (len(history) < 5)
        on.start()
        assert await on.look_for(HOUR) == []

    play(fake, database, act, [Watch(name="stuck", watch="stuck")])


def test_a_bound_of_its_own_and_the_floor_of_a_watch(fake: FakeAirflow, database: Database) -> None:
    config = [
        Watch(name="any", watch="stuck", floor=timedelta(minutes=30)),
        Watch(name="short", watch="stuck", dag_id=("quick_*",), after=5 * MINUTE),
        Watch(name="streams", watch="stuck", tags=("stream",), off=True),
    ]

    async def act(on: Scene) -> None:
        on.know("etl")
        on.know("quick_one")
        on.know("kafka", tags=["stream"])
        for dag_id in ("etl", "quick_one", "kafka"):
            await had_runs(on, dag_id, *[1] * 10)
        await on.look_for(SETTLING)
        began = on.fake.clock()
        fake.runs = [run(dag_id, "running", began, began) for dag_id in ("etl", "quick_one", "kafka")]
        told = await on.look_for(10 * MINUTE)
        assert [(one["data"]["dag_id"], one["data"]["watch"]) for one in told] == [("quick_one", "short")]
        assert told[0]["data"]["usual_seconds"] is None
        assert [one["data"]["watch"] for one in await on.look_for(HOUR)] == ["any"]

    play(fake, database, act, config)


@pytest.mark.parametrize("bound", [2 * HOUR, MINUTE])
def test_the_bound_of_a_dag_without_a_history_is_a_setting(
    fake: FakeAirflow, database: Database, bound: timedelta
) -> None:
    watch = Watch(name="stuck", watch="stuck", without_history=bound)

    async def act(on: Scene) -> None:
        on.know("etl")
        await on.look_for(SETTLING)
        began = on.fake.clock()
        fake.runs = [run("etl", "running", began, began)]
        (told,) = await on.look_for(3 * HOUR)
        assert told["data"]["after_seconds"] == max(bound, watch.floor).total_seconds()

    play(fake, database, act, [watch])


def question(run_id: str, asked: datetime, answered: datetime | None = None, **task: Any) -> dict[str, Any]:
    """As Airflow shows what a task asked a person."""
    told = {"id": f"{run_id}-{asked}", "dag_id": "etl", "dag_run_id": run_id, "state": "deferred", **task}
    return {
        "created_at": moment(asked),
        "responded_at": moment(answered) if answered else None,
        "task_instance": told,
    }


def test_a_run_that_waits_for_a_person_is_not_stuck(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl")
        await on.look_for(SETTLING)
        began = on.fake.clock()
        fake.runs = [run("etl", "running", began, began)]
        run_id = fake.runs[0]["dag_run_id"]
        fake.waits = [question(run_id, began + MINUTE), question(run_id, began + 2 * MINUTE)]
        assert await on.look_for(2 * HOUR) == []
        answered = on.fake.clock()
        fake.waits = [
            question(run_id, began + MINUTE, answered),
            question(run_id, began + 2 * MINUTE, None, state="failed", end_date=moment(answered)),
        ]
        assert await on.look_for(18 * MINUTE) == []  # a minute of its own before it asked
        (told,) = await on.look_for(5 * MINUTE)
        assert told["data"]["run_id"] == run_id
        fake.waits.append(question(run_id, on.fake.clock()))
        assert await on.look_for(HOUR) == []
        assert on.count("windsock_watch_open_findings", watch="stuck") == 1

    play(fake, database, act, [Watch(name="stuck", watch="stuck", after=20 * MINUTE)])


def test_a_run_that_waits_for_a_person_hides_no_other(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl")
        await on.look_for(SETTLING)
        began = on.fake.clock()
        fake.runs = [run("etl", "running", began + number * MINUTE, began) for number in range(2)]
        first, second = (one["dag_run_id"] for one in fake.runs)
        fake.waits = [question(first, began)]
        fake.failures = [("/hitlDetails", PlainTextResponse("", 503))]
        told = await on.look_for(HOUR)
        assert [one["data"]["run_id"] for one in told] == [second]

    play(fake, database, act, [Watch(name="stuck", watch="stuck", after=20 * MINUTE)])


@pytest.mark.parametrize("version", ["3.0.2", "3.3.2"])
def test_where_no_question_can_be_read_a_long_run_is_stuck(
    fake: FakeAirflow, database: Database, version: str
) -> None:
    fake.version = version
    fake.failures = [("/hitlDetails", JSONResponse({"detail": "Forbidden"}, 403))]

    async def act(on: Scene) -> None:
        on.know("etl")
        await on.look_for(SETTLING)
        began = on.fake.clock()
        fake.runs = [run("etl", "running", began, began)]
        assert kinds(await on.look_for(HOUR)) == ["run.stuck"]
        assert bool(fake.requests("/hitlDetails")) == (version != "3.0.2")

    play(fake, database, act, [Watch(name="stuck", watch="stuck", after=20 * MINUTE)])


def test_who_is_no_longer_stuck_and_is_stuck_again_is_told_again(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl")
        for _ in range(2):
            began = on.fake.clock()
            fake.runs = [run("etl", "running", began, began)]
            assert kinds(await on.look_for(HOUR)) == ["run.stuck"]
            fake.runs = []
            assert await on.look() == []

    play(fake, database, act, [Watch(name="stuck", watch="stuck", after=20 * MINUTE)])


@pytest.mark.slow
def test_a_thousand_dags_whose_scheduler_is_dead_are_one_write(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        for number in range(1_000):
            on.know(f"dag_{number}", DUE)
        fake.asked.clear()
        told = await on.look_for(HOUR + QUARTER + MINUTE)
        assert len(told) == len({one["id"] for one in told}) == 1_000
        looks = len(fake.requests("state=queued"))
        assert len(fake.requests("state=running")) == looks
        # Assets are listed every ten minutes; how Airflow's components are is asked at each look.
        assert len(fake.asked) <= 3 * looks + 12
        assert await on.look_for(HOUR) == []

    play(fake, database, act)

"""Assets that are not updated, and updates that no run consumes."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from monitor.database.engine import Database
from monitor.events.identity import stamp
from monitor.rules.model import Watch
from monitor.watches.asset_updates import ASKED_EVERY, is_met
from monitor.watches.observation import SETTLING
from tests.unit.airflow_api_fake import FakeAirflow, serving
from tests.unit.conftest import NOW, FakeClock
from tests.unit.watch_support import Scene, kinds, play, run, sqlite, told_run, told_update

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
URI = "file:///model.pkl"
STALE = [Watch(name="fresh", watch="stale")]
UNCONSUMED = [Watch(name="eaten", watch="unconsumed")]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """SQLite only: what the watches ask of a database, test_watch_trouble.py asks of both."""
    with sqlite(tmp_path) as database:
        yield database


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


async def was_updated(on: Scene, *hours: float) -> int:
    """An asset's updates, with so many hours from each to the next, the last one now."""
    at = on.fake.clock() - timedelta(hours=sum(hours))
    for number, step in enumerate((0.0, *hours)):
        at += timedelta(hours=step)
        await on.take(told_update(number, at))
    return len(hours) + 1


@pytest.mark.parametrize(
    ("intervals", "stale_after", "why"),
    [
        ([24] * 10, 30, "daily to the minute"),
        ([24, 25, 24, 23, 24, 24], 31.25, "a day of 25 hours, and one of 23: the clocks changed"),
        ([24, 24, 24, 24, 72] * 4, 90, "on working days: a weekend is usual"),
        ([1, 1, 1, 1, 1, 1], 1.25, "hourly"),
        ([0.01] * 20, 1 / 6, "never before the floor"),
        ([24] * 4, None, "too little is known"),
    ],
)
def test_an_asset_is_stale_by_its_own_history(
    fake: FakeAirflow, database: Database, intervals: list[float], stale_after: float | None, why: str
) -> None:
    async def act(on: Scene) -> None:
        on.know("train")
        await on.look_for(SETTLING)
        await was_updated(on, *intervals)
        updated_at = on.fake.clock()
        if stale_after is None:
            assert await on.look_for(4 * HOUR) == []
            return
        bound = timedelta(hours=stale_after)
        assert await on.look_for(bound) == []
        (told,) = await on.look_for(2 * MINUTE)
        assert (told["type"], told["subject"]) == ("windsock.asset.stale", URI)
        assert told["data"]["updated_at"] == told["data"]["since"] == stamp(updated_at)
        assert told["data"]["after_seconds"] == pytest.approx(bound.total_seconds())
        assert (told["data"]["dag_id"], told["data"]["intervals"]) == ("train", len(intervals))
        assert await on.look_for(HOUR) == []

    play(fake, database, act, STALE)


def test_it_recovers_with_an_update_and_may_be_stale_again(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("train")
        await on.look_for(SETTLING)
        for number in range(2):
            updated_at = on.fake.clock()
            await on.take(told_update(number, updated_at))
            (stale,) = await on.look_for(HOUR + 2 * SLOW)
            on.start()
            await on.take(told_update(number + 10, on.fake.clock()))
            (over,) = await on.look()
            assert (over["type"], over["id"]) == ("windsock.asset.recovered", stale["id"] + ":recovered")
            assert over["data"]["ended"] == "windsock.asset.stale"
            assert over["data"]["what"].startswith(f"{URI} was updated again, after 1 h")
            assert over["data"]["asset"] == {"name": "model.pkl", "uri": URI, "group": "asset"}

    play(fake, database, act, [Watch(name="fresh", watch="stale", asset=("*.pkl",), after=HOUR)])


SLOW = 4 * MINUTE


@pytest.mark.parametrize("change", [{"is_paused": True}, {"is_stale": True}])
def test_an_asset_of_a_dag_that_is_not_at_work_is_not_stale(
    fake: FakeAirflow, database: Database, change: dict[str, Any]
) -> None:
    async def act(on: Scene) -> None:
        on.know("train", **change)
        await on.take(told_update(1, on.fake.clock()))
        assert await on.look_for(3 * HOUR) == []

    play(fake, database, act, [Watch(name="fresh", watch="stale", after=HOUR)])


def test_what_is_no_longer_watched_is_closed(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("train")
        await on.take(told_update(1, on.fake.clock()))
        assert kinds(await on.look_for(2 * HOUR)) == ["asset.stale"]
        on.config = []
        (over,) = await on.look()
        assert "is no longer watched" in over["data"]["what"]

    play(fake, database, act, [Watch(name="fresh", watch="stale", after=HOUR)])


def test_a_first_start_knows_no_stale_asset(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("train")
        for number in range(50):
            await on.take(told_update(number, NOW - DAY, f"file:///{number}.pkl"))
        assert await on.look_for(3 * HOUR) == []

    play(fake, database, act, [Watch(name="fresh", watch="stale", after=HOUR)])


def consumed_by(number: int, uri: str, *dag_ids: str, old_name: bool = False) -> dict[str, Any]:
    """An asset as Airflow lists it; 3.0 has another name for who is scheduled on it."""
    name = "consuming_dags" if old_name else "scheduled_dags"
    return {"id": number, "uri": uri, "name": uri, name: [{"dag_id": dag_id} for dag_id in dag_ids]}


def part(number: int) -> dict[str, Any]:
    return {"asset": {"id": number, "name": "x", "uri": "x", "group": "asset"}}


@pytest.mark.parametrize("old_name", [False, True])
def test_an_update_without_a_run_is_told_and_over_with_a_run(
    fake: FakeAirflow, database: Database, old_name: bool
) -> None:
    fake.asset_rows = [consumed_by(7, URI, "release", old_name=old_name)]
    fake.conditions, fake.waiting = {"release": {"all": [part(7)]}}, {"release": [7]}

    async def act(on: Scene) -> None:
        on.know("train")
        on.know("release", schedule="Asset")
        await on.look_for(SETTLING)
        await on.take(told_update(42, on.fake.clock()))
        updated_at = on.fake.clock()
        assert await on.look_for(15 * MINUTE) == []
        (told,) = await on.look()
        assert (told["type"], told["data"]["dag_id"]) == ("windsock.asset.unconsumed", "release")
        assert (told["data"]["asset_event_id"], told["data"]["since"]) == (42, stamp(updated_at))
        await on.take(told_update(43, on.fake.clock()))  # another update mends nothing
        on.start()
        assert await on.look_for(HOUR) == []
        began = on.fake.clock()
        row = run("release", "running", began, began, run_type="asset_triggered")
        await on.take(told_run(row, began))
        (over,) = await on.look()
        assert (over["type"], over["data"]["ended"]) == ("windsock.asset.recovered", told["type"])
        assert over["data"]["what"] == f"release has a run that {URI} began"

    play(fake, database, act, UNCONSUMED)


@pytest.mark.parametrize(
    ("why", "condition", "waiting", "is_told"),
    [
        ("it waits for another asset", {"all": [part(7), part(8)]}, [7], False),
        ("both are there", {"all": [part(7), part(8)]}, [7, 8], True),
        ("any is enough", {"any": [part(7), part(8)]}, [7], True),
        ("a or (b and c)", {"any": [part(8), {"all": [part(7), part(9)]}]}, [7], False),
        ("Airflow has made a run of it", {"all": [part(7)]}, [], False),
        ("the DAG waits for no asset any more", None, [7], False),
    ],
)
def test_airflow_says_whether_a_run_is_to_come(
    fake: FakeAirflow,
    database: Database,
    why: str,
    condition: dict[str, Any] | None,
    waiting: list[int],
    is_told: bool,
) -> None:
    fake.asset_rows = [consumed_by(7, URI, "release")]
    fake.waiting = {"release": waiting}
    fake.conditions = {"release": condition} if condition else {}

    async def act(on: Scene) -> None:
        on.know("train")
        on.know("release", schedule="Asset")
        await on.take(told_update(42, on.fake.clock()))
        assert len(await on.look_for(HOUR)) == is_told
        questions = fake.requests("queuedEvents")
        assert len(questions) <= HOUR / ASKED_EVERY + 1

    play(fake, database, act, UNCONSUMED)


@pytest.mark.parametrize(
    ("why", "created", "runs", "dag"),
    [
        ("the event names the run", ["release"], [], {}),
        ("a run of the DAG goes on", [], [run("release", "running", NOW, NOW)], {}),
        ("its run is queued", [], [run("release", "queued", NOW + MINUTE, run_type="asset_triggered")], {}),
        ("the DAG is paused", [], [], {"is_paused": True}),
    ],
)
def test_what_is_consumed_or_held_is_not_told(
    fake: FakeAirflow,
    database: Database,
    why: str,
    created: list[str],
    runs: list[dict[str, Any]],
    dag: dict[str, Any],
) -> None:
    fake.asset_rows, fake.runs = [consumed_by(7, URI, "release")], runs
    fake.conditions, fake.waiting = {"release": {"all": [part(7)]}}, {"release": [7]}

    async def act(on: Scene) -> None:
        on.know("release", **dag)
        await on.take(told_update(42, on.fake.clock(), created=created))
        assert await on.look_for(HOUR) == []
        assert fake.requests("queuedEvents") == []

    play(fake, database, act, UNCONSUMED)


def test_an_asset_has_recovered_when_nothing_is_wrong_with_it_any_more(
    fake: FakeAirflow, database: Database
) -> None:
    fake.asset_rows = [consumed_by(7, URI, "release", "scoring")]
    fake.conditions = {"release": {"all": [part(7)]}, "scoring": {"all": [part(7)]}}
    fake.waiting = {"release": [7], "scoring": [7]}

    async def act(on: Scene) -> None:
        for dag_id in ("train", "release", "scoring"):
            on.know(dag_id)
        await on.take(told_update(42, on.fake.clock()))
        told = await on.look_for(HOUR)
        assert kinds(told) == ["asset.unconsumed", "asset.unconsumed"]
        for dag_id, over in (("release", []), ("scoring", ["asset.recovered"])):
            began = on.fake.clock()
            await on.take(told_run(run(dag_id, "running", began, began, run_type="asset_triggered"), began))
            assert kinds(await on.look()) == over

    play(fake, database, act, UNCONSUMED)


def test_a_dag_that_partitions_begin_is_not_watched(fake: FakeAirflow, database: Database) -> None:
    """Airflow says that nothing waits for it, whatever does, and its condition is not the whole of it."""
    fake.asset_rows = [consumed_by(7, URI, "release", "scoring")]
    fake.conditions = {"release": {"all": [part(7)]}, "scoring": {"all": [part(7)]}}
    fake.waiting = {"release": [7], "scoring": [7]}

    async def act(on: Scene) -> None:
        on.know("train")
        on.know("release", is_partitioned=True)
        on.know("scoring")
        await on.take(told_update(42, on.fake.clock()))
        told = await on.look_for(HOUR)
        assert [one["data"]["dag_id"] for one in told] == ["scoring"]
        assert fake.requests("/dags/release/") == []

    play(fake, database, act, UNCONSUMED)


def test_conditions_that_airflow_may_have(fake: FakeAirflow) -> None:
    assert is_met({"all": []}, [])
    assert not is_met({"any": [{"alias": {"name": "models", "group": "asset"}}]}, [7])
    assert not is_met({"asset_ref": {"name": "model"}}, [7])
    assert is_met(part(7), [7])


def test_a_listing_that_fails_holds_up_only_its_own_watch(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    fake.failures = [("/assets", JSONResponse({"detail": "Forbidden"}, 403)) for _ in range(1_000)]

    async def act(on: Scene) -> None:
        on.know("train", NOW + HOUR)
        assert kinds(await on.look_for(2 * HOUR)) == ["run.missing"]
        assert on.count("windsock_watch_errors_total", watch="unconsumed") == 30
        assert len([one for one in caplog.messages if "unconsumed could not look" in one]) == 1

    play(fake, database, act)

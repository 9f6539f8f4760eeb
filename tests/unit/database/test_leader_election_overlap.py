"""What has its turn in one replica, done by two at once, as it may be for a moment: nothing is told twice.

Each of the two has connections of its own, and both begin at the same time, again and again.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log import cursor, read
from monitor.notifications.engine import Reminders
from monitor.notifications.outbox.records import NotificationKind
from monitor.reconciler import status
from monitor.retention import Retention
from tests.sample import run_event
from tests.unit import reconciler_support, watch_support
from tests.unit.airflow_api_fake import FakeAirflow, asset_row, run_row, serving, task_row
from tests.unit.conftest import NOW, FakeClock
from tests.unit.notifications.test_engine import rule, town
from tests.unit.notify_support import Town, reraise

HOUR = timedelta(hours=1)


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


@pytest.fixture
def both(postgres_url: str) -> Iterator[list[Database]]:
    """Two replicas' ways to one database."""
    databases = [Database(postgres_url), Database(postgres_url)]
    migrate(databases[0])
    yield databases
    for database in databases:
        database.close()


def told(database: Database) -> Counter[str]:
    """How often each event is in the log."""
    page = database.read_now(lambda connection: read.read_after(connection, 0, 10_000))
    return Counter(json.loads(event.body)["id"] for event in page.events)


def test_two_reconcilers(fake: FakeAirflow, both: list[Database], clock: FakeClock) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            pair = [await stack.enter_async_context(reconciler_support.scene(fake, one)) for one in both]
            for step in range(10):
                ended = clock.now - timedelta(seconds=20)
                fake.runs += [run_row(f"run_{step}_{number}", ended) for number in range(30)]
                fake.tasks += [task_row(100 * step + number, ended) for number in range(30)]
                fake.assets += [asset_row(100 * step + number, ended, ["r"]) for number in range(5)]
                await asyncio.gather(*(each.reconciler.poll() for each in pair))
                assert [each.trouble() for each in pair] == [None, None]
                clock.forward(30)
            found = told(both[0])
            assert len(found) == 10 * 65
            assert set(found.values()) == {1}
            assert sum(each.count("windsock_reconcile_filled_total", type=RUN) for each in pair) == 300

    asyncio.run(story())


RUN = "airflow.dag_run.success"


def test_two_watches(fake: FakeAirflow, both: list[Database], clock: FakeClock) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            pair = [
                await stack.enter_async_context(watch_support.scene(fake, one, watch_support.ALL))
                for one in both
            ]
            for number in range(20):
                pair[0].know(f"dag_{number}", NOW + HOUR)
            for step in range(100):
                clock.forward(60)
                await asyncio.gather(*(each.watches.look() for each in pair))
                if step == 90:  # all come at last
                    for number in range(20):
                        pair[0].know(f"dag_{number}", NOW + 9 * HOUR)
            found = told(both[0])
            assert len(found) == 20
            assert set(found.values()) == {1}

    asyncio.run(story())


def test_two_that_remind(both: list[Database], clock: FakeClock) -> None:
    here = town(both[0], clock, rule(repeat="6h"))
    other = Town(both[1], here.rules.config, clock)
    for number in range(20):
        here.fail(f"dag_{number}")
    here.mail()
    pair = [Reminders(each.database, each.engine, WakeSignal(), clock, reraise) for each in (here, other)]

    async def look() -> None:
        await asyncio.gather(*(each.look() for each in pair))

    for _ in range(5):
        clock.forward(6 * 3600)
        asyncio.run(look())
        assert Counter(each.kind for each in here.deliver()) == {NotificationKind.REMINDER: 20}


def test_two_that_forget(both: list[Database], clock: FakeClock) -> None:
    here = Town(both[0], town(both[0], clock, rule()).rules.config, clock)
    here.tell(*(run_event("running", "etl", f"run_{number}") for number in range(200)))
    clock.forward(24 * 3600)
    here.tell(run_event("running", "etl", "the last"))

    async def forget() -> list[int]:
        return await asyncio.gather(*(Retention(each, 0.5, clock).forget() for each in both))

    assert sum(asyncio.run(forget())) == 200
    state = both[0].read_now(cursor.state)
    assert (state.pruned_seq, state.last_seq) == (200, 201)


def test_two_that_move_watermarks(both: list[Database], clock: FakeClock) -> None:
    async def save() -> None:
        def of(number: int) -> asyncio.Future[None]:
            marks = {"dag_runs": clock.now, f"own_{number % 2}": clock.now}
            return asyncio.ensure_future(
                both[number % 2].write(lambda c: status.save_watermarks(c, "local", marks, clock.now))
            )

        await asyncio.gather(*map(of, range(100)))

    asyncio.run(save())
    found = both[0].read_now(lambda connection: status.load_watermarks(connection, "local"))
    assert found == dict.fromkeys(("dag_runs", "own_0", "own_1"), clock.now)

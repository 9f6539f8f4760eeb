"""What is too old to tell is logged, and nobody is mailed; the ledger says why."""

import asyncio
from datetime import timedelta

import pytest

from monitor import event_log
from monitor.database import Database
from monitor.origins import BEFORE_FIRST_SIGHT, origin_of
from monitor.outbox import State
from tests.monitor.conftest import NOW, FakeClock
from tests.monitor.test_ingest import TELL_WITHIN, opened, rows
from tests.sample import START, run_event

JUST_ENDED = (NOW - START).total_seconds() - 10  # run_event's runs take ten seconds


def take(database: Database, clock: FakeClock, *ages: timedelta) -> None:
    """Take in failures that are so old."""

    async def story() -> None:
        async with opened(database, clock) as door:
            for age in ages:
                await door.take(run_event("failed", start=JUST_ENDED - age.total_seconds()))

    asyncio.run(story())


def origin(database: Database, clock: FakeClock) -> None:
    """Windsock has known this deployment for long."""
    database.write_now(lambda connection: origin_of(connection, "local", clock() - timedelta(days=99)))


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(0), State.PENDING),
        (TELL_WITHIN, State.PENDING),
        (TELL_WITHIN + timedelta(seconds=1), State.SUPPRESSED),
    ],
)
def test_nobody_is_mailed_about_what_comes_to_be_known_too_late(
    database: Database, clock: FakeClock, age: timedelta, state: State
) -> None:
    origin(database, clock)

    take(database, clock, age)

    (row,) = rows(database)
    assert row.state == state.value
    assert ("WINDSOCK_TELL_WITHIN_HOURS" in row.reason) == (state is State.SUPPRESSED)
    assert (row.settled_at is not None) == (state is State.SUPPRESSED)


def test_what_happened_before_the_first_start_is_logged_and_not_told(
    database: Database, clock: FakeClock
) -> None:
    second = timedelta(seconds=1)
    take(database, clock, BEFORE_FIRST_SIGHT, BEFORE_FIRST_SIGHT + second)

    told, untold = rows(database)
    assert (told.state, untold.state) == ("pending", "suppressed")
    assert "local" in untold.reason
    assert database.read_now(event_log.state).last_seq == 2


def test_the_origin_is_set_once(database: Database, clock: FakeClock) -> None:
    def ask() -> object:
        return database.write_now(lambda connection: origin_of(connection, "local", clock()))

    first = ask()
    clock.forward(3600)

    assert ask() == first == NOW - BEFORE_FIRST_SIGHT

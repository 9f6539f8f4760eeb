"""What is too old to tell is logged, and nobody is mailed; the ledger says why."""

import asyncio
import json
from datetime import timedelta
from functools import partial

import pytest

from monitor.database.engine import Database
from monitor.event_log import cursor, read
from monitor.event_log.deployments import BEFORE_FIRST_SIGHT, origin_of
from monitor.notifications.outbox import decisions as outbox_decisions
from monitor.notifications.outbox.records import Decision
from tests.sample import START, run_event
from tests.unit.conftest import NOW, FakeClock
from tests.unit.event_log.test_ingest import TELL_WITHIN, opened, rows

JUST_ENDED = (NOW - START).total_seconds() - 10  # run_event's runs take ten seconds


def take(database: Database, clock: FakeClock, *ages: timedelta) -> None:
    """Take in failures that are so old."""

    async def story() -> None:
        async with opened(database, clock) as door:
            for age in ages:
                await door.take(run_event("failed", start=JUST_ENDED - age.total_seconds()))

    asyncio.run(story())


def decisions(database: Database) -> list[Decision]:
    """What was made of each event, oldest first."""
    log = database.read_now(lambda connection: read.read_after(connection, 0, 100))
    ids = [json.loads(logged.body)["id"] for logged in log.events]
    return [
        decision
        for event_id in ids
        for decision in database.read_now(partial(outbox_decisions.decisions_of_event, event_id=event_id))
    ]


def origin(database: Database, clock: FakeClock) -> None:
    """Windsock has known this deployment for long."""
    database.write_now(lambda connection: origin_of(connection, "local", clock() - timedelta(days=99)))


@pytest.mark.parametrize(
    ("age", "outcome"),
    [
        (timedelta(0), outbox_decisions.NOTIFIED),
        (TELL_WITHIN, outbox_decisions.NOTIFIED),
        (TELL_WITHIN + timedelta(seconds=1), outbox_decisions.SUPPRESSED),
    ],
)
def test_nobody_is_mailed_about_what_comes_to_be_known_too_late(
    database: Database, clock: FakeClock, age: timedelta, outcome: str
) -> None:
    origin(database, clock)

    take(database, clock, age)

    (decision,) = decisions(database)
    assert decision.outcome == outcome
    assert ("WINDSOCK_NOTIFY_MAX_AGE_HOURS" in decision.reason) == (outcome == outbox_decisions.SUPPRESSED)
    assert len(rows(database)) == (outcome == outbox_decisions.NOTIFIED)


def test_what_happened_before_the_first_start_is_logged_and_not_told(
    database: Database, clock: FakeClock
) -> None:
    second = timedelta(seconds=1)
    take(database, clock, BEFORE_FIRST_SIGHT, BEFORE_FIRST_SIGHT + second)

    told, untold = decisions(database)
    assert (told.outcome, untold.outcome) == (outbox_decisions.NOTIFIED, outbox_decisions.SUPPRESSED)
    assert "local" in untold.reason
    assert len(rows(database)) == 1
    assert database.read_now(cursor.state).last_seq == 2


def test_the_origin_is_set_once(database: Database, clock: FakeClock) -> None:
    def ask() -> object:
        return database.write_now(lambda connection: origin_of(connection, "local", clock()))

    first = ask()
    clock.forward(3600)

    assert ask() == first == NOW - BEFORE_FIRST_SIGHT

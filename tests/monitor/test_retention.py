"""Old events are forgotten in batches; what is young enough stays."""

import asyncio
from datetime import timedelta

from monitor import event_log
from monitor.database import Database
from monitor.events import parse_event
from monitor.retention import Retention
from tests.monitor.conftest import NOW, FakeClock
from tests.sample import run_event


def test_old_events_are_forgotten_and_young_ones_stay(database: Database, clock: FakeClock) -> None:
    old = [parse_event(run_event(run_id=f"old_{number}")) for number in range(event_log.PRUNE_BATCH + 10)]
    young = [parse_event(run_event(run_id="young"))]
    database.write_now(lambda c: event_log.append(c, old, NOW - timedelta(days=31)))
    database.write_now(lambda c: event_log.append(c, young, NOW - timedelta(days=29)))
    retention = Retention(database, 30, clock)
    assert asyncio.run(retention.forget()) == len(old)
    assert asyncio.run(retention.forget()) == 0
    page = database.read_now(lambda c: event_log.read_after(c, 0, 10))
    assert [event.seq for event in page.events] == [len(old) + 1]

"""One transaction for log, board and outbox, shared by what arrives together."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest
from sqlalchemy import Connection, func, select, text

from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.database.schema import deliveries
from monitor.event_log import append, cursor
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.ingest_queue import MAX_WAITING, IngestBusy
from monitor.event_log.projections.runs import runs
from monitor.events.event import parse_event
from monitor.observability.metrics import Metrics
from tests.sample import event, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import engine_of

NUDGE = event(
    "windsock.asset.nudge", "nudge:1", "file:///m", moment(), {"asset": {"name": "m", "uri": "file:///m"}}
)

TELL_WITHIN = timedelta(hours=24)


class Door:
    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.wakes = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()})
        self.metrics = Metrics()
        engine = engine_of(["ops@example.com"], ["trained"], TELL_WITHIN)
        self.ingest = Ingest(database, engine.notify_all, self.wakes, self.metrics, clock)

    async def take(self, *raws: dict[str, Any]) -> list[bool]:
        return await self.ingest.take([parse_event(raw) for raw in raws])


@asynccontextmanager
async def opened(database: Database, clock: FakeClock) -> AsyncIterator[Door]:
    door = Door(database, clock)
    writer = asyncio.create_task(door.ingest.run())
    try:
        yield door
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer


def rows(database: Database) -> list[Any]:
    return list(database.read_now(lambda c: c.execute(select(deliveries).order_by(deliveries.c.id)).all()))


def test_a_failed_run_calls_for_one_mail_however_often_it_is_told(
    database: Database, clock: FakeClock
) -> None:
    async def story() -> None:
        async with opened(database, clock) as door:
            assert (
                await door.take(run_event("running"), task_event("failed"), run_event("failed")) == [True] * 3
            )
            assert await door.take(run_event("failed")) == [False]
            assert await door.take(run_event("success"), run_event("success", dag_id="trained")) == [
                True,
                True,
            ]

    asyncio.run(story())
    told = [(row.rule, row.dag_id, row.template, row.state) for row in rows(database)]
    assert told == [
        ("failures", "etl", "run_failed", "pending"),
        ("failures", "etl", "recovered", "pending"),
        ("successes", "trained", "run_success", "pending"),
    ]
    assert rows(database)[0].message_id.endswith("@example.com>")


def test_nobody_to_tell_means_no_mail(database: Database, clock: FakeClock) -> None:
    engine = engine_of([], ["*"], TELL_WITHIN)
    ingest = Ingest(
        database,
        engine.notify_all,
        Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()}),
        Metrics(),
        clock,
    )

    async def story() -> None:
        writer = asyncio.create_task(ingest.run())
        await ingest.take([parse_event(run_event("failed"))])
        writer.cancel()

    asyncio.run(story())
    assert rows(database) == []


def test_a_nudge_wakes_the_reconciler_and_is_not_logged(database: Database, clock: FakeClock) -> None:
    async def story() -> None:
        async with opened(database, clock) as door:
            assert await door.take(NUDGE, run_event()) == [True, True]
            assert await door.take(NUDGE) == [True]
            assert await door.take({**NUDGE, "source": "/airflow/emea"}) == [True]  # is nobody's here
            assert door.wakes.reconcilers["local"].count == 2

    asyncio.run(story())
    assert database.read_now(cursor.state).last_seq == 1


def test_requests_that_arrive_together_share_commits(database: Database, clock: FakeClock) -> None:
    async def story() -> int:
        async with opened(database, clock) as door:
            before = door.wakes.feed.count
            together = (door.take(run_event(run_id=str(n))) for n in range(100))
            assert await asyncio.gather(*together) == [[True]] * 100
            return door.wakes.feed.count - before

    assert asyncio.run(story()) < 10
    assert database.read_now(cursor.state).last_seq == 100


def test_too_many_waiting_requests_are_sent_away(database: Database, clock: FakeClock) -> None:
    async def story() -> None:
        door = Door(database, clock)  # nobody writes
        waiting = [asyncio.create_task(door.take(run_event(run_id=str(n)))) for n in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(IngestBusy):
            await door.take(run_event())
        await end(waiting)

    asyncio.run(story())


def test_a_failing_write_is_told_to_the_sender_and_the_next_one_works(
    database: Database, clock: FakeClock
) -> None:
    async def story() -> None:
        async with opened(database, clock) as door:
            database.write_now(lambda c: c.execute(text("ALTER TABLE dag_runs RENAME TO away")))
            with pytest.raises(Exception, match="dag_runs"):
                await door.take(run_event("failed"))
            database.write_now(lambda c: c.execute(text("ALTER TABLE away RENAME TO dag_runs")))
            assert database.read_now(cursor.state).last_seq == 0  # all or nothing: no event without its mail
            assert await door.take(run_event("failed")) == [True]

    asyncio.run(story())
    assert len(rows(database)) == 1


def test_a_request_that_was_cut_off_keeps_its_events(database: Database, clock: FakeClock) -> None:
    async def story() -> None:
        async with opened(database, clock) as door:
            cut = asyncio.create_task(door.take(run_event(run_id="cut")))
            await asyncio.sleep(0)
            cut.cancel()
            await door.take(run_event(run_id="next"))

    asyncio.run(story())
    assert database.read_now(cursor.state).last_seq == 2


def test_what_is_taken_is_counted(database: Database, clock: FakeClock) -> None:
    async def story() -> str:
        async with opened(database, clock) as door:
            await door.take(run_event(), run_event())
            return generate_latest(door.metrics.registry).decode()

    told = asyncio.run(story())
    assert 'windsock_events_total{reported_by="listener",result="accepted"} 1.0' in told
    assert 'windsock_events_total{reported_by="listener",result="duplicate"} 1.0' in told


def test_the_board_is_written_with_the_log(database: Database, clock: FakeClock) -> None:
    async def story() -> None:
        async with opened(database, clock) as door:
            await door.take(run_event("running"), run_event("failed"))

    asyncio.run(story())
    assert [row["state"] for row in database.read_now(lambda c: runs(c, 10))] == ["failed"]
    assert database.read_now(lambda c: c.execute(select(func.count()).select_from(deliveries)).scalar()) == 1


class Holder:
    """Has the log until it is told to let go."""

    def __init__(self) -> None:
        self.has_it, self.is_done = threading.Event(), threading.Event()

    def __call__(self, connection: Connection) -> None:
        append.lock(connection)
        self.has_it.set()
        assert self.is_done.wait(10)


def test_what_waits_while_the_log_is_anothers_is_written_at_once(
    database: Database, clock: FakeClock
) -> None:
    holder = Holder()

    async def story() -> int:
        async with opened(database, clock) as door:
            before = door.wakes.feed.count
            holding = asyncio.create_task(database.write(holder))
            await asyncio.to_thread(holder.has_it.wait)
            first = asyncio.create_task(door.take(run_event(run_id="first")))
            for _ in range(5):  # the writer asks for the log meanwhile
                await asyncio.sleep(0)
            others = [asyncio.create_task(door.take(run_event(run_id=str(n)))) for n in range(20)]
            await asyncio.sleep(0)
            holder.is_done.set()
            await asyncio.gather(first, *others, holding)
            return door.wakes.feed.count - before

    assert asyncio.run(story()) == 1
    assert database.read_now(cursor.state).last_seq == 21


def test_who_waits_when_it_stops_is_sent_away(database: Database, clock: FakeClock) -> None:
    holder = Holder()

    async def story() -> None:
        async with opened(database, clock) as door:
            holding = asyncio.create_task(database.write(holder))
            await asyncio.to_thread(holder.has_it.wait)
            waiting = [asyncio.create_task(door.take(run_event(run_id=str(n)))) for n in range(3)]
            await asyncio.sleep(0)
        for told in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(told, IngestBusy)
        holder.is_done.set()
        await holding

    asyncio.run(story())

"""Deployments take turns, and a transaction holds the log for a bounded time."""

import asyncio
from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.database.schema import events
from monitor.event_log.ingest import FIRST_CHUNK, LOCK_SECONDS, MAX_COMMIT, Ingest, Wakeups
from monitor.event_log.ingest_queue import MAX_WAITING, IngestBusy, IngestOutcome, IngestQueue
from monitor.events.event import Event, parse_event
from monitor.observability.metrics import Metrics
from tests.sample import run_event
from tests.unit.conftest import FakeClock

FLOOD = 5 * FIRST_CHUNK


def made(run_id: str, deployment: str = "local") -> Event:
    return parse_event({**run_event(run_id=run_id), "source": f"/airflow/{deployment}"})


def flood(number: int, deployment: str = "local") -> list[Event]:
    return [made(str(place), deployment) for place in range(number)]


def logged(database: Database) -> list[tuple[str, str]]:
    query = select(events.c.deployment, events.c.run_id).order_by(events.c.seq)
    return [tuple(row) for row in database.read_now(lambda connection: connection.execute(query).all())]


def ingest_of(database: Database, clock: FakeClock, decide: Any = None, seconds: float = 0.0) -> Ingest:
    """Make an ingest whose chunks take so many seconds each."""
    moments = count()
    wakes = Wakeups(WakeSignal(), WakeSignal(), {})
    nobody = decide or (lambda *_: False)
    return Ingest(database, nobody, wakes, Metrics(), clock, lambda: next(moments) * seconds)


async def write_all(ingest: Ingest, requests: Iterable[list[Event]]) -> list[Any]:
    """Let all requests wait before the writer's first turn."""
    waiting = [asyncio.create_task(ingest.submit(request)) for request in requests]
    await asyncio.sleep(0)
    writer = asyncio.create_task(ingest.run())
    try:
        return await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


def test_a_flood_of_one_deployment_does_not_delay_anothers_event(
    database: Database, clock: FakeClock
) -> None:
    ingest = ingest_of(database, clock, seconds=LOCK_SECONDS)
    asyncio.run(write_all(ingest, [flood(FLOOD), flood(FLOOD), [made("one", "emea")]]))
    written = logged(database)
    assert written.index(("emea", "one")) < FIRST_CHUNK
    assert [run_id for deployment, run_id in written if deployment == "local"] == [
        str(place) for place in range(FLOOD)
    ]


def test_a_transaction_ends_when_its_time_is_up(database: Database, clock: FakeClock) -> None:
    slow = ingest_of(database, clock, seconds=LOCK_SECONDS)
    asyncio.run(write_all(slow, [flood(FLOOD)]))
    assert slow._wakes.feed.count == FLOOD // FIRST_CHUNK

    fast = ingest_of(database, clock, seconds=LOCK_SECONDS / 1_000)
    asyncio.run(write_all(fast, [flood(FLOOD, "emea")]))
    assert fast._wakes.feed.count == 1


def test_events_of_several_deployments_in_one_request_are_answered_in_its_order(
    database: Database, clock: FakeClock
) -> None:
    mixed = [made(str(place // 2), ("local", "emea")[place % 2]) for place in range(2 * FIRST_CHUNK)]
    ingest = ingest_of(database, clock, seconds=LOCK_SECONDS)
    [told, again] = asyncio.run(write_all(ingest, [mixed, [*mixed, made("new")]]))
    assert told == [IngestOutcome.ACCEPTED] * len(mixed)
    assert again == [IngestOutcome.DUPLICATE] * len(mixed) + [IngestOutcome.ACCEPTED]


def test_a_defect_at_one_event_fails_its_request_alone(database: Database, clock: FakeClock) -> None:
    def decide(_connection: object, logged: Any, _now: object) -> bool:
        if any(event.get("run_id") == "defect" for _, event in logged):
            raise RuntimeError("cannot decide")
        return False

    requests = [[made("a")], [made("b"), made("defect"), made("c")], [made("d")]]
    first, defect, last = asyncio.run(write_all(ingest_of(database, clock, decide), requests))
    assert first == last == [IngestOutcome.ACCEPTED]
    assert isinstance(defect, RuntimeError)
    assert [run_id for _, run_id in logged(database)] == ["a", "b", "c", "d"]


def test_a_flood_of_requests_leaves_other_deployments_room() -> None:
    async def story() -> None:
        queue = IngestQueue()
        for place in range(MAX_WAITING):
            queue.add([made(str(place))])
        with pytest.raises(IngestBusy):
            queue.add([made("more")])
        for place in range(MAX_WAITING // 2):
            queue.add([made(str(place), "emea")])
        with pytest.raises(IngestBusy):
            queue.add([made("more", "emea")])
        assert queue.count() == MAX_WAITING + MAX_WAITING // 2
        taken = queue.take(10)
        assert [pending.event.deployment for pending in taken] == ["local"] * 5 + ["emea"] * 5

    asyncio.run(story())


def test_every_deployment_has_its_turn_when_there_are_more_than_fit() -> None:
    async def story() -> None:
        queue = IngestQueue()
        names = [f"airflow_{number}" for number in range(7)]
        for name in names:
            queue.add([made("first", name), made("second", name)])
        order = [pending.event.deployment for _ in range(5) for pending in queue.take(3)]
        assert order == (names + names)[:15]
        assert queue.count() == 0

    asyncio.run(story())


def test_a_commit_is_bounded_in_events_too(database: Database, clock: FakeClock) -> None:
    ingest = ingest_of(database, clock)
    asyncio.run(write_all(ingest, [flood(MAX_COMMIT + 1)]))
    assert ingest._wakes.feed.count == 2

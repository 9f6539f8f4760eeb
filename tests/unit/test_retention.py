"""What is old is forgotten in batches while ingest goes on; what must never be forgotten stays."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from monitor.concurrency import WakeSignal, end
from monitor.database import statements
from monitor.database.engine import Database
from monitor.database.schema import dag_runs, deliveries, metadata, task_instances
from monitor.delivery.channels.mailbox import Mailbox
from monitor.event_log import append, cursor, read
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.projections import runs
from monitor.event_log.projections.runs import RunName
from monitor.events.event import parse_event
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import CLOSED, OPEN
from monitor.notifications.outbox import queue
from monitor.notifications.outbox.records import State
from monitor.observability.metrics import Metrics
from monitor.retention import Retention
from monitor.rules.model import Match
from tests.sample import run_event, task_event
from tests.unit.airflow_api_fake import UPDATED, FakeAirflow, asset_row, run_row, serving, task_row
from tests.unit.conftest import NOW, FakeClock
from tests.unit.delivery_support import Office
from tests.unit.notify_support import engine_of
from tests.unit.reconciler_support import RETENTION, Scene, ago, play

DAYS, LEDGER_DAYS = 30, 90
DAY = 24 * 3600.0


@pytest.fixture
def retention(database: Database, clock: FakeClock) -> Retention:
    return Retention(database, DAYS, clock, LEDGER_DAYS)


def forget(retention: Retention) -> dict[str, int]:
    """What a look at the ledger forgets, but for nothing."""
    return {name: number for name, number in asyncio.run(retention.forget_ledger()).items() if number}


def since(clock: FakeClock) -> float:
    """Seconds since the samples' time."""
    return (clock() - NOW).total_seconds()


def test_old_events_are_forgotten_and_young_ones_stay(database: Database, clock: FakeClock) -> None:
    old = [parse_event(run_event(run_id=f"old_{number}")) for number in range(append.PRUNE_BATCH + 10)]
    young = [parse_event(run_event(run_id="young"))]
    database.write_now(lambda c: append.append(c, old, NOW - timedelta(days=31)))
    database.write_now(lambda c: append.append(c, young, NOW - timedelta(days=29)))
    retention = Retention(database, 30, clock)
    assert asyncio.run(retention.forget()) == len(old)
    assert asyncio.run(retention.forget()) == 0
    page = database.read_now(lambda c: read.read_after(c, 0, 10))
    assert [event.seq for event in page.events] == [len(old) + 1]


def test_ingest_goes_on_meanwhile(
    database: Database, clock: FakeClock, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two batches, whoever waits to write comes first; none of it is lost or held up by an error."""
    monkeypatch.setattr(statements, "BATCH", 50)
    monkeypatch.setattr(append, "PRUNE_BATCH", 50)
    wakes = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()})
    ingest = Ingest(database, engine_of().notify_all, wakes, Metrics(), clock)

    async def take(first: int, number: int) -> int:
        """One request after the other, each of a run and its task."""
        taken = 0
        for one in range(first, first + number):
            run_id = f"run_{one}"
            events = [run_event(run_id=run_id), task_event(run_id=run_id)]
            taken += sum(await ingest.take([parse_event(event) for event in events]))
        return taken

    async def story() -> None:
        writer = asyncio.create_task(ingest.run())
        await take(0, 300)
        await retention.look()
        clock.forward(2 * LEDGER_DAYS * DAY)
        taken, _ = await asyncio.gather(take(300, 100), retention.look())
        assert taken == 200
        await end([writer])

    asyncio.run(story())
    for table in (dag_runs, task_instances):
        kept = set(database.read_now(lambda c, t=table: c.execute(select(t.c.run_id)).scalars().all()))  # type: ignore[misc]
        assert kept == {f"run_{number}" for number in range(300, 400)}
    assert database.read_now(cursor.state).pruned_seq == 600


def test_the_ledger_forgets_what_is_over(
    database: Database, clock: FakeClock, retention: Retention, tmp_path: Path
) -> None:
    office = Office(database, clock, Mailbox(tmp_path / "mailbox", clock))
    office.tell(run_event("failed", "over"), task_event("failed", dag_id="over"))
    office.deliver()
    office.tell(run_event("success", "over", "manual__2", start=60))
    office.tell(run_event("failed", "still_wrong"))
    office.deliver()
    office.tell(run_event("failed", "waits"), run_event("running", "runs_on"))
    database.write_now(
        lambda c: silences.add(c, Match(), "a", "b", clock(), clock() + timedelta(days=1), NOW)
    )
    far = clock() + timedelta(days=3 * LEDGER_DAYS)
    database.write_now(lambda c: silences.add(c, Match(dag_id=("x",)), "a", "b", clock(), far, NOW))
    assert forget(retention) == {}

    clock.forward((LEDGER_DAYS + 2) * DAY)
    office.tell(run_event("failed", "young", start=since(clock)))
    gone = forget(retention)

    # Of the mails of `over`: two notifications, each with a delivery, an attempt, a decision, a mark.
    assert gone.pop("notifications") >= 10
    assert gone.pop("decisions", 0) >= 0
    assert gone == {"runs": 4, "tasks": 1, "tries": 1, "incidents": 1, "silences": 1}
    left = {one.dag_id for one in office.deliveries()}
    assert left == {"still_wrong", "waits", "young"}
    found = database.read_now(lambda c: incidents.page(c, 10))
    assert {(one.dag_id, one.state) for one in found} == {(dag, OPEN) for dag in left}
    [silence] = database.read_now(lambda c: silences.page(c, 10))
    assert silence.ends_at == far
    assert database.read_now(lambda c: runs.run(c, RunName("local", "runs_on", "manual__1"))) is not None

    # Its end is told to who heard of its beginning, and then it goes like the others.
    office.tell(run_event("success", "still_wrong", "manual__2", start=since(clock)))
    assert next(one.kind.value for one in office.deliveries() if one.dag_id == "still_wrong") == "recovered"
    clock.forward((LEDGER_DAYS + 2) * DAY)
    forget(retention)
    assert {one.dag_id for one in office.deliveries() if one.state is State.SENT} == set()
    assert not [one for one in database.read_now(lambda c: incidents.page(c, 10)) if one.state == CLOSED]


def test_what_is_sent_again_at_this_moment_stays(
    database: Database, clock: FakeClock, retention: Retention
) -> None:
    office = Office(database, clock, None)
    office.tell(run_event("failed", "a"), run_event("failed", "b"))
    ended = {"state": "sent", "settled_at": clock()}
    database.write_now(lambda c: c.execute(update(deliveries).values(ended)))
    database.write_now(lambda c: c.execute(update(metadata.tables["incidents"]).values(state=CLOSED)))
    first = office.deliveries()[-1]
    clock.forward((LEDGER_DAYS + 2) * DAY)
    office.tell(run_event("failed", "young", start=since(clock)))
    database.write_now(lambda c: queue.requeue(c, first.id, clock()))
    forget(retention)
    assert {one.dag_id for one in office.deliveries()} == {first.dag_id, "young"}


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


def test_what_is_forgotten_is_never_told_again(fake: FakeAirflow, database: Database) -> None:
    """Airflow touches its rows long after (a note, an upgrade), so the reconciler reads them once more."""
    fake.runs = [run_row("good", ago(minutes=1)), run_row("bad", ago(minutes=1), "failed")]
    endless = task_row(2, ago(minutes=1), "upstream_failed") | {"end_date": None, "start_date": None}
    fake.tasks = [task_row(1, ago(minutes=1)), endless]
    fake.assets = [asset_row(7, ago(minutes=1))]
    days = RETENTION.total_seconds() / DAY
    retention = Retention(database, days, fake.clock, 2 * days)

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert len(on.logged()) == 5
        await retention.look()
        fake.clock.forward(RETENTION.total_seconds() + 3600)
        await retention.look()
        assert on.logged() == []
        for row in (*fake.runs, *fake.tasks):
            row[UPDATED] = fake.clock()
        await on.reconciler.poll()
        assert on.logged() == []
        fake.clock.forward(2 * RETENTION.total_seconds())
        await retention.look()
        assert (
            database.read_now(lambda c: c.execute(select(func.count()).select_from(dag_runs)).scalar()) == 0
        )
        fake.tasks.remove(endless)
        for row in (*fake.runs, *fake.tasks):
            row[UPDATED] = fake.clock()
        await on.reconciler.poll()
        assert on.logged() == []
        assert on.trouble() is None

    play(fake, database, act)


def test_marks_of_the_log_are_few_and_reach_back(database: Database) -> None:
    kept = timedelta(days=LEDGER_DAYS)
    for day in range(200):
        now = NOW + timedelta(days=day)
        events = [parse_event(run_event(run_id=f"run_{day}"))]
        database.write_now(lambda c: append.append(c, events, now))  # noqa: B023 (called here)
        database.write_now(lambda c: append.mark(c, now, now - kept))  # noqa: B023
    assert database.read_now(lambda c: append.seq_by(c, now - kept)) == 200 - LEDGER_DAYS
    assert database.read_now(lambda c: append.seq_by(c, NOW - kept)) == 0
    marks = select(func.count()).select_from(metadata.tables["log_marks"])
    assert database.read_now(lambda c: c.execute(marks).scalar()) == LEDGER_DAYS + 1

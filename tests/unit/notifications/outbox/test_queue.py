"""The outbox: its states, its leases, and what is known after a crash."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection

from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log.append import append
from monitor.events.event import parse_event
from monitor.notifications.outbox import decisions, enqueue, queries, queue
from monitor.notifications.outbox.enqueue import NotificationDraft, SourceEvent
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.notifications.outbox.queue import LeaseLost
from monitor.notifications.outbox.records import (
    ALLOWED,
    Delivery,
    DeliveryOutcome,
    Notification,
    NotificationKind,
    State,
    TransitionError,
)
from monitor.rules.targets import ChannelName, Target
from tests.sample import run_event
from tests.unit.conftest import NOW, FakeClock
from tests.wait import DEADLINE

LEASE = timedelta(seconds=45)
TO = ("a@example.com",)
TARGETS = [Target(ChannelName.EMAIL, TO[0])]


def put(database: Database, dag_id: str = "etl", run_id: str = "manual__1", seconds: float = 0) -> int:
    """One delivery; answers its id."""
    event = parse_event(run_event("failed", dag_id=dag_id, run_id=run_id))
    now = NOW + timedelta(seconds=seconds)

    def write(connection: object) -> None:
        [seq] = append(connection, [event], now)  # type: ignore[arg-type]
        assert seq is not None
        word = NotificationDraft(
            "failures", NotificationKind.FAILURE, "run_failed", "", None, "rule 'failures'", now
        )
        enqueue.enqueue(connection, SourceEvent.from_event(seq, event), word, TARGETS, now, "example.com")  # type: ignore[arg-type]

    database.write_now(write)
    return max(delivery.id for delivery in listed(database))


def migrated(url: str) -> Database:
    database = Database(url)
    migrate(database)
    return database


def listed(database: Database) -> list[Delivery]:
    return database.read_now(lambda connection: queries.deliveries(connection, 100))


def claimed(database: Database, clock: FakeClock) -> Delivery:
    delivery = database.write_now(lambda connection: queue.claim(connection, clock(), LEASE))
    assert delivery is not None
    return delivery


def settle(database: Database, delivery: Delivery, outcome: DeliveryOutcome, clock: FakeClock) -> Delivery:
    database.write_now(lambda connection: queue.settle(connection, delivery, outcome, clock()))
    return found(database, delivery.id)


def found(database: Database, delivery_id: int) -> Delivery:
    delivery = database.read_now(lambda connection: queries.find(connection, delivery_id))
    assert delivery is not None
    return delivery


def ledger(database: Database, delivery_id: int) -> list[tuple[str, str]]:
    lines = database.read_now(lambda connection: queries.attempts(connection, delivery_id))
    return [(line.outcome, line.answer) for line in lines]


def hand_over(database: Database, delivery: Delivery, clock: FakeClock) -> None:
    database.write_now(lambda connection: queue.hand_over(connection, delivery, clock(), "subject"))


def reap(database: Database, clock: FakeClock) -> list[Delivery]:
    return database.write_now(lambda connection: queue.reap(connection, clock()))


def test_every_state_has_its_table_and_ends_can_be_taken_up_again_only() -> None:
    assert set(ALLOWED) == set(State)
    for end in (State.SENT, State.DEAD, State.UNCERTAIN, State.SUPPRESSED, State.SUPERSEDED):
        assert ALLOWED[end] == {State.PENDING}


def test_a_delivery_goes_from_put_to_sent(database: Database, clock: FakeClock) -> None:
    delivery_id = put(database)
    fresh = found(database, delivery_id)
    assert (fresh.state, fresh.recipients, fresh.remaining) == (State.PENDING, TO, TO)
    delivery = claimed(database, clock)
    assert found(database, delivery_id) == delivery
    hand_over(database, delivery, clock)
    done = settle(
        database, delivery, DeliveryOutcome(State.SENT, "sent", answer="250 OK", remaining=()), clock
    )
    assert (done.state, done.remaining, done.subject, done.attempts) == (State.SENT, (), "subject", 1)
    assert (done.claim, done.lease_until, done.handed_at, done.settled_at) == (None, None, None, NOW)
    assert ledger(database, delivery_id) == [("sent", "250 OK")]


def test_what_is_due_longest_is_claimed_first_and_nothing_before_its_time(
    database: Database, clock: FakeClock
) -> None:
    later, earlier = put(database, "later", seconds=10), put(database, "earlier", seconds=5)
    assert database.write_now(lambda connection: queue.claim(connection, clock(), LEASE)) is None
    assert database.read_now(queue.next_due) == NOW + timedelta(seconds=5)
    clock.forward(10)
    assert [claimed(database, clock).id, claimed(database, clock).id] == [earlier, later]
    assert database.write_now(lambda connection: queue.claim(connection, clock(), LEASE)) is None
    assert database.read_now(queue.next_due) == clock() + LEASE


@pytest.mark.parametrize("state", [State.PENDING, State.PARKED])
def test_what_waits_is_claimed_again(database: Database, clock: FakeClock, state: State) -> None:
    put(database)
    settle(
        database, claimed(database, clock), DeliveryOutcome(state, "later", NOW + timedelta(hours=1)), clock
    )
    assert database.write_now(lambda connection: queue.claim(connection, clock(), LEASE)) is None
    clock.forward(3600)
    assert claimed(database, clock).state is State.SENDING


def test_many_claimers_never_take_the_same(database: Database, clock: FakeClock) -> None:
    for number in range(40):
        put(database, run_id=f"run {number}")
    taken: list[int] = []
    start = Barrier(4)

    def take() -> None:
        start.wait(DEADLINE)
        while delivery := database.write_now(lambda connection: queue.claim(connection, clock(), LEASE)):
            taken.append(delivery.id)

    threads = [Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(taken) == sorted(delivery.id for delivery in listed(database))


def test_a_row_that_another_claimer_holds_is_stepped_over(database: Database, clock: FakeClock) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    first, second = put(database, "first"), put(database, "second")
    with database.engine.begin() as one:
        held = queue.claim(one, clock(), LEASE)
        assert held is not None
        assert (held.id, claimed(database, clock).id) == (first, second)


def test_a_crash_before_the_hand_over_sends_it_again(database: Database, clock: FakeClock) -> None:
    delivery_id = put(database)
    claimed(database, clock)
    assert reap(database, clock) == []
    clock.forward(46)
    assert [delivery.state for delivery in reap(database, clock)] == [State.PENDING]
    assert claimed(database, clock).id == delivery_id
    assert ledger(database, delivery_id) == []


def test_a_crash_after_the_hand_over_is_uncertain_and_not_sent_again(
    database: Database, clock: FakeClock
) -> None:
    delivery_id = put(database)
    hand_over(database, claimed(database, clock), clock)
    clock.forward(46)
    assert [delivery.state for delivery in reap(database, clock)] == [State.UNCERTAIN]
    assert database.write_now(lambda connection: queue.claim(connection, clock(), LEASE)) is None
    [(outcome, _)] = ledger(database, delivery_id)
    assert outcome == "uncertain"


def test_a_renewed_lease_is_not_reaped(database: Database, clock: FakeClock) -> None:
    put(database)
    delivery = claimed(database, clock)
    clock.forward(30)
    database.write_now(lambda connection: queue.renew(connection, delivery, clock() + LEASE))
    clock.forward(30)
    assert reap(database, clock) == []


def test_who_has_lost_the_lease_changes_nothing(database: Database, clock: FakeClock) -> None:
    put(database)
    slow = claimed(database, clock)
    clock.forward(46)
    reap(database, clock)
    quick = claimed(database, clock)
    for late in (
        lambda: settle(database, slow, DeliveryOutcome(State.SENT, "sent", answer="250"), clock),
        lambda: hand_over(database, slow, clock),
        lambda: database.write_now(lambda connection: queue.renew(connection, slow, clock() + LEASE)),
    ):
        with pytest.raises(LeaseLost):
            late()
    assert found(database, quick.id) == quick
    assert ledger(database, quick.id) == []


def test_what_is_settled_twice_is_settled_once(database: Database, clock: FakeClock) -> None:
    put(database)
    delivery = claimed(database, clock)
    settle(database, delivery, DeliveryOutcome(State.SENT, "sent", answer="250"), clock)
    with pytest.raises(LeaseLost):
        settle(database, delivery, DeliveryOutcome(State.DEAD, "no"), clock)
    with pytest.raises(TransitionError, match="sent cannot become dead"):
        settle(database, replace(delivery, state=State.SENT), DeliveryOutcome(State.DEAD, "no"), clock)


@pytest.mark.parametrize("end", [State.DEAD, State.UNCERTAIN, State.SENT, State.SUPERSEDED, State.PARKED])
def test_a_person_can_have_it_sent_again_and_the_ledger_stays(
    database: Database, clock: FakeClock, end: State
) -> None:
    delivery_id = put(database)
    settle(
        database, claimed(database, clock), DeliveryOutcome(end, "because", NOW, answer="the words"), clock
    )
    clock.forward(60)
    again = database.write_now(lambda connection: queue.requeue(connection, delivery_id, clock()))
    assert again is not None
    assert (again.state, again.next_attempt_at, again.settled_at) == (State.PENDING, clock(), None)
    assert again.message_id == found(database, delivery_id).message_id
    assert ledger(database, delivery_id) == [
        (end.value, "the words"),
        ("requeued", f"was {end.value}: because"),
    ]
    assert claimed(database, clock).id == delivery_id


@pytest.mark.parametrize("lacking", [(), TO])
def test_it_is_sent_again_to_whoever_it_is_for(
    database: Database, clock: FakeClock, lacking: tuple[str, ...]
) -> None:
    delivery_id = put(database)
    settle(database, claimed(database, clock), DeliveryOutcome(State.SENT, "sent", remaining=lacking), clock)
    database.write_now(lambda connection: queue.requeue(connection, delivery_id, clock()))
    assert claimed(database, clock).remaining == TO


def take(database: Database, clock: FakeClock, channel: ChannelName) -> Delivery | None:
    return database.write_now(lambda connection: queue.claim(connection, clock(), LEASE, channel))


def test_each_channel_has_its_own_turn(database: Database, clock: FakeClock) -> None:
    put(database)
    assert take(database, clock, ChannelName.WEBHOOK) is None
    assert take(database, clock, ChannelName.EMAIL) is not None


def test_a_claim_seals_the_notification(database: Database, clock: FakeClock) -> None:
    put(database)
    assert database.read_now(lambda connection: enqueue.open_group(connection, "failures", "")) is not None
    claimed(database, clock)
    assert database.read_now(lambda connection: enqueue.open_group(connection, "failures", "")) is None


def open_group(connection: Connection) -> Notification | None:
    return enqueue.open_group(connection, "failures", "")


def test_nothing_joins_what_is_just_being_claimed(postgres_url: str, clock: FakeClock) -> None:
    """It would be told as if it were in a mail that was read without it."""
    database = migrated(postgres_url)
    put(database)
    with database.engine.begin() as connection:
        assert queue.claim(connection, clock(), LEASE)
        assert database.write_now(open_group) is None
    database.close()


def test_nothing_is_claimed_that_is_just_being_joined(postgres_url: str, clock: FakeClock) -> None:
    database = migrated(postgres_url)
    put(database)
    with database.engine.begin() as connection:
        assert open_group(connection)
        assert database.write_now(lambda other: queue.claim(other, clock(), LEASE)) is None
    claimed(database, clock)
    database.close()


def test_what_has_no_room_in_the_budget_is_told_in_a_digest(database: Database, clock: FakeClock) -> None:
    due = NOW + timedelta(hours=1)
    for number in range(3):
        put(database, run_id=str(number))
        delivery = claimed(database, clock)
        outcome = database.write_now(
            partial(decisions.move_to_digest, delivery=delivery, now=NOW, due=due, host="example.com")
        )
        settle(database, delivery, outcome, clock)
    (digest,) = [one for one in listed(database) if one.kind is NotificationKind.DIGEST]
    others = [one for one in listed(database) if one.kind is not NotificationKind.DIGEST]
    assert (digest.kind, digest.recipient, digest.next_attempt_at) == (NotificationKind.DIGEST, TO[0], due)
    assert {one.state for one in others} == {State.SUPPRESSED}
    assert database.read_now(lambda connection: decisions.count_sent(connection, ChannelName.EMAIL, NOW)) == 0


def test_what_is_being_sent_or_does_not_exist_is_not_requeued(database: Database, clock: FakeClock) -> None:
    delivery_id = put(database)
    claimed(database, clock)
    with pytest.raises(TransitionError, match="sending"):
        database.write_now(lambda connection: queue.requeue(connection, delivery_id, clock()))
    assert database.write_now(lambda connection: queue.requeue(connection, 999, clock())) is None


def test_pages_filter_and_keep_to_the_readers_rights(database: Database, clock: FakeClock) -> None:
    ids = [put(database, dag, run) for dag, run in (("etl", "1"), ("etl", "2"), ("secret", "1"))]

    def ids_of(wanted: DeliveryFilter | None = None, **more: Any) -> list[int]:
        page = database.read_now(
            lambda connection: queries.deliveries(connection, 10, delivery_filter=wanted, **more)
        )
        return [delivery.id for delivery in page]

    assert ids_of() == ids[::-1]
    assert ids_of(before=ids[2]) == [ids[1], ids[0]]
    assert ids_of(DeliveryFilter(dag_id="secret")) == [ids[2]]
    assert ids_of(DeliveryFilter(dag_id="etl", run_id="2")) == [ids[1]]
    assert ids_of(DeliveryFilter(state=State.SENT)) == []
    rights = frozenset({("local", "etl")})
    assert ids_of(DeliveryFilter(since=NOW, until=NOW)) == []
    assert (
        ids_of(DeliveryFilter(rule="failures", channel=ChannelName.EMAIL, kind=NotificationKind.FAILURE))
        == ids[::-1]
    )
    assert ids_of(allowed_dags=rights) == [ids[1], ids[0]]
    assert database.read_now(lambda connection: queries.find(connection, ids[2], rights)) is None
    assert database.read_now(lambda connection: queries.find(connection, ids[0], rights)) is not None


def test_each_state_is_counted(database: Database, clock: FakeClock) -> None:
    for number in range(3):
        put(database, run_id=str(number))
    settle(database, claimed(database, clock), DeliveryOutcome(State.SENT, "sent"), clock)
    claimed(database, clock)
    counts = database.read_now(queries.counts)
    assert set(counts) == set(State)
    assert {state: number for state, number in counts.items() if number} == {
        State.PENDING: 1,
        State.SENDING: 1,
        State.SENT: 1,
    }
    assert database.read_now(lambda connection: queries.load_stats(connection, NOW)).waiting == 2

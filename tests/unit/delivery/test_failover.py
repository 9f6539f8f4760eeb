"""A database that lost its last moments: how it is noticed, and what of them is still known. With a standby
that lagged: tests/replicas/test_failover_behind.py."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import chain, repeat
from pathlib import Path
from types import MappingProxyType

import pytest
from sqlalchemy import Connection, delete, update

from monitor.database.engine import Database
from monitor.database.schema import deliveries, delivery_attempts, log_state, metadata
from monitor.delivery import sent_journal
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.failover import LogPosition, record_lost_sends
from monitor.delivery.sent_journal import SentJournal
from monitor.delivery.worker import LEASE
from monitor.event_log import cursor, read
from monitor.event_log.append import append
from monitor.event_log.cursor import Cursor
from monitor.event_log.read import LogRow
from monitor.events.event import parse_event
from monitor.notifications.outbox import queries, queue
from monitor.notifications.outbox.records import DeliveryOutcome, State
from monitor.settings import Settings
from tests import wait
from tests.postgres_server import PostgresServer
from tests.sample import run_event
from tests.unit.conftest import NOW, FakeClock
from tests.unit.delivery_support import Office, failed_run
from tests.unit.replicas_support import MAILED, replicas
from tests.unit.web_support import FeedReader

KEPT = timedelta(days=30)
OF_AN_EVENT = ("events", "deliveries", "notifications", "decisions", "delivery_attempts", "incidents")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that may be put back: of a test alone."""
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.mark.slow
def test_a_snapshot_is_put_back_under_a_monitor(
    server: PostgresServer, settings: Settings, tmp_path: Path
) -> None:
    with replicas(settings, server.create(), tmp_path, 1) as [monitor], FeedReader(monitor.url) as feed:

        def end_run(name: str) -> None:
            wait.until(lambda: monitor.post([run_event("success", MAILED, name)]).status_code == 202, "a yes")

        def went_back() -> float:
            return monitor.sample("windsock_database_rollbacks_detected_total")

        end_run("kept")
        wait.until(lambda: len(monitor.mails()) == 1, "the mail")
        server.go_down()
        server.snapshot()
        server.come_up()
        end_run("lost")
        wait.until(lambda: len(monitor.mails()) == 2, "the mail of what will be lost")
        assert went_back() == 0  # it was started anew, and had everything
        assert not any(one.event == "reset" for one in feed.messages)
        server.go_down()
        server.put_back()
        server.come_up()
        end_run("lost")  # as the reconciler finds it
        end_run("other")
        assert went_back() == 1
        wait.until(lambda: any(one.event == "reset" for one in feed.messages), "the reset")
        wait.until(lambda: len(monitor.mails()) == 3, "the mail of what is new", 60)
        assert len(set(monitor.mails())) == 3
        database = monitor.app.state.services.database
        told = [(one.run_id, one.state) for one in database.read_now(lambda c: queries.deliveries(c, 10))]
        assert sorted(told) == [("kept", State.SENT), ("lost", State.SENT), ("other", State.SENT)]


@pytest.fixture
def seen(database: Database) -> LogPosition:
    """The log's end, at the last of two events."""

    def write(connection: Connection) -> None:
        for name in ("1", "2"):
            append(connection, [parse_event(run_event("failed", run_id=name))], NOW)

    database.write_now(write)
    [_, last] = database.read_now(lambda connection: read.lines_after(connection, 0, 10))
    epoch = database.read_now(cursor.state).epoch
    return LogPosition(Cursor(epoch, last.seq), last)


def other_event(line: LogRow) -> LogRow:
    return line._replace(body=line.body.replace("failed", "success"))


@pytest.mark.parametrize(
    ("change", "is_denied"),
    [
        (lambda seen: seen, False),
        (lambda seen: LogPosition(seen.place), False),
        (lambda seen: LogPosition(seen.place, other_event(seen.line)), True),
        (lambda seen: LogPosition(Cursor(seen.place.epoch, seen.place.seq + 1)), True),
        (lambda seen: LogPosition(Cursor("0ther", seen.place.seq + 1)), False),
    ],
    ids=["there", "its number is", "another is in its place", "beyond the end", "of another epoch"],
)
def test_what_was_seen_is_looked_for(
    database: Database, seen: LogPosition, change: Callable[[LogPosition], LogPosition], is_denied: bool
) -> None:
    assert database.read_now(change(seen).is_denied) is is_denied


def test_what_is_forgotten_is_not_missed(database: Database, seen: LogPosition) -> None:
    forgotten = update(log_state).values(pruned_seq=seen.place.seq)
    database.write_now(lambda connection: connection.execute(forgotten))
    assert seen.line is not None
    assert not database.read_now(LogPosition(seen.place, other_event(seen.line)).is_denied)


def test_the_later_of_two_counts(seen: LogPosition) -> None:
    number, earlier = LogPosition(seen.place), LogPosition(Cursor(seen.place.epoch, seen.place.seq - 1))
    assert seen.later(earlier) == earlier.later(seen) == seen
    assert number.later(seen) == seen.later(number) == seen
    anew = LogPosition(Cursor("anew", 0))
    assert anew.later(seen) == anew


class Told(Office):
    """A monitor whose ledger can lose what its journal knows."""

    def __init__(self, database: Database, clock: FakeClock, folder: Path) -> None:
        self.mailbox, self.folder = Mailbox(folder.with_name("mailbox"), clock), folder
        super().__init__(database, clock, self.mailbox, journal=SentJournal(folder, clock, KEPT))

    def lose(self, then: Mapping[str, object] = MappingProxyType({"state": State.PENDING.value})) -> None:
        """Its ledger is as before the hand-over; by default, as before the claim."""
        was = {"settled_at": None, "attempts": 0, **then}

        def write(connection: Connection) -> None:
            connection.execute(update(deliveries).values(**was))
            connection.execute(delete(delivery_attempts))

        self.database.write_now(write)

    def lose_all(self) -> None:
        """The event is not there either."""

        def write(connection: Connection) -> None:
            for table in reversed(metadata.sorted_tables):
                if table.name in OF_AN_EVENT:
                    connection.execute(delete(table))

        self.database.write_now(write)

    def compare(self) -> int:
        told = sent_journal.read([self.folder])
        return self.database.write_now(lambda connection: record_lost_sends(connection, told))


@pytest.fixture
def office(database: Database, clock: FakeClock, tmp_path: Path) -> Told:
    return Told(database, clock, tmp_path / "journal")


def test_what_the_ledger_knows_is_left_alone(office: Told) -> None:
    failed_run(office)
    office.deliver()
    before = office.only()
    assert office.compare() == 0
    assert office.only() == before


def test_what_the_journal_alone_knows_is_not_sent_again(office: Told) -> None:
    failed_run(office)
    office.deliver()
    office.lose()
    office.clock.forward(60)
    assert office.compare() == 1
    office.deliver()
    assert len(office.mailbox.mails(10)) == 1
    assert office.only().state is State.SENT
    assert "the journal has it" in office.only().reason
    assert office.compare() == 0  # once is enough


def test_what_was_claimed_alone_is_not_sent_again_when_the_lease_ends(office: Told) -> None:
    """The ledger has the claim and not the hand-over, so that no server seems to have heard of it."""
    failed_run(office)
    office.deliver()
    ended = office.clock() + LEASE
    office.lose({"state": State.SENDING.value, "claim": "of before", "lease_until": ended})
    assert office.compare() == 1
    office.clock.forward(2 * LEASE.total_seconds())
    office.deliver()
    assert len(office.mailbox.mails(10)) == 1
    assert office.only().state is State.SENT


def test_what_is_under_way_is_not_held_up(office: Told) -> None:
    """Its journal says handed over, and the ledger not yet: the server answers that it is to come again."""
    failed_run(office)
    office.deliver()
    told = sent_journal.read([office.folder])
    office.lose()
    assert office.database.write_now(lambda connection: record_lost_sends(connection, told)) == 1
    again = DeliveryOutcome(State.PENDING, "come again", office.clock(), answer="451 come again")

    def come_again(connection: Connection) -> None:
        delivery = queue.claim(connection, office.clock(), LEASE)
        assert delivery is not None
        queue.settle(connection, delivery, again, office.clock())

    office.database.write_now(come_again)
    office.deliver()
    assert len(office.mailbox.mails(10)) == 2


def test_what_is_logged_again_is_known_again(office: Told, clock: FakeClock) -> None:
    """The whole event was lost, and comes back under another number of its delivery."""
    failed_run(office)
    office.deliver()
    office.lose_all()
    assert office.compare() == 1
    clock.forward(120)
    failed_run(office)
    office.deliver()
    assert len(office.mailbox.mails(10)) == 1


def test_what_a_person_asked_for_again_is_sent_again(office: Told) -> None:
    failed_run(office)
    office.deliver()
    office.clock.forward(1)
    number, now = office.only().id, office.clock()
    office.database.write_now(lambda connection: queue.requeue(connection, number, now))
    assert office.compare() == 0
    office.deliver()
    assert len(office.mailbox.mails(10)) == 2


def test_nothing_is_claimed_while_it_is_held(office: Told, database: Database, clock: FakeClock) -> None:
    until = clock() + timedelta(seconds=15)
    held = Office(database, clock, office.mailbox, held_until=lambda now: until if now < until else None)
    failed_run(held)
    held.deliver()
    assert held.only().state is State.PENDING
    clock.forward(15)
    held.deliver()
    assert held.only().state is State.SENT


def test_what_its_own_connection_finds_out_holds_a_claim(office: Told, database: Database) -> None:
    """The new server is met by the claim, behind the first question."""
    until = office.clock() + timedelta(seconds=15)
    answers = chain([None], repeat(until))
    held = Office(database, office.clock, office.mailbox, held_until=lambda _now: next(answers))
    failed_run(held)
    held.deliver()
    assert held.only().state is State.PENDING

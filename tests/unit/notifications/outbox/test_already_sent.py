"""A database that is restored: what was told since the backup is known by the journals, and told to nobody
again, however events are grouped this time."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from monitor.cli.backup.commands import complete_restore
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.database.schema import deliveries
from monitor.delivery import sent_journal
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.sent_journal import (
    HANDED,
    NOT_TAKEN,
    SENT,
    JournalEntry,
    SentJournal,
    What,
)
from monitor.event_log import cursor
from monitor.event_log.cursor import Cursor
from monitor.events.event import Event
from monitor.notifications.engine import Reminders
from monitor.notifications.outbox import queries, queue
from monitor.notifications.outbox.already_sent import keys_of
from monitor.notifications.outbox.records import Delivery, State
from monitor.notifications.outbox.threads import threads
from monitor.rules.model import Config
from tests.unit.conftest import NOW, FakeClock
from tests.unit.delivery_support import TO, Office, failed_run
from tests.unit.notify_support import Town, reraise

KEPT = timedelta(days=30)
HOUR = 3600.0


def config(**more: object) -> Config:
    rule = {"name": "r", "match": {"type": ["airflow.dag_run.*"]}, "to": [TO], **more}
    return Config.model_validate({"rules": [rule]})


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Database]:
    """What a monitor wrote after the backup, which is the empty `database`."""
    database = Database(f"sqlite:///{tmp_path / 'lost.db'}")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def send(here: Town, folder: Path, answer: What | None = SENT) -> list[Delivery]:
    """What is due is sent, and stands in the journal."""
    sent = here.deliver()
    written = SentJournal(folder, here.clock, KEPT)

    async def note() -> None:
        for one in sent:
            keys = here.read(lambda connection: keys_of(connection, [one]))[one.id]  # noqa: B023 (called here)
            await written.append(
                JournalEntry(here.clock(), HANDED, one.message_id, keys, f"about {one.dag_id}")
            )
            if answer:
                await written.append(JournalEntry(here.clock(), answer, one.message_id))

    asyncio.run(note())
    return sent


def again(here: Town, events: list[Event]) -> None:
    """The reconciler finds them all at once."""
    here.tell(*(json.loads(event.body) for event in events))


def states(here: Town) -> list[tuple[str, str]]:
    """Kind and state of each delivery, oldest first."""
    found = here.read(lambda connection: queries.deliveries(connection, 100))
    return [(one.kind.value, one.state.value) for one in reversed(found)]


def test_groups_are_known_again_event_by_event(
    lost: Database, database: Database, folder: Path, clock: FakeClock
) -> None:
    before = Town(lost, config(), clock)
    events = [before.fail()]
    assert [one.kind.value for one in send(before, folder)] == ["opened"]
    events += [before.fail(), before.fail()]
    clock.forward(5 * HOUR)
    assert [one.kind.value for one in send(before, folder)] == ["follow_up"]
    events.append(before.succeed())
    assert [one.kind.value for one in send(before, folder)] == ["recovered"]
    untold = before.fail("other")

    found = complete_restore(database, [folder])
    assert (found.backup_of, found.mails, found.settled) == (None, 3, [])
    here = Town(database, config(), clock)
    again(here, [*events, untold])
    assert here.mail() == [f"opened r {TO} 1"]  # of the other DAG
    clock.forward(5 * HOUR)
    assert here.mail() == []
    assert [state for _, state in states(here)] == ["sent"] * 5
    [decision] = here.why(events[1])
    assert "notified before the database was restored" in decision.reason


def test_what_follows_is_in_the_same_thread(
    lost: Database, database: Database, folder: Path, clock: FakeClock
) -> None:
    before = Town(lost, config(), clock)
    failure = before.fail()
    [first] = send(before, folder)
    complete_restore(database, [folder])
    here = Town(database, config(), clock)
    again(here, [failure])
    clock.forward(HOUR)
    here.succeed()
    [recovered] = here.deliver()
    assert recovered.kind.value == "recovered"
    thread = here.read(lambda connection: threads(connection, [recovered]))[recovered.id]
    assert thread.references == (first.message_id,)
    assert thread.subject == "about etl"


def test_who_was_not_told_is_told(lost: Database, database: Database, folder: Path, clock: FakeClock) -> None:
    """A recipient who is named since, and the mails that the server did not take."""
    before = Town(lost, config(), clock)
    told, refused = before.fail(), None
    send(before, folder)
    refused = before.fail("refused")
    send(before, folder, NOT_TAKEN)
    complete_restore(database, [folder])
    both = [TO, "new@example.com"]
    here = Town(database, config(to=both), clock)
    again(here, [told, refused])
    expected = [f"opened r {who} 1" for who in (TO, "new@example.com", "new@example.com")]
    assert sorted(here.mail()) == sorted(expected)


def test_without_the_servers_answer_it_is_uncertain(
    lost: Database, database: Database, folder: Path, clock: FakeClock
) -> None:
    before = Town(lost, config(), clock)
    failure = before.fail()
    send(before, folder, None)
    complete_restore(database, [folder])
    here = Town(database, config(), clock)
    again(here, [failure])
    assert here.mail() == []
    assert states(here) == [("opened", "uncertain")]


def test_a_reminder_is_sent_when_it_is_time_for_the_next(
    lost: Database, database: Database, folder: Path, clock: FakeClock
) -> None:
    def look(here: Town) -> None:
        asyncio.run(Reminders(here.database, here.engine, WakeSignal(), clock, reraise).look())

    rules = config(repeat="6h")
    before = Town(lost, rules, clock)
    failure = before.fail()
    send(before, folder)
    clock.forward(6 * HOUR)
    look(before)
    assert [one.kind.value for one in send(before, folder)] == ["reminder"]
    complete_restore(database, [folder])
    here = Town(database, rules, clock)
    again(here, [failure])
    clock.forward(HOUR)
    look(here)  # the database knows of the opening alone, seven hours ago
    assert here.mail() == []
    look(here)
    assert here.mail() == []
    clock.forward(5 * HOUR)
    look(here)
    assert here.mail() == [f"reminder r {TO} 1"]


def test_what_waited_in_the_backup_is_settled_unless_it_was_asked_for_again(
    database: Database, folder: Path, clock: FakeClock
) -> None:
    here = Town(database, config(), clock)
    for dag_id in ("told", "not_told", "asked_for"):
        here.fail(dag_id)
    waiting = here.read(lambda connection: queries.deliveries(connection, 10))
    written = SentJournal(folder, clock, KEPT)

    async def sent(dag_id: str) -> None:
        [one] = [one for one in waiting if one.dag_id == dag_id]
        keys = here.read(lambda connection: keys_of(connection, [one]))[one.id]
        await written.append(JournalEntry(clock(), HANDED, one.message_id, keys, "s"))
        await written.append(JournalEntry(clock(), SENT, one.message_id))

    asyncio.run(sent("told"))
    asyncio.run(sent("asked_for"))
    clock.forward(60)
    [asked] = [one for one in waiting if one.dag_id == "asked_for"]
    here.write(lambda connection: queue.requeue(connection, asked.id, clock()))
    found = complete_restore(database, [folder])
    assert len(found.settled) == 1
    assert {one.dag_id for one in here.deliver()} == {"not_told", "asked_for"}


def test_the_monitor_writes_the_journal(database: Database, folder: Path, clock: FakeClock) -> None:
    mailbox = Mailbox(folder.with_name("mailbox"), clock)
    office = Office(database, clock, mailbox, journal=SentJournal(folder, clock, KEPT))
    failed_run(office)
    office.deliver()
    [told] = sent_journal.read([folder])
    assert told.is_sent
    assert told.handed.message_id == office.only().message_id
    assert len(told.handed.keys) == 1
    [file] = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_nothing_is_sent_that_the_journal_cannot_hold(
    database: Database, folder: Path, clock: FakeClock
) -> None:
    folder.write_text("a file where the folder should be")
    mailbox = Mailbox(folder.with_name("mailbox"), clock)
    office = Office(database, clock, mailbox, journal=SentJournal(folder, clock, KEPT))
    failed_run(office)
    office.deliver()
    assert mailbox.mails(10) == []
    assert office.only().state is State.PENDING
    assert "the journal cannot be written" in office.only().reason


def test_a_journal_that_is_cut_off_is_read_as_far_as_it_goes(folder: Path, clock: FakeClock) -> None:
    written = SentJournal(folder, clock, KEPT)

    async def write() -> None:
        await asyncio.gather(
            *(written.append(JournalEntry(clock(), HANDED, f"<{n}>", ("k",), "s")) for n in range(50))
        )
        written.append_nowait(JournalEntry(clock(), SENT, "<0>"))
        await written.append(JournalEntry(clock(), NOT_TAKEN, "<1>"))

    asyncio.run(write())
    [file] = folder.iterdir()
    file.write_bytes(file.read_bytes() + b'{"at":"2026-11-2')
    told = {one.handed.message_id: one.is_sent for one in sent_journal.read([folder])}
    assert told == {f"<{number}>": number == 0 for number in range(50) if number != 1}
    assert sent_journal.read([folder], NOW + timedelta(days=1)) == []
    clock.forward((KEPT + timedelta(days=1)).total_seconds())
    asyncio.run(written.append(JournalEntry(clock(), HANDED, "<new>")))
    assert [one.name[:10] for one in folder.iterdir()] == [f"{clock():%Y-%m-%d}"]


@pytest.mark.parametrize(
    ("one", "another", "is_sent"),
    [
        ([HANDED, SENT], [HANDED, NOT_TAKEN], True),
        ([HANDED], [HANDED, NOT_TAKEN], False),
        ([HANDED, NOT_TAKEN], [HANDED, NOT_TAKEN], None),
        ([HANDED, NOT_TAKEN, HANDED], [], False),
        ([HANDED, NOT_TAKEN, HANDED, SENT], [], True),
        ([], [NOT_TAKEN], None),
    ],
)
def test_the_lines_of_all_who_tried_are_taken_together(
    folder: Path,
    clock: FakeClock,
    tmp_path: Path,
    one: list[What],
    another: list[What],
    is_sent: bool | None,
) -> None:
    """Where a lease ran out, two monitors had the same mail, and the one that let it go says so last."""
    folders = [folder, tmp_path / "another"]
    for place, whats in zip(folders, (one, another), strict=True):
        written = SentJournal(place, clock, KEPT)
        for what in whats:
            clock.forward(1)
            asyncio.run(written.append(JournalEntry(clock(), what, "<1@example.com>", ("key",), "s")))
    told = [told.is_sent for told in sent_journal.read(folders)]
    assert told == ([] if is_sent is None else [is_sent])


def test_a_restore_begins_another_log(database: Database, folder: Path, clock: FakeClock) -> None:
    Town(database, config(), clock).fail()
    old = database.read_now(cursor.state)
    complete_restore(database, [folder])
    new = database.read_now(cursor.state)
    assert new.last_seq == old.last_seq
    assert "another log" in (new.expiry_reason(Cursor(old.epoch, new.last_seq)) or "")


def test_what_is_jotted_last_is_written_when_the_monitor_ends(folder: Path, clock: FakeClock) -> None:
    written = SentJournal(folder, clock, KEPT)

    async def sent() -> None:
        await written.append(JournalEntry(clock(), HANDED, "<1@example.com>", ("key",), "s"))
        written.append_nowait(JournalEntry(clock(), SENT, "<1@example.com>"))
        await written.flush()

    asyncio.run(sent())
    assert [(told.handed.message_id, told.is_sent) for told in sent_journal.read([folder])] == [
        ("<1@example.com>", True)
    ]


class Robbed(Mailbox):
    """While its mail is about to be handed over, another monitor takes the delivery up."""

    def __init__(self, folder: Path, clock: FakeClock, database: Database) -> None:
        super().__init__(folder, clock)
        self._database = database

    async def open(self) -> None:
        self._database.write_now(lambda connection: connection.execute(update(deliveries).values(claim="x")))


def test_a_mail_that_is_another_s_to_send_is_noted_as_not_taken(
    database: Database, folder: Path, clock: FakeClock, tmp_path: Path
) -> None:
    office = Office(
        *(database, clock, Robbed(tmp_path / "mailbox", clock, database)),
        journal=SentJournal(folder, clock, KEPT),
    )
    failed_run(office)
    asyncio.run(office.deliverer.work())
    [file] = folder.iterdir()
    assert [json.loads(line)["what"] for line in file.read_text().splitlines()] == [HANDED, NOT_TAKEN]
    assert sent_journal.read([folder]) == []

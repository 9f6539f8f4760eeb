"""The guard against a database that lost its last moments.

A standby that lagged, or a backup in the database's place, lacks the last commits. Two problems follow, and
neither shows by itself. Numbers of events are given a second time, so feeds step over some events. Mails that
were sent are still waiting to be sent. Without this guard, a notification could not be sent exactly once.

`FailoverGuard` proves each connection to a server that was restarted or replaced, before the connection is
used. The log begins a new epoch as soon as a monitor misses the `LogPosition` that it had seen. After a
change of servers, mails wait until each monitor has compared its journal (monitor/delivery/sent_journal.py)
with the ledger. The reconciler fetches the events that are missing.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.leader_election import Work
from monitor.database.postgresql import Life, life
from monitor.database.pubsub import FEED, signal
from monitor.delivery import sent_journal
from monitor.delivery.sent_journal import SentRecord
from monitor.event_log import append, cursor, read
from monitor.event_log.cursor import Cursor
from monitor.event_log.read import LogRow
from monitor.events.event import Event
from monitor.notifications.outbox import already_sent
from monitor.notifications.outbox.already_sent import PriorDelivery
from monitor.notifications.outbox.records import State
from monitor.observability.metrics import Metrics

BEFORE = timedelta(hours=1)
"""The part of the journals before the database's last moment that is read too. Clocks differ, and to know it
twice is no harm."""


def find_journal_start(connection: Connection) -> datetime | None:
    """Return from when on the journals have to be read, or None to read all of them."""
    last = read.last_received(connection)
    oldest_due = already_sent.earliest_waiting(connection)
    moments = [moment for moment in (last, oldest_due) if moment]
    return min(moments) - BEFORE if moments else None


def record_lost_sends(connection: Connection, records: Sequence[SentRecord]) -> int:
    """Store what only the journals know in the ledger. Return the number of mails."""
    lost = already_sent.find_unrecorded(
        connection, {record.handed.message_id: record.handed.at for record in records}
    )
    unknown = [record for record in records if record.handed.message_id in lost]
    already_sent.add(connection, by_key(unknown))
    return len(unknown)


def by_key(records: Sequence[SentRecord]) -> dict[str, PriorDelivery]:
    """Return the last entry of each key. A certain one goes before an uncertain one."""
    found: dict[str, PriorDelivery] = {}
    for record in sorted(records, key=lambda record: (record.is_sent, record.handed.at)):
        state = State.SENT if record.is_sent else State.UNCERTAIN
        before = PriorDelivery(state, record.handed.at, record.handed.message_id, record.handed.subject)
        found.update(dict.fromkeys(record.handed.keys, before))
    return found


@dataclass(frozen=True)
class LogPosition:
    """A place in the log, and the event at that place."""

    place: Cursor
    line: LogRow | None = None
    """The event at this place. None if only its number was read."""

    def later(self, other: "LogPosition | None") -> "LogPosition":
        """Return the later place. Of two logs, the one that was seen last, this one, is later."""
        if other is None or other.place.epoch != self.place.epoch:
            return self
        return max(self, other, key=lambda position: (position.place.seq, position.line is not None))

    def is_denied(self, connection: Connection) -> bool:
        """Return True if the log lacks the place.

        If the log has it, it has all that was committed before, because a standby replays in that order.
        """
        state = cursor.state(connection)
        if state.epoch != self.place.epoch or self.place.seq <= state.pruned_seq:
            return False  # a new epoch has begun already, or the place is pruned
        if self.place.seq > state.last_seq:
            return True
        found = read.lines_after(connection, self.place.seq - 1, 1)
        return self.line is not None and found != [self.line]


UNDER_WAY = timedelta(seconds=5)
"""After this time an attempt of the old server has failed at the new one, or the mail server has its mail."""
HOLD = timedelta(seconds=15)
"""Mails wait so long after a change of servers. Replicas find the new one up to 6 s one after the other
(docs/postgresql.md), and each compares its journal UNDER_WAY after that."""
LOOK_SECONDS = 1.0

logger = logging.getLogger(__name__)


class FailoverGuard:
    """The guard against a database that lost its last moments. `run()` is its background task."""

    def __init__(
        self,
        database: Database,
        journals: Path,
        metrics: Metrics,
        clock: Clock,
        on_new_epoch: Callable[[Connection], object],
    ) -> None:
        """Keep `on_new_epoch`, which is called in the transaction that begins a new epoch of the log."""
        self._database = database
        self._journals = journals
        self._metrics = metrics
        self._clock = clock
        self._on_new_epoch = on_new_epoch
        self._proving = threading.Lock()
        self._life: Life | None = None
        self._last_position: LogPosition | None = None
        self._hold_ends = datetime.min.replace(tzinfo=timezone.utc)
        self._compare_at: datetime | None = None
        """None: the journal has been compared."""
        if database.is_shared:  # no other process replaces the file of a running monitor
            database.prove = self._prove

    def saw(self, place: Cursor, line: LogRow | None = None) -> None:
        """Take note of the log's end, and of the event at that place."""
        self._last_position = LogPosition(place, line).later(self._last_position)

    def wrote(self, after: Cursor, logged: Sequence[tuple[int, Event]]) -> None:
        """Note that something was committed behind a place."""
        if logged:
            seq, event = logged[-1]
            self.saw(Cursor(after.epoch, seq), append.line_of(seq, event))

    def hold_end(self, now: datetime) -> datetime | None:
        """Return until when nothing may be delivered nor compared with Airflow, or None if both may go on.

        Whatever is logged anew has to meet what the journals know.
        """
        if self._compare_at is not None:
            return max(self._hold_ends, now + timedelta(seconds=LOOK_SECONDS))
        return self._hold_ends if now < self._hold_ends else None

    def delay_work(self, work: Work) -> Work:
        """Return the work, delayed until nothing is held."""

        async def run() -> None:
            await self._database.read(cursor.state)  # over a connection that is proven
            while until := self.hold_end(now := self._clock()):
                seconds = (until - now).total_seconds()
                await asyncio.sleep(seconds)
            await work()

        return run

    async def run(self) -> None:
        """Compare the journal with the ledger after each change of servers, until canceled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            due = self._compare_at
            if due is not None and self._clock() >= due:
                try:
                    await self._compare()
                except (SQLAlchemyError, OSError):
                    logger.exception("what was mailed cannot be compared yet; mails wait for it")

    def _prove(self, connection: Connection) -> None:
        """Prove a new connection before its first use, in any thread. Raises the database's errors."""
        with self._proving:
            before, position, epoch = self._life, self._last_position, None
            with connection.begin():
                found = life(connection)
                if before is not None and position is not None and found != before:
                    epoch = _begin_epoch_if_lost(connection, position, self._on_new_epoch)
            if position is not None and epoch is not None:
                self._went_back(position, epoch)
            if before is not None and (epoch or found.timeline != before.timeline):
                self._hold(found)
            self._life = found

    def _went_back(self, position: LogPosition, epoch: str) -> None:
        self._last_position = None
        self._metrics.database_rollbacks_detected.inc()
        logger.error(
            "the database has lost its last moments: it is without event %s. A standby that lagged, or a "
            "backup, is in its place. The log begins anew as %s, so feeds get a reset; the reconcilers ask "
            "Airflow for what is lacking; mails wait for the journals. Everybody signs in anew; see "
            "`windsock token list`, for revocations may be lost too",
            *(position.place, epoch),
        )

    def _hold(self, found: Life) -> None:
        logger.warning(
            "another PostgreSQL is in the old one's place (timeline %s): mails wait %d s, until each monitor "
            "has compared its journal",
            *(found.timeline or "unknown", HOLD.total_seconds()),
        )
        now = self._clock()
        self._hold_ends, self._compare_at = now + HOLD, now + UNDER_WAY

    async def _compare(self) -> None:
        due = self._compare_at
        since = await self._database.read(find_journal_start)
        records = await asyncio.to_thread(sent_journal.read, [self._journals], since)
        found = await self._database.write(partial(record_lost_sends, records=records))
        if self._compare_at == due:  # else the server has changed again meanwhile
            self._compare_at = None
        if found:
            logger.warning(
                "%d mails were sent in the moments that the database lost: they are not sent again", found
            )


def _begin_epoch_if_lost(
    connection: Connection, position: LogPosition, on_new_epoch: Callable[[Connection], object]
) -> str | None:
    """Begin a new epoch of the log, and return it, if the log lacks what was seen of it."""
    append.lock(connection)
    if not position.is_denied(connection):
        return None
    on_new_epoch(connection)
    signal(connection, FEED)
    return append.begin_epoch(connection)

"""Proves each connection to a server that was started anew, or has taken another's place, before it is used.

Two things go wrong with a database that lost its last moments, and neither is noticed by itself: numbers of
events are given a second time, so that feeds step over some; and mails that were sent still wait to be. So
the log begins a new epoch as soon as a monitor misses what it had seen; and after a change of servers mails
wait until each monitor has held its journal (monitor/journal.py) against the ledger. Events that are lacking
are the reconciler's.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor import event_log, journal, sessions
from monitor.clock import Clock
from monitor.continuity.journals import know, told_since
from monitor.continuity.witness import Witness
from monitor.database import Database
from monitor.database.postgresql import Life, life
from monitor.event_log import Cursor, Line
from monitor.events import Event
from monitor.metrics import Metrics
from monitor.replicas import FEED, signal
from monitor.replicas.turns import Work

UNDER_WAY = timedelta(seconds=5)
"""What was under way on the old server has failed at the new one by then, or the mail server has it."""
HOLD = timedelta(seconds=15)
"""Mails wait so long after a change of servers. Replicas find the new one up to 6 s one after the other
(docs/postgresql.md), and each compares its journal UNDER_WAY after that."""
LOOK_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Continuity:
    """`run()` is its background task."""

    def __init__(self, database: Database, journals: Path, metrics: Metrics, clock: Clock) -> None:
        self._database = database
        self._journals = journals
        self._metrics = metrics
        self._clock = clock
        self._proving = threading.Lock()
        self._life: Life | None = None
        self._witness: Witness | None = None
        self._hold_ends = datetime.min.replace(tzinfo=timezone.utc)
        self._compare_at: datetime | None = None
        """None: the journal has been compared."""
        if database.is_shared:  # nobody else puts another file under a monitor that runs
            database.prove = self._prove

    def saw(self, place: Cursor, line: Line | None = None) -> None:
        """The log's end, and the event there."""
        self._witness = Witness(place, line).later(self._witness)

    def wrote(self, after: Cursor, logged: Sequence[tuple[int, Event]]) -> None:
        """What was committed behind a place."""
        if logged:
            seq, event = logged[-1]
            self.saw(Cursor(after.epoch, seq), event_log.line_of(seq, event))

    def held_until(self, now: datetime) -> datetime | None:
        """Until when nothing may be delivered, and Airflow not be compared: what is logged anew has to meet
        what the journals know. None: all of it may go on."""
        if self._compare_at is not None:
            return max(self._hold_ends, now + timedelta(seconds=LOOK_SECONDS))
        return self._hold_ends if now < self._hold_ends else None

    def after_hold(self, work: Work) -> Work:
        """The same work, which begins when nothing is held."""

        async def run() -> None:
            await self._database.read(event_log.state)  # over a connection that is proven
            while until := self.held_until(now := self._clock()):
                seconds = (until - now).total_seconds()
                await asyncio.sleep(seconds)
            await work()

        return run

    async def run(self) -> None:
        """After a change of servers, hold the journal against the ledger. Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            due = self._compare_at
            if due is not None and self._clock() >= due:
                try:
                    await self._compare()
                except (SQLAlchemyError, OSError):
                    logger.exception("what was mailed cannot be compared yet; mails wait for it")

    def _prove(self, connection: Connection) -> None:
        """Before a new connection is used, in any thread. Raises what the database raises."""
        with self._proving:
            before, witness, epoch = self._life, self._witness, None
            with connection.begin():
                found = life(connection)
                if before is not None and witness is not None and found != before:
                    epoch = _begun_anew(connection, witness)
            if witness is not None and epoch is not None:
                self._went_back(witness, epoch)
            if before is not None and (epoch or found.timeline != before.timeline):
                self._hold(found)
            self._life = found

    def _went_back(self, witness: Witness, epoch: str) -> None:
        self._witness = None
        self._metrics.database_rollbacks_detected.inc()
        logger.error(
            "the database has lost its last moments: it is without event %s. A standby that lagged, or a "
            "backup, is in its place. The log begins anew as %s, so feeds get a reset; the reconcilers ask "
            "Airflow for what is lacking; mails wait for the journals. Everybody signs in anew; see "
            "`windsock token list`, for revocations may be lost too",
            *(witness.place, epoch),
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
        since = await self._database.read(told_since)
        told = await asyncio.to_thread(journal.read, [self._journals], since)
        found = await self._database.write(partial(know, told=told))
        if self._compare_at == due:  # else the server has changed again meanwhile
            self._compare_at = None
        if found:
            logger.warning(
                "%d mails were sent in the moments that the database lost: they are not sent again", found
            )


def _begun_anew(connection: Connection, witness: Witness) -> str | None:
    """The log's new epoch, where it is without what was seen of it."""
    event_log.lock(connection)
    if not witness.is_denied(connection):
        return None
    sessions.end_all(connection)  # one that was ended in the lost moments must not come back
    signal(connection, FEED)
    return event_log.begin_epoch(connection)

"""What has to follow when a backup has become the database, before a monitor runs on it.

A new epoch: the log goes on from the backup's last number with other events, so a cursor from before the
restore would silently skip or repeat; with another epoch it gets `event: reset`, for ever. What was told
since the backup is taken from the journals. Whoever was signed in signs in again: a session that was ended
since must not come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from monitor import event_log, failed_attempts, journal, sessions
from monitor.continuity import by_key, told_since
from monitor.database import Database
from monitor.outbox import told_before


@dataclass(frozen=True)
class Restored:
    """What was found, for people."""

    backup_of: datetime | None
    """When the last event was logged that the backup holds."""
    mails: int
    """Mails since then that the journals know."""
    settled: list[int]
    """The deliveries that waited in the backup, and were among them."""


def after_restore(database: Database, journals: Sequence[Path]) -> Restored:
    """All of it, in one transaction. `journals`: folders, of each monitor that sent since the backup."""
    return database.write_now(lambda connection: _follow(connection, journals))


def _follow(connection: Connection, journals: Sequence[Path]) -> Restored:
    last = event_log.last_received(connection)
    told = journal.read(journals, told_since(connection))
    settled = told_before.restore(connection, by_key(told))
    event_log.begin_epoch(connection)
    sessions.end_all(connection)
    failed_attempts.forget_all(connection)
    since = [one for one in told if last is None or one.handed.at >= last]
    return Restored(last, len(since), settled)

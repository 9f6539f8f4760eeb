"""The steps that follow the restore of a backup.

What has to follow when a backup has become the database, before a monitor runs on it.

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

from monitor.database.engine import Database
from monitor.delivery import sent_journal
from monitor.delivery.failover import by_key, find_journal_start
from monitor.errors import WindsockError
from monitor.event_log import append, read
from monitor.notifications.outbox import already_sent
from monitor.web.auth import rate_limit, sessions


@dataclass(frozen=True)
class RestoreResult:
    """What was found, for people."""

    backup_of: datetime | None
    """When the last event was logged that the backup holds."""
    mails: int
    """Mails since then that the journals know."""
    settled: list[int]
    """The deliveries that waited in the backup, and were among them."""


def complete_restore(database: Database, journals: Sequence[Path]) -> RestoreResult:
    """All of it, in one transaction. `journals`: folders, of each monitor that sent since the backup."""
    return database.write_now(lambda connection: _follow(connection, journals))


def _follow(connection: Connection, journals: Sequence[Path]) -> RestoreResult:
    last = read.last_received(connection)
    told = sent_journal.read(journals, find_journal_start(connection))
    settled = already_sent.restore(connection, by_key(told))
    append.begin_epoch(connection)
    sessions.end_all(connection)
    rate_limit.forget_all(connection)
    since = [one for one in told if last is None or one.handed.at >= last]
    return RestoreResult(last, len(since), settled)


class BackupError(WindsockError):
    """It was not done, and nothing is changed unless the message says so."""

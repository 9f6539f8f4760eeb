"""What the journals know of mails, and a database that went back does not."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import event_log, journal
from monitor.outbox import Before, State, told_before

BEFORE = timedelta(hours=1)
"""How much of the journals is read from before the database's last moment: clocks differ, and to know it
twice is no harm."""


def told_since(connection: Connection) -> datetime | None:
    """From when on the journals have to be read; None: all of them."""
    last = event_log.last_received(connection)
    waiting = told_before.earliest_waiting(connection)
    known = [moment for moment in (last, waiting) if moment]
    return min(known) - BEFORE if known else None


def know(connection: Connection, told: Sequence[journal.Told]) -> int:
    """Have the ledger know what the journals alone do; answers how many mails that are."""
    lost = told_before.lost(connection, {one.handed.message_id: one.handed.at for one in told})
    unknown = [one for one in told if one.handed.message_id in lost]
    told_before.add(connection, by_key(unknown))
    return len(unknown)


def by_key(told: Sequence[journal.Told]) -> dict[str, Before]:
    """The last word on each; one that is sure goes before one that is not."""
    found: dict[str, Before] = {}
    for one in sorted(told, key=lambda one: (one.is_sent, one.handed.at)):
        state = State.SENT if one.is_sent else State.UNCERTAIN
        before = Before(state, one.handed.at, one.handed.message_id, one.handed.subject)
        found.update(dict.fromkeys(one.handed.keys, before))
    return found

"""Forget by age, and begin anew."""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from monitor.database.schema import events, log_marks, log_state
from monitor.event_log.place import state

PRUNE_BATCH = 1_000  # rows a transaction, so that ingest never waits long behind retention
EPOCH_BYTES = 4  # of which nobody has many
MARK_EVERY = timedelta(hours=1)  # how exactly is known when a seq was written


def prune(connection: Connection, before: datetime) -> int:
    """Forget up to PRUNE_BATCH of the oldest events received before a moment; answers how many."""
    oldest = events.c.seq <= state(connection).pruned_seq + PRUNE_BATCH
    query = select(func.max(events.c.seq)).where(events.c.received_at < before, oldest)
    upto = connection.execute(query).scalar_one_or_none()
    if upto is None:
        return 0
    gone = connection.execute(delete(events).where(events.c.seq <= upto)).rowcount
    # Last: ingest waits for this row. Not back: another replica may have been at it a moment before.
    connection.execute(update(log_state).where(log_state.c.pruned_seq < upto).values(pruned_seq=upto))
    return gone


def begin_epoch(connection: Connection) -> str:
    """It is another log from now on: no cursor of before leads into it. Answers its name."""
    epoch = secrets.token_hex(EPOCH_BYTES)
    connection.execute(update(log_state).values(epoch=epoch))
    return epoch


def mark(connection: Connection, now: datetime, kept: datetime) -> None:
    """Note how far the log has come, once in a while; of the marks before `kept` the last one is enough."""
    last = connection.execute(select(func.max(log_marks.c.at))).scalar_one()
    if last is None or now - last >= MARK_EVERY:
        connection.execute(insert(log_marks).values(at=now, seq=state(connection).last_seq))
    enough = select(func.max(log_marks.c.at)).where(log_marks.c.at <= kept).scalar_subquery()
    connection.execute(delete(log_marks).where(log_marks.c.at < enough))


def seq_by(connection: Connection, moment: datetime) -> int:
    """Everything up to this seq was written before a moment; 0 where that is not known."""
    query = select(func.max(log_marks.c.seq)).where(log_marks.c.at <= moment)
    return connection.execute(query).scalar_one() or 0

"""The writes to the log: the lock, the append, the marks, and the pruning by age.

`lock` makes a transaction the only one that appends. `append` logs the events that are new, without a gap in
the sequence numbers. `line_of` makes the row of an event that has just been logged without reading the log.

`mark` notes from time to time how far the log has come, and `seq_by` finds a sequence number by a moment.
`prune` deletes the oldest events. `begin_epoch` makes the log another one, so no earlier cursor leads into
it.

"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from monitor.database.schema import events, log_marks, log_state
from monitor.database.schema import events as table
from monitor.database.statements import BulkInsert, KeyLookup, Statement
from monitor.database.types import read_each
from monitor.event_log.cursor import Cursor, state
from monitor.event_log.read import LINE, LogRow, find_logged
from monitor.events.data import DATA, TEST, DagRunData, TaskInstanceData
from monitor.events.event import Event
from monitor.events.identity import digest

# SQLite knows no FOR UPDATE and needs none: a writer holds the whole database (database/engine.py).
_LOCK = Statement(lambda _insert: select(log_state.c.epoch, log_state.c.last_seq).with_for_update())
_ADVANCE = Statement(lambda _insert: update(log_state).values(last_seq=bindparam("last")))
_APPEND = BulkInsert(
    events,
    lambda insert: insert(events).on_conflict_do_nothing(index_elements=(events.c.source, events.c.id)),
)
_TAKE_BACK = Statement(lambda _insert: delete(events).where(events.c.seq >= bindparam("first")))


def lock(connection: Connection) -> Cursor:
    """Make this the only transaction that appends, until its end. Return the log's end."""
    [locked] = _LOCK.rows(connection)
    return Cursor(locked["epoch"], locked["last_seq"])


def append(
    connection: Connection, batch: Sequence[Event], received_at: datetime, end: Cursor | None = None
) -> list[int | None]:
    """Log the events that are new.
    Return the seq of each event, in the batch's order, or None for a duplicate.

    `end` is the result of `lock`, or None if the transaction has not called it yet."""
    first = (end or lock(connection)).seq + 1  # locked before anything is read
    seqs: list[int | None] = list(range(first, first + len(batch)))
    if not _append(connection, batch, seqs, received_at):
        _TAKE_BACK.rows(connection, first=first)
        seqs = _assign_seqs(batch, find_logged(connection, map(name_of, batch)), first)
        _append(connection, batch, seqs, received_at)
    if new := [seq for seq in seqs if seq is not None]:
        _ADVANCE.rows(connection, last=new[-1])
    return seqs


def _append(
    connection: Connection, batch: Sequence[Event], seqs: Sequence[int | None], received_at: datetime
) -> bool:
    """Return True if all events with a seq were new.
    Most batches are new, so writing them is their look-up."""
    rows = [_row(event, seq, received_at) for event, seq in zip(batch, seqs, strict=True) if seq is not None]
    return _APPEND.rows(connection, rows) == len(rows)


def _assign_seqs(batch: Sequence[Event], logged: set[tuple[str, str]], first: int) -> list[int | None]:
    """Return a seq for each event that is neither logged nor earlier in the batch. No number is left out."""
    seqs: list[int | None] = []
    for event in batch:
        is_new = name_of(event) not in logged
        logged.add(name_of(event))
        seqs.append(first if is_new else None)
        first += is_new
    return seqs


def name_of(event: Event) -> tuple[str, str]:
    """Return the event's name in the log. CloudEvents 1.0 names an event by `source` and `id` together."""
    return event.source, event.id


def _row(event: Event, seq: int, received_at: datetime) -> dict[str, Any]:
    get = event.fields.get
    return {
        "seq": seq,
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "received_at": received_at,
        "deployment": event.deployment,
        "dag_id": get("dag_id") or get("source_dag_id"),
        "run_id": get("run_id") or get("source_run_id"),
        "task_id": get("task_id") or get("source_task_id"),
        "state": get("state"),
        "asset_uri": event.asset_uri,
        "body": event.body,
    }


def line_of(seq: int, event: Event) -> LogRow:
    """Return the log's row of an event that has just been logged, without reading the log."""
    row = _row(event, seq, event.time)
    return LogRow(*(row[column.name] for column in LINE))


PRUNE_BATCH = 1_000  # rows a transaction, so that ingest never waits long behind retention
EPOCH_BYTES = 4  # bytes: a log has few epochs
MARK_EVERY = timedelta(hours=1)  # how exactly is known when a seq was written


def prune(connection: Connection, before: datetime) -> int:
    """Delete up to PRUNE_BATCH of the oldest events received before a moment. Return their number."""
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
    """Begin another log and return its epoch. No earlier cursor leads into this log."""
    epoch = secrets.token_hex(EPOCH_BYTES)
    connection.execute(update(log_state).values(epoch=epoch))
    return epoch


def mark(connection: Connection, now: datetime, kept_until: datetime) -> None:
    """Record the log's end, once in a while. Of the marks before `kept_until` only the last is kept."""
    last = connection.execute(select(func.max(log_marks.c.at))).scalar_one()
    if last is None or now - last >= MARK_EVERY:
        connection.execute(insert(log_marks).values(at=now, seq=state(connection).last_seq))
    enough = select(func.max(log_marks.c.at)).where(log_marks.c.at <= kept_until).scalar_subquery()
    connection.execute(delete(log_marks).where(log_marks.c.at < enough))


def seq_by(connection: Connection, moment: datetime) -> int:
    """Return the seq up to which everything was written before a moment, or 0 if that is unknown."""
    query = select(func.max(log_marks.c.seq)).where(log_marks.c.at <= moment)
    return connection.execute(query).scalar_one() or 0


UNKNOWN = "unreadable"
"""The thing of a row that cannot be read. It counts as another thing, so the event is logged as well."""
Thing = tuple[str, ...]
"""The thing that an event is about: its type and names."""

_LOGGED = KeyLookup(table, ("source", "id"), columns=("source", "id", *(column.name for column in LINE)))


def conflicting(connection: Connection, duplicates: Sequence[Event]) -> list[Event | None]:
    """Return each event, in order, under an id of its own if the log has its id for another thing.
    None stands for an event whose id the log has for the same thing."""
    logged = _logged(connection, duplicates)
    return [event.rename(_own_id(event)) if _is_conflict(logged, event) else None for event in duplicates]


def lacking(connection: Connection, events: Iterable[Event]) -> set[str]:
    """Return the ids of the events that the log lacks, or has for another thing only.
    The reconciler uses this."""
    candidates = list(events)
    logged = _logged(connection, candidates)
    new = {event.id for event in candidates if name_of(event) not in logged}
    apart = {(event.source, _own_id(event)): event.id for event in candidates if _is_conflict(logged, event)}
    there = find_logged(connection, apart)
    return new | {event_id for name, event_id in apart.items() if name not in there}


def _logged(connection: Connection, events: Iterable[Event]) -> dict[tuple[str, str], Thing]:
    """Return the thing for which the log has each of these ids, by source and id."""
    rows = _LOGGED.rows(connection, {name_of(event) for event in events})
    return {
        (row["source"], row["id"]): _thing(LogRow(*(row[column.name] for column in LINE))) for row in rows
    }


def _is_conflict(logged: Mapping[tuple[str, str], Thing], event: Event) -> bool:
    thing = _of(event)
    return logged.get(name_of(event), thing) != thing


def _own_id(event: Event) -> str:
    return f"{event.id}:{digest(*_of(event))}"


def _of(event: Event) -> Thing:
    return _thing(line_of(0, event))


def _thing(line: LogRow) -> Thing:
    names = (line.type, line.dag_id, line.run_id, line.task_id, _besides(line))
    return tuple("" if name is None else str(name) for name in names)


def _besides(line: LogRow) -> Any:
    """Return the value that distinguishes two things of one type and the same names."""
    return next(read_each("events", [line], _read_besides), UNKNOWN)


def _read_besides(line: LogRow) -> Any:
    shape = DATA.get(line.type)
    if shape is TaskInstanceData:
        return max(0, json.loads(line.body)["data"].get("map_index", 0))
    if shape is DagRunData:
        return json.loads(line.body)["data"].get("run_type") == TEST
    return None

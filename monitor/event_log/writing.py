"""Append, in the order of the commits: each event once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from monitor.database.bulk import LookUp, Write, plain
from monitor.database.prepared import Statement
from monitor.database.schema import events, log_state
from monitor.event_log.entries import LINE, Line
from monitor.event_log.place import Cursor
from monitor.events import Event

# SQLite knows no FOR UPDATE and needs none: whoever writes holds the whole database (database/engine.py).
_LOCK = Statement(lambda _insert: select(log_state.c.epoch, log_state.c.last_seq).with_for_update())
_ADVANCE = Statement(lambda _insert: update(log_state).values(last_seq=bindparam("last")))
_APPEND = Write(events, plain(events))
_OF_IDS = LookUp(events, ("source", "id"), columns=("source", "id"))


def lock(connection: Connection) -> Cursor:
    """Be the only transaction that appends, until its end; answers the log's end."""
    [locked] = _LOCK.rows(connection)
    return Cursor(locked["epoch"], locked["last_seq"])


def append(
    connection: Connection, batch: Sequence[Event], received_at: datetime, end: Cursor | None = None
) -> list[int | None]:
    """Log what is new. Answers, in the batch's order, the seq of each event, or None for a duplicate.

    `end` is what `lock` answered; None where the transaction has not asked it yet.
    """
    first = (end or lock(connection)).seq  # locked before anything is read
    known = _known(connection, batch)
    seqs: list[int | None] = []
    rows: list[dict[str, Any]] = []
    for event in batch:
        key = (event.source, event.id)
        if key in known:
            seqs.append(None)
            continue
        known.add(key)
        seqs.append(first + len(rows) + 1)
        rows.append(_row(event, first + len(rows) + 1, received_at))
    if rows:
        _APPEND.rows(connection, rows)
        _ADVANCE.rows(connection, last=first + len(rows))
    return seqs


def _known(connection: Connection, batch: Sequence[Event]) -> set[tuple[str, str]]:
    found = _OF_IDS.rows(connection, [(event.source, event.id) for event in batch])
    return {(row["source"], row["id"]) for row in found}


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


def line_of(seq: int, event: Event) -> Line:
    """The same of an event that has just been logged, without a look at the log."""
    row = _row(event, seq, event.time)
    return Line(*(row[column.name] for column in LINE))

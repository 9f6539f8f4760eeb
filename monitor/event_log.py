"""The log of events: append once, read after a cursor, forget by age. Only this module names its tables."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, false, func, or_, select, update

from monitor.database.bulk import LookUp, Write, plain
from monitor.database.schema import events, log_state
from monitor.errors import CursorError
from monitor.events import Event

IDS_A_QUERY = 500  # bound parameters in one statement; SQLite's limit was 999 for long
PRUNE_BATCH = 5_000  # rows a transaction, so that ingest never waits long behind retention
FILTERS = ("deployment", "type", "dag_id", "run_id", "task_id", "state", "asset")
_CURSOR = re.compile(r"([0-9a-f]{1,32})-(\d{1,18})")

_LINE = [
    events.c[name]
    for name in ("seq", "type", "body", "deployment", "dag_id", "run_id", "task_id", "state", "asset_uri")
]
_LOCK = str(update(log_state).values(last_seq=log_state.c.last_seq).returning(log_state.c.last_seq))
_APPEND = Write(events, plain(events))
_OF_IDS = LookUp(events, ("source", "id"), columns=("source", "id"))

Visible = frozenset[tuple[str, str]] | None
"""The (deployment, dag_id) pairs that a user may read; None: everything."""


@dataclass(frozen=True)
class Cursor:
    """A place in one log: everything up to and including seq has been read."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read `epoch-seq`. Raises CursorError."""
        match = _CURSOR.fullmatch(text.strip())
        if not match:
            raise CursorError(f"cursor: {text[:60]!r} is not of the form epoch-seq, such as 1a2b3c4d-42")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True)
class LogState:
    epoch: str
    last_seq: int
    pruned_seq: int

    def expired(self, cursor: Cursor) -> str | None:
        """Why one cannot go on from this cursor, or None where one can."""
        if cursor.epoch != self.epoch:
            return "the cursor is of another log (epoch)"
        if cursor.seq < self.pruned_seq:
            return "the cursor is older than what the log keeps"
        if cursor.seq > self.last_seq:
            return "the cursor is ahead of the log"
        return None


@dataclass(frozen=True)
class Filter:
    """Globs by attribute: one value of each given attribute must match. An empty filter takes all."""

    globs: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, **values: Sequence[str]) -> "Filter":
        return cls(tuple((name, tuple(globs)) for name, globs in values.items() if globs))


@dataclass(frozen=True)
class Logged:
    """One event as it stands in the log; body is its JSON, encoded once."""

    seq: int
    type: str
    body: str
    received_at: datetime


class Line(NamedTuple):
    """One event with everything that a filter or a reader's rights can ask about: what feeds share."""

    seq: int
    type: str
    body: str
    deployment: str
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    state: str | None
    asset: str | None


@dataclass(frozen=True)
class Page:
    """Events after a cursor, and up to where the log has been looked through for them."""

    events: list[Logged]
    upto: int


def state(connection: Connection) -> LogState:
    row = connection.execute(select(log_state.c.epoch, log_state.c.last_seq, log_state.c.pruned_seq)).one()
    return LogState(row.epoch, row.last_seq, row.pruned_seq)


def lock(connection: Connection) -> int:
    """Be the only transaction that appends, until its end; answers the last seq."""
    return int(connection.exec_driver_sql(_LOCK).scalar_one())


def append(
    connection: Connection, batch: Sequence[Event], received_at: datetime, last: int | None = None
) -> list[int | None]:
    """Log what is new. Answers, in the batch's order, the seq of each event, or None for a duplicate.

    `last` is what `lock` answered; None where the transaction has not asked it yet.
    """
    first = lock(connection) if last is None else last  # before anything is read
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
        connection.execute(update(log_state).values(last_seq=first + len(rows)))
    return seqs


def _known(connection: Connection, batch: Sequence[Event]) -> set[tuple[str, str]]:
    found = _OF_IDS.rows(connection, [(event.source, event.id) for event in batch])
    return {(row["source"], row["id"]) for row in found}


def missing(connection: Connection, source: str, ids: Iterable[str]) -> set[str]:
    """Which of these ids the log lacks: the reconciler's question."""
    wanted = list(set(ids))
    lacking = set(wanted)
    for start in range(0, len(wanted), IDS_A_QUERY):
        some = wanted[start : start + IDS_A_QUERY]
        query = select(events.c.id).where(events.c.source == source, events.c.id.in_(some))
        lacking.difference_update(connection.execute(query).scalars())
    return lacking


def received(connection: Connection, seqs: Iterable[int]) -> dict[int, datetime]:
    """When each of these events was logged; those that are forgotten are left out."""
    wanted, found = list(seqs), {}
    for start in range(0, len(wanted), IDS_A_QUERY):
        some = wanted[start : start + IDS_A_QUERY]
        query = select(events.c.seq, events.c.received_at).where(events.c.seq.in_(some))
        found.update({row.seq: row.received_at for row in connection.execute(query)})
    return found


def _row(event: Event, seq: int, received_at: datetime) -> dict[str, Any]:
    return {
        "seq": seq,
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "received_at": received_at,
        "deployment": event.deployment,
        "dag_id": event.dag_id,
        "run_id": event.get("run_id") or event.get("source_run_id"),
        "task_id": event.get("task_id") or event.get("source_task_id"),
        "state": event.get("state"),
        "asset_uri": event.asset_uri,
        "body": event.body,
    }


def read_after(
    connection: Connection, after: int, limit: int, wanted: Filter | None = None, visible: Visible = None
) -> Page:
    """The next events after a seq, oldest first."""
    last = state(connection).last_seq
    query = (
        select(events.c.seq, events.c.type, events.c.body, events.c.received_at)
        .where(events.c.seq > after, *conditions(connection, wanted or Filter(), visible))
        .order_by(events.c.seq)
        .limit(limit)
    )
    found = [_seen(Logged(*row), visible) for row in connection.execute(query)]
    if not found:
        return Page(found, last)
    # On PostgreSQL each statement sees what is committed by then: the second may see more than `last`.
    return Page(found, found[-1].seq if len(found) == limit else max(last, found[-1].seq))


def lines_after(connection: Connection, after: int, limit: int) -> list[Line]:
    """The next events after a seq, oldest first, for whoever they may concern."""
    query = select(*_LINE).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
    return [Line(*row) for row in connection.execute(query)]


def read_before(
    connection: Connection, before: int | None, limit: int, wanted: Filter, visible: Visible = None
) -> list[Logged]:
    """The latest events before a seq (None: from the end), newest first: what pages show."""
    query = select(events.c.seq, events.c.type, events.c.body, events.c.received_at).where(
        *conditions(connection, wanted, visible)
    )
    if before is not None:
        query = query.where(events.c.seq < before)
    found = connection.execute(query.order_by(events.c.seq.desc()).limit(limit))
    return [_seen(Logged(*row), visible) for row in found]


def of_id(connection: Connection, event_id: str) -> list[Logged]:
    """The events of this id: one for each Airflow, mostly one."""
    query = select(events.c.seq, events.c.type, events.c.body, events.c.received_at).where(
        events.c.id == event_id
    )
    return [Logged(*row) for row in connection.execute(query.order_by(events.c.seq))]


def of_seqs(connection: Connection, seqs: Iterable[int], visible: Visible = None) -> list[Logged]:
    """These events, as far as they are kept and the reader may see them, oldest first."""
    wanted, found = sorted(seqs), []
    columns = select(events.c.seq, events.c.type, events.c.body, events.c.received_at).where(
        *readable(events.c.deployment, events.c.dag_id, visible)
    )
    for start in range(0, len(wanted), IDS_A_QUERY):
        query = columns.where(events.c.seq.in_(wanted[start : start + IDS_A_QUERY])).order_by(events.c.seq)
        found += [_seen(Logged(*row), visible) for row in connection.execute(query)]
    return found


def seen_body(kind: str, body: str, visible: Visible) -> str:
    """What a reader is told of an event that the reader may see: an asset's update also names the runs that
    it began, and those may be of other DAGs."""
    if visible is None or kind != "airflow.asset.updated":
        return body
    event = json.loads(body)
    deployment, began = event["source"].rpartition("/")[2], event["data"].get("created_dagruns") or []
    seen = [run for run in began if (deployment, run.get("dag_id")) in visible]
    if len(seen) == len(began):
        return body
    event["data"]["created_dagruns"] = seen
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _seen(event: Logged, visible: Visible) -> Logged:
    body = seen_body(event.type, event.body, visible)
    return event if body is event.body else replace(event, body=body)


def seq_at(connection: Connection, moment: datetime) -> int:
    """The seq of the last event received before a moment: where `?since=` begins."""
    query = select(func.max(events.c.seq)).where(events.c.received_at < moment)
    seq = connection.execute(query).scalar_one_or_none()
    return seq if seq is not None else state(connection).pruned_seq


def prune(connection: Connection, before: datetime) -> int:
    """Forget up to PRUNE_BATCH of the oldest events received before a moment; answers how many."""
    oldest = events.c.seq <= state(connection).pruned_seq + PRUNE_BATCH
    query = select(func.max(events.c.seq)).where(events.c.received_at < before, oldest)
    upto = connection.execute(query).scalar_one_or_none()
    if upto is None:
        return 0
    # Not back: another replica may have been at it a moment before.
    connection.execute(update(log_state).where(log_state.c.pruned_seq < upto).values(pruned_seq=upto))
    return connection.execute(delete(events).where(events.c.seq <= upto)).rowcount


def conditions(connection: Connection, wanted: Filter, visible: Visible) -> list[ColumnElement[bool]]:
    """The filter and the reader's rights as SQL."""
    clauses = [
        like_any(connection, events.c["asset_uri" if name == "asset" else name], globs)
        for name, globs in wanted.globs
    ]
    return [*clauses, *readable(events.c.deployment, events.c.dag_id, visible)]


def readable(
    deployment: ColumnElement[str], dag_id: ColumnElement[Any], visible: Visible
) -> list[ColumnElement[bool]]:
    """The reader's rights as SQL, over any table's columns."""
    if visible is None:
        return []
    allowed: dict[str, list[str]] = {}
    for name, dag in sorted(visible):
        allowed.setdefault(name, []).append(dag)
    return [or_(false(), *((deployment == name) & dag_id.in_(dags) for name, dags in allowed.items()))]


def like_any(connection: Connection, column: ColumnElement[Any], globs: Sequence[str]) -> ColumnElement[bool]:
    """Whether one of these globs, of which there is at least one, matches; over any table's column."""
    return or_(*(_like(connection, column, glob) for glob in globs))


def _like(connection: Connection, column: ColumnElement[Any], glob: str) -> ColumnElement[bool]:
    """A glob with * and ? only, matched by case, in the database's own words."""
    if not set(glob) & {"*", "?"}:
        return column == glob
    if connection.dialect.name == "sqlite":
        return column.op("GLOB", is_comparison=True)(glob.replace("[", "[[]"))
    # No regular expression: PostgreSQL takes minutes for one of a thousand stars, and any reader may send it.
    pattern = re.sub(r"([\\%_])", r"\\\1", glob).replace("*", "%").replace("?", "_")
    return column.like(pattern, escape="\\")

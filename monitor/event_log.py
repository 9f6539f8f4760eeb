"""The log of events: append once, read after a cursor, forget by age. Only this module names its tables."""

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from monitor.database.bulk import LookUp, Write, plain
from monitor.database.prepared import Statement
from monitor.database.schema import events, log_marks, log_state
from monitor.errors import CursorError
from monitor.events import Event
from monitor.rules.globs import WILD, matches_any

IDS_A_QUERY = 500  # bound parameters in one statement; SQLite's limit was 999 for long
PRUNE_BATCH = 1_000  # rows a transaction, so that ingest never waits long behind retention
EPOCH_BYTES = 4  # of which nobody has many
MARK_EVERY = timedelta(hours=1)  # how exactly is known when a seq was written
FILTERS = ("deployment", "type", "dag_id", "run_id", "task_id", "state", "asset")
_CURSOR = re.compile(r"([0-9a-f]{1,32})-(\d{1,18})")

_LINE = [
    events.c[name]
    for name in ("seq", "type", "body", "deployment", "dag_id", "run_id", "task_id", "state", "asset_uri")
]
_LOCK = Statement(
    lambda _insert: (
        update(log_state)
        .values(last_seq=log_state.c.last_seq)
        .returning(log_state.c.epoch, log_state.c.last_seq)
    )
)
_ADVANCE = Statement(lambda _insert: update(log_state).values(last_seq=bindparam("last")))
_APPEND = Write(events, plain(events))
_OF_IDS = LookUp(events, ("source", "id"), columns=("source", "id"))

_LOGGED = select(events.c.seq, events.c.type, events.c.body, events.c.received_at)


def _each_type() -> Select[Any]:
    """The types that the log has, and a None: from one to the next by the index, however many events."""
    types = select(func.min(events.c.type).label("type")).cte("types", recursive=True)
    following = select(func.min(events.c.type)).where(events.c.type > types.c.type).scalar_subquery()
    types = types.union_all(select(following).where(types.c.type.is_not(None)))
    return select(types.c.type)


_TYPES = _each_type()

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


def read_after(
    connection: Connection, after: int, limit: int, wanted: Filter | None = None, visible: Visible = None
) -> Page:
    """The next events after a seq, oldest first."""
    last = state(connection).last_seq
    # On PostgreSQL each statement sees what is committed by then: none may look beyond what all of them see.
    between = (events.c.seq > after, events.c.seq <= last)
    found = _read(connection, wanted or Filter(), visible, between, limit)
    return Page(found, found[-1].seq if len(found) == limit else max(last, after))


def lines_after(connection: Connection, after: int, limit: int) -> list[Line]:
    """The next events after a seq, oldest first, for whoever they may concern."""
    query = select(*_LINE).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
    return [Line(*row) for row in connection.execute(query)]


def line_of(seq: int, event: Event) -> Line:
    """The same of an event that has just been logged, without a look at the log."""
    row = _row(event, seq, event.time)
    return Line(*(row[column.name] for column in _LINE))


def read_before(
    connection: Connection, before: int | None, limit: int, wanted: Filter, visible: Visible = None
) -> list[Logged]:
    """The latest events before a seq (None: from the end), newest first: what pages show."""
    upto = state(connection).last_seq if before is None else before - 1
    return _read(connection, wanted, visible, (events.c.seq <= upto,), limit, newest_first=True)


def _read(
    connection: Connection,
    wanted: Filter,
    visible: Visible,
    between: Sequence[ColumnElement[bool]],
    limit: int,
    newest_first: bool = False,
) -> list[Logged]:
    """In the order of seq, either way. One query a type, where several are asked for: each reads the first
    entries of an index, while for all of them together a database may sort half of the log."""
    order = events.c.seq.desc() if newest_first else events.c.seq
    found: list[Logged] = []
    for one in _by_type(connection, wanted):
        query = _LOGGED.where(*between, *conditions(connection, one, visible)).order_by(order).limit(limit)
        found += [_seen(Logged(*row), visible) for row in connection.execute(query)]
    return sorted(found, key=lambda event: event.seq, reverse=newest_first)[:limit]


def _by_type(connection: Connection, wanted: Filter) -> Iterable[Filter]:
    """The filter; where it may take several types, one for each of them that the log has."""
    given = dict(wanted.globs)
    globs = given.get("type", ())
    if not globs or (len(globs) == 1 and WILD.isdisjoint(globs[0])):
        return [wanted]
    types = [kind for (kind,) in connection.execute(_TYPES) if kind is not None and matches_any(globs, kind)]
    return [Filter.of(**{**given, "type": (kind,)}) for kind in types]


def of_id(connection: Connection, event_id: str) -> list[Logged]:
    """The events of this id: one for each Airflow, mostly one."""
    query = _LOGGED.where(events.c.id == event_id).order_by(events.c.seq)
    return [Logged(*row) for row in connection.execute(query)]


def of_seqs(connection: Connection, seqs: Iterable[int], visible: Visible = None) -> list[Logged]:
    """These events, as far as they are kept and the reader may see them, oldest first."""
    wanted, found = sorted(seqs), []
    columns = _LOGGED.where(*readable(events.c.deployment, events.c.dag_id, visible))
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
    gone = connection.execute(delete(events).where(events.c.seq <= upto)).rowcount
    # Last: ingest waits for this row. Not back: another replica may have been at it a moment before.
    connection.execute(update(log_state).where(log_state.c.pruned_seq < upto).values(pruned_seq=upto))
    return gone


def last_received(connection: Connection) -> datetime | None:
    """When the last event was logged; None where the log keeps none."""
    query = select(events.c.received_at).order_by(events.c.seq.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def begin_epoch(connection: Connection) -> None:
    """It is another log from now on: no cursor of before leads into it."""
    connection.execute(update(log_state).values(epoch=secrets.token_hex(EPOCH_BYTES)))


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

"""The queries of the log: pages, single events, and the batches that feeds read.

`read_after`, `read_before` and `read_page` give the events that one reader may see. `lines_after` gives rows
for all subscribers of the feed at once. `missing` and `find_logged` answer the reconciler's question which
ids the log has.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from monitor.database.schema import events
from monitor.database.statements import FETCHED, MAX_PAGE_BYTES, KeyLookup
from monitor.database.types import read_each
from monitor.event_log.cursor import state
from monitor.event_log.filters import AllowedDags, Filter, conditions, may_read, readable, redact_body
from monitor.events.event import SOURCE, Event, parse_event
from monitor.rules.field_types import WILD, matches_any


@dataclass(frozen=True)
class LoggedEvent:
    """An event in the log. `body` is its JSON, encoded once."""

    seq: int
    type: str
    body: str
    received_at: datetime


class LogRow(NamedTuple):
    """An event with everything that a filter or a reader's rights can ask about. Feeds share these rows."""

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
class EventLogPage:
    """Events after a cursor, and the place up to which the log was searched for them."""

    events: list[LoggedEvent]
    upto: int


LINE = [
    events.c[name]
    for name in ("seq", "type", "body", "deployment", "dag_id", "run_id", "task_id", "state", "asset_uri")
]
"""The columns of a LogRow, in its order."""

MAX_READ_BYTES = 4 * 1024 * 1024
"""The bytes of bodies that one request looks through, as many as one batch brings. A page has
MAX_PAGE_BYTES."""
IDS_A_QUERY = 500  # bound parameters in one statement: SQLite's limit was 999 for long
RUNS_A_QUERY = 100  # two bound parameters each
_LOGGED = select(events.c.seq, events.c.type, events.c.body, events.c.received_at)


def _each_type() -> Select[Any]:
    """Return a query of the log's types, and a None.
    The query goes from type to type by the index, however many events the log has."""
    types = select(func.min(events.c.type).label("type")).cte("types", recursive=True)
    following = select(func.min(events.c.type)).where(events.c.type > types.c.type).scalar_subquery()
    types = types.union_all(select(following).where(types.c.type.is_not(None)))
    return select(types.c.type)


_TYPES = _each_type()


def read_after(
    connection: Connection,
    after: int,
    limit: int,
    event_filter: Filter | None = None,
    allowed_dags: AllowedDags = None,
    most_bytes: int | None = None,
) -> EventLogPage:
    """Read the next events after a seq, oldest first: at most `limit`, and fewer if their bodies are long."""
    last = state(connection).last_seq
    # On PostgreSQL each statement sees what is committed by then: none may look beyond what all of them see.
    between = (events.c.seq > after, events.c.seq <= last)
    found = _read(connection, event_filter or Filter(), allowed_dags, between, limit, most_bytes=most_bytes)
    is_full = len(found) == limit or (most_bytes is not None and _size(found) >= most_bytes)
    return EventLogPage(found, found[-1].seq if is_full else max(last, after))


def lines_after(connection: Connection, after: int, limit: int) -> list[LogRow]:
    """Read the next events after a seq, oldest first, for all subscribers together."""
    query = select(*LINE).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
    return [LogRow(*row) for row in connection.execute(query)]


def read_before(
    connection: Connection,
    before: int | None,
    limit: int,
    event_filter: Filter,
    allowed_dags: AllowedDags = None,
    most_bytes: int | None = None,
) -> list[LoggedEvent]:
    """Read the latest events before a seq (None: from the end), newest first, as pages show them."""
    upto = state(connection).last_seq if before is None else before - 1
    between = (events.c.seq <= upto,)
    return _read(
        connection, event_filter, allowed_dags, between, limit, newest_first=True, most_bytes=most_bytes
    )


def read_page(
    connection: Connection,
    before: int | None,
    limit: int,
    event_filter: Filter,
    allowed_dags: AllowedDags = None,
    most_bytes: int = MAX_PAGE_BYTES,
) -> tuple[list[LoggedEvent], int | None]:
    """Read a page of the log, newest first, and the seq before which the next page begins, or None.
    The page holds fewer events than `limit` if they are long."""
    found = read_before(connection, before, limit + 1, event_filter, allowed_dags, most_bytes)
    logged = found[:limit]
    is_full = len(found) > limit or _size(found) >= most_bytes
    return logged, logged[-1].seq if is_full else None


def _read(
    connection: Connection,
    event_filter: Filter,
    allowed_dags: AllowedDags,
    between: Sequence[ColumnElement[bool]],
    limit: int,
    newest_first: bool = False,
    most_bytes: int | None = None,
) -> list[LoggedEvent]:
    """Read events in the order of seq, either way.
    Several types take one query each. Each query reads the first entries of an index, while for all types
    together a database may sort half of the log."""
    order = events.c.seq.desc() if newest_first else events.c.seq
    found: list[LoggedEvent] = []
    for typed_filter in _by_type(connection, event_filter):
        query = (
            _LOGGED.where(*between, *conditions(connection, typed_filter, allowed_dags))
            .order_by(order)
            .limit(limit)
        )
        if most_bytes is not None:
            query = query.execution_options(yield_per=FETCHED)
        with connection.execute(query) as rows:
            seen = (_redact(LoggedEvent(*row), allowed_dags) for row in rows)
            found += _beginning(seen, most_bytes)
    found.sort(key=lambda event: event.seq, reverse=newest_first)
    return list(_beginning(found[:limit], most_bytes))


def _beginning(found: Iterable[LoggedEvent], most_bytes: int | None) -> Iterator[LoggedEvent]:
    """Yield the first events, until their bodies are as long as that."""
    size = 0
    for logged_event in found:
        yield logged_event
        size += len(logged_event.body.encode())
        if most_bytes is not None and size >= most_bytes:
            return


def _size(found: Iterable[LoggedEvent]) -> int:
    return sum(len(logged_event.body.encode()) for logged_event in found)


def _by_type(connection: Connection, event_filter: Filter) -> Iterable[Filter]:
    """Return the filter, split by type if it may take several of the types that the log has."""
    globs_by_field = dict(event_filter.globs)
    globs = globs_by_field.get("type", ())
    if not globs or (len(globs) == 1 and WILD.isdisjoint(globs[0])):
        return [event_filter]
    types = [kind for (kind,) in connection.execute(_TYPES) if kind is not None and matches_any(globs, kind)]
    return [Filter.from_values(**{**globs_by_field, "type": (kind,)}) for kind in types]


def find_by_id(
    connection: Connection, event_id: str, allowed_dags: AllowedDags = None, deployment: str | None = None
) -> list[LoggedEvent]:
    """Return the events of this id that the reader may see: one for each Airflow, so mostly one.
    Name a `deployment` under the log's lock, because no index has the ids of all of them."""
    rights = readable(events.c.deployment, events.c.dag_id, allowed_dags)
    query = _LOGGED.where(events.c.id == event_id, *rights).order_by(events.c.seq)
    if deployment is not None:
        query = query.where(events.c.source == f"{SOURCE}{deployment}")
    return [_redact(LoggedEvent(*row), allowed_dags) for row in connection.execute(query)]


_OF_SEQS = KeyLookup(events, ("seq",), columns=("seq", "type", "body", "received_at", "deployment", "dag_id"))


def find_by_seqs(
    connection: Connection, seqs: Iterable[int], allowed_dags: AllowedDags = None
) -> list[LoggedEvent]:
    """Return these events, oldest first, as far as they are kept and the reader may see them."""
    found = [
        _redact(LoggedEvent(row["seq"], row["type"], row["body"], row["received_at"]), allowed_dags)
        for row in _OF_SEQS.rows(connection, {(seq,) for seq in seqs})
        if may_read(row["deployment"], row["dag_id"], allowed_dags)
    ]
    return sorted(found, key=lambda event: event.seq)


def parse(logged: LoggedEvent) -> Event:
    """Return the event of a row. Raises the errors of types.UNREADABLE."""
    return parse_event(json.loads(logged.body))


def parse_each(logged: Iterable[LoggedEvent]) -> list[tuple[int, Event]]:
    """Return each event with its seq. A row that cannot be read is left out."""
    return list(read_each("events", logged, lambda row: (row.seq, parse(row))))


def data_of(logged: LoggedEvent) -> dict[str, Any]:
    """Return the data of an event as it was reported. Raises the errors of types.UNREADABLE."""
    data: dict[str, Any] = json.loads(logged.body)["data"]
    return data


def find_event(connection: Connection, seq: int | None) -> Event | None:
    """Return the event of a seq, or None if the log has forgotten it or cannot read it."""
    found = find_by_seqs(connection, [seq]) if seq is not None else []
    return next((event for _, event in parse_each(found)), None)


def _redact(event: LoggedEvent, allowed_dags: AllowedDags) -> LoggedEvent:
    body = redact_body(event.type, event.body, allowed_dags)
    return event if body is event.body else replace(event, body=body)


_OF_IDS = KeyLookup(events, ("source", "id"), columns=("source", "id"))


def find_logged(connection: Connection, names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of these names, by source and id, that the log has."""
    return {(row["source"], row["id"]) for row in _OF_IDS.rows(connection, names)}


def missing(connection: Connection, source: str, ids: Iterable[str]) -> set[str]:
    """Return those of these ids that the log lacks. The reconciler uses this."""
    missing_ids = set(ids)
    return missing_ids - {
        name for _, name in find_logged(connection, {(source, name) for name in missing_ids})
    }


def first_times(
    connection: Connection, deployment: str, kind: str, runs: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], datetime]:
    """Return when each of these runs, by DAG and run id, first had the state of this event type."""
    found: dict[tuple[str, str], datetime] = {}
    run_names = sorted(runs)
    for start in range(0, len(run_names), RUNS_A_QUERY):
        some = run_names[start : start + RUNS_A_QUERY]
        query = (
            select(events.c.dag_id, events.c.run_id, func.min(events.c.time).label("first"))
            .where(events.c.deployment == deployment, events.c.type == kind)
            .where(or_(*(and_(events.c.dag_id == dag, events.c.run_id == run) for dag, run in some)))
            .group_by(events.c.dag_id, events.c.run_id)
        )
        found.update({(row.dag_id, row.run_id): row.first for row in connection.execute(query)})
    return found


def find_received_times(connection: Connection, seqs: Iterable[int]) -> dict[int, datetime]:
    """Return when each of these events was logged. Forgotten events are left out."""
    remaining, found = list(seqs), {}
    for start in range(0, len(remaining), IDS_A_QUERY):
        some = remaining[start : start + IDS_A_QUERY]
        query = select(events.c.seq, events.c.received_at).where(events.c.seq.in_(some))
        found.update({row.seq: row.received_at for row in connection.execute(query)})
    return found


def seq_at(connection: Connection, moment: datetime) -> int:
    """Return the seq of the last event received before a moment, at which `?since=` begins."""
    query = select(func.max(events.c.seq)).where(events.c.received_at < moment)
    seq = connection.execute(query).scalar_one_or_none()
    return seq if seq is not None else state(connection).pruned_seq


def last_received(connection: Connection) -> datetime | None:
    """Return when the last event was logged, or None if the log is empty."""
    query = select(events.c.received_at).order_by(events.c.seq.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()

"""The table of incidents, which only this module names.

A first failure opens an incident, later failures join it, and a success closes it. Which event does what is
decided in incident_transitions.py. The functions of this module write and read rows, and decide nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from monitor.database.schema import incidents as table
from monitor.database.statements import KeyLookup, Statement, SweepResult, oldest, read_each
from monitor.event_log.filters import AllowedDags, readable
from monitor.event_log.projections import dags as dags_projection
from monitor.events.event import Event
from monitor.notifications.incident_order import LatestFailures, Order

OPEN, CLOSED = "open", "closed"
"""The values of `state`: what is wrong goes on, or has ended."""
ACKNOWLEDGED, RESOLVED = "acknowledged", "resolved"
STATUSES = (OPEN, ACKNOWLEDGED, RESOLVED, CLOSED)


@dataclass(frozen=True)
class Incident:
    """An incident: one fault, open or over."""

    id: int
    deployment: str
    key: str
    dag_id: str | None
    title: str
    state: str
    failures: int
    opened_at: datetime
    opened_seq: int
    last_at: datetime
    """The time of the latest failure."""
    last_seq: int
    closed_at: datetime | None
    closed_seq: int | None
    closed_because: str | None
    closed_by: str | None
    """The closer outside of the flow of events. None if an event closed the incident."""
    flapping: bool
    acked_at: datetime | None
    acked_by: str | None
    ack_reason: str | None
    quiet_seconds: int | None = None
    """The seconds without a failure after which a flapping incident is over."""
    latest_moment: datetime | None = None
    latest_start: datetime | None = None
    latest_undated_start: datetime | None = None
    confirm_since: datetime | None = None
    """The moment since which the closing report waits for Airflow's answer, or None."""
    confirm_at: datetime | None = None
    """The moment at which Airflow is asked next."""
    ack_until: datetime | None = None
    """The moment at which the acknowledgement lapses. None if it does not."""
    assignee: str | None = None
    """The name of the user who has taken the incident over."""
    assigned_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> "Incident":
        """Return the incident of a row."""
        return cls(**row)

    @property
    def is_open(self) -> bool:
        """True if the incident is open."""
        return self.state == OPEN

    def drop_lapsed(self, now: datetime) -> "Incident":
        """Return the incident as it is now, without an acknowledgement that has lapsed."""
        if self.ack_until is None or now < self.ack_until:
            return self
        return replace(self, acked_at=None, acked_by=None, ack_reason=None, ack_until=None)

    @property
    def status(self) -> str:
        """The state as people know it: one of STATUSES. What an event ended is resolved."""
        if self.is_open:
            return OPEN if self.acked_by is None else ACKNOWLEDGED
        return RESOLVED if self.closed_by is None else CLOSED

    @property
    def is_of_dag(self) -> bool:
        """True if a DAG's runs fail, not a task, a file, an asset or Airflow itself."""
        return self.dag_id is not None and self.key == f"dag:{self.dag_id}"

    @property
    def latest(self) -> LatestFailures:
        """The latest of its failures, in the order of the DAG's runs."""
        return LatestFailures(self.latest_moment, self.latest_start, self.latest_undated_start)

    @property
    def quiet(self) -> timedelta | None:
        """The time that a flapping incident has to be quiet, or None."""
        return None if self.quiet_seconds is None else timedelta(seconds=self.quiet_seconds)


@dataclass(frozen=True)
class IncidentFilter:
    """The filter of incidents. A field that is None or empty matches all."""

    state: str | None = None
    deployment: str | None = None
    dag_id: str | None = None
    acknowledged: bool | None = None
    status: tuple[str, ...] = ()
    assignee: str | None = None
    owner: str | None = None  # of the DAG, in any case
    search: str | None = None  # a part of the title, in any case
    now: datetime | None = None  # acknowledgements that have lapsed by then are none
    since: datetime | None = None  # opened at this moment, or later
    until: datetime | None = None  # opened before this moment

    def clauses(self) -> Iterator[ColumnElement[bool]]:
        """Yield the filter's conditions as SQL."""
        for name in ("state", "deployment", "dag_id", "assignee"):
            if (value := getattr(self, name)) is not None:
                yield table.c[name] == value
        if self.since is not None:
            yield table.c.opened_at >= self.since
        if self.until is not None:
            yield table.c.opened_at < self.until
        yield from self._state_clauses()
        if self.owner is not None:
            yield dags_projection.has_owner(table.c.deployment, table.c.dag_id, self.owner)
        if self.search is not None:
            yield table.c.title.icontains(self.search, autoescape=True)

    def _state_clauses(self) -> Iterator[ColumnElement[bool]]:
        if self.acknowledged is not None:
            yield self._is_acknowledged if self.acknowledged else ~self._is_acknowledged
        if self.status:
            yield or_(*(self._has_status(status) for status in self.status))

    @property
    def _is_acknowledged(self) -> ColumnElement[bool]:
        lasts = [or_(table.c.ack_until.is_(None), table.c.ack_until > self.now)] if self.now else []
        return and_(table.c.acked_at.is_not(None), *lasts)

    def _has_status(self, status: str) -> ColumnElement[bool]:
        is_open, is_resolved = table.c.state == OPEN, table.c.closed_by.is_(None)
        return {
            OPEN: and_(is_open, ~self._is_acknowledged),
            ACKNOWLEDGED: and_(is_open, self._is_acknowledged),
            RESOLVED: and_(table.c.state == CLOSED, is_resolved),
            CLOSED: and_(table.c.state == CLOSED, ~is_resolved),
        }[status]


# As the index of open incidents has it, word for word: a DAG may have thousands that are closed.
_IS_OPEN: Any = table.c.state != literal_column(f"'{CLOSED}'")
_OPEN = KeyLookup(table, ("deployment", "key"), _IS_OPEN)


def open_of(connection: Connection, keys: Iterable[tuple[str, str]]) -> list[Incident]:
    """Return the open incidents of these deployments and keys."""
    return sorted(map(Incident.from_row, _OPEN.rows(connection, keys)), key=lambda incident: incident.id)


_BEGUN = ("deployment", "key", "dag_id", "title", "state", "failures", "opened_at", "opened_seq", "last_at")
_LATEST = ("latest_moment", "latest_start", "latest_undated_start")
_BEGIN = Statement(
    lambda insert: insert(table).returning(*table.c), columns=(*_BEGUN, "last_seq", "flapping", *_LATEST)
)


def begin(
    connection: Connection, seq: int, event: Event, key: str, title: str, order: Order | None
) -> Incident:
    """Open an incident with its first failure."""
    [made] = _BEGIN.rows(
        connection,
        deployment=event.deployment,
        key=key,
        dag_id=event.get("dag_id"),
        title=title,
        state=OPEN,
        failures=1,
        opened_at=event.time,
        opened_seq=seq,
        last_at=event.time,
        last_seq=seq,
        flapping=False,
        **_columns(LatestFailures().include(order)),
    )
    return Incident.from_row(made)


def _change(*names: str, **values: Any) -> Statement:
    """Return an UPDATE that sets columns of these names to parameters, and others to the given values."""
    parameters = {name: bindparam(name, type_=table.c[name].type) for name in names}
    changed = update(table).where(table.c.id == bindparam("incident_id")).values(parameters | values)
    return Statement(lambda _insert: changed.returning(*table.c))


def _columns(latest: LatestFailures) -> dict[str, datetime | None]:
    return dict(zip(_LATEST, (latest.moment, latest.start, latest.undated_start), strict=True))


_JOIN = _change("last_at", "last_seq", *_LATEST, failures=table.c.failures + 1)
_BEGIN_LATER = _change("failures", "opened_at", "opened_seq", *_LATEST)
_CLOSED = ("state", "closed_at", "closed_seq", "closed_because", "closed_by", "confirm_since", "confirm_at")
_CLOSE = _change(*_CLOSED)
_ACKED = ("acked_at", "acked_by", "ack_reason", "ack_until")
_ASSIGNED = ("assignee", "assigned_at")
_ABSORB = _change("failures", "opened_at", "opened_seq", *_LATEST, *_ACKED, *_ASSIGNED)
_RENAME = _change("key", "title")
_CONFIRM = _change("confirm_since", "confirm_at")
_ACKNOWLEDGE = _change(*_ACKED)
_ASSIGN = _change(*_ASSIGNED)
_FLAP = _change("flapping", "quiet_seconds")


def join(connection: Connection, incident: Incident, seq: int, at: datetime, order: Order | None) -> Incident:
    """Add a failure to the incident. A failure that is reported late is not the latest."""
    latest = _columns(incident.latest.include(order))
    last_at = max(at, incident.last_at)
    return _apply_change(connection, _JOIN, incident.id, last_at=last_at, last_seq=seq, **latest)


def close(
    connection: Connection,
    incident: Incident,
    seq: int | None,
    because: str,
    at: datetime,
    by: str | None = None,
    confirm_from: datetime | None = None,
) -> Incident:
    """Close the incident.
    From `confirm_from` on, Airflow is asked about the closing report. None means that the report stands."""
    closed = {"state": CLOSED, "closed_at": at, "closed_seq": seq, "closed_because": because, "closed_by": by}
    confirm = {"confirm_since": confirm_from, "confirm_at": confirm_from}
    return _apply_change(connection, _CLOSE, incident.id, **closed, **confirm)


def reopen(connection: Connection, incident: Incident) -> Incident:
    """Open it again, as if it had not been closed."""
    return _apply_change(connection, _CLOSE, incident.id, **dict.fromkeys(_CLOSED) | {"state": OPEN})


def absorb(connection: Connection, incident: Incident, earlier: Incident) -> Incident:
    """Let an incident go on with what an earlier one of the same key had."""
    acked = incident if incident.acked_by is not None else earlier
    assigned = incident if incident.assignee is not None else earlier
    return _apply_change(
        connection,
        _ABSORB,
        incident.id,
        failures=incident.failures + earlier.failures,
        opened_at=min(incident.opened_at, earlier.opened_at),
        opened_seq=min(incident.opened_seq, earlier.opened_seq),
        **{name: getattr(acked, name) for name in _ACKED},
        **{name: getattr(assigned, name) for name in _ASSIGNED},
        **_columns(incident.latest.merge(earlier.latest)),
    )


def rename(connection: Connection, incident: Incident, key: str, title: str) -> Incident:
    """Let it be known by another name of the same thing."""
    return _apply_change(connection, _RENAME, incident.id, key=key, title=title)


def confirm_later(connection: Connection, incident: Incident, at: datetime) -> Incident:
    """Set the next time to ask Airflow about the closing report."""
    return _apply_change(
        connection, _CONFIRM, incident.id, confirm_since=incident.confirm_since, confirm_at=at
    )


def confirm_end(connection: Connection, incident: Incident) -> Incident:
    """Record that the incident's end stands."""
    return _apply_change(connection, _CONFIRM, incident.id, confirm_since=None, confirm_at=None)


def list_due_confirmations(connection: Connection, now: datetime, limit: int) -> list[Incident]:
    """Return the incidents whose closing report Airflow is to be asked about, the longest due first."""
    due = select(table).where(table.c.confirm_at <= now).order_by(table.c.confirm_at, table.c.id).limit(limit)
    return [Incident.from_row(row) for row in connection.execute(due).mappings()]


def mark_flapping(connection: Connection, incident: Incident, quiet: timedelta) -> Incident:
    """Mark the incident as flapping. From now on it is over only after it has been quiet for so long."""
    seconds = max(incident.quiet_seconds or 0, round(quiet.total_seconds()))
    return _apply_change(connection, _FLAP, incident.id, flapping=True, quiet_seconds=seconds)


def retract(connection: Connection, incident_id: int, why: str, now: datetime) -> None:
    """Close the incident without a notification, because all its failures were taken back."""
    incident = find(connection, incident_id)
    if incident is not None and incident.is_open:
        close(connection, incident, None, why, now)


def begin_later(
    connection: Connection,
    incident_id: int,
    failures: int,
    opened_seq: int,
    began: Event,
    latest: LatestFailures,
) -> Incident:
    """Set the incident's number of failures and its beginning, because some failures were taken back."""
    columns = {"failures": failures, "opened_seq": opened_seq, "opened_at": began.time, **_columns(latest)}
    return _apply_change(connection, _BEGIN_LATER, incident_id, **columns)


def acknowledge(
    connection: Connection,
    incident_id: int,
    who: str,
    reason: str,
    now: datetime,
    until: datetime | None = None,
) -> Incident | None:
    """Stop follow-ups and reminders until a moment, or until the incident ends.
    Its end is still reported. Return None if there is no such incident."""
    values = {"acked_at": now, "acked_by": who, "ack_reason": reason, "ack_until": until}
    return _update(connection, _ACKNOWLEDGE, incident_id, **values)


def unacknowledge(connection: Connection, incident_id: int) -> Incident | None:
    """Take an acknowledgement back. Return None if there is no such incident."""
    return _update(connection, _ACKNOWLEDGE, incident_id, **dict.fromkeys(_ACKED))


def assign(connection: Connection, incident_id: int, assignee: str | None, now: datetime) -> Incident | None:
    """Record the name of the user who has taken an incident over, or None.
    Return None if the incident does not exist."""
    return _update(connection, _ASSIGN, incident_id, assignee=assignee, assigned_at=now if assignee else None)


def _update(connection: Connection, change: Statement, incident_id: int, **values: Any) -> Incident | None:
    changed = change.first(connection, incident_id=incident_id, **values)
    return Incident.from_row(changed) if changed else None


def find(connection: Connection, incident_id: int, allowed_dags: AllowedDags = None) -> Incident | None:
    """Return the incident if the reader may see it, or None."""
    query = select(table).where(
        table.c.id == incident_id, *readable(table.c.deployment, table.c.dag_id, allowed_dags)
    )
    row = connection.execute(query).mappings().one_or_none()
    return Incident.from_row(row) if row else None


_OF_IDS = KeyLookup(table, ("id",))


def find_all(connection: Connection, ids: Iterable[int]) -> dict[int, Incident]:
    """Return the incidents that exist, by their ids."""
    rows = _OF_IDS.rows(connection, ((incident_id,) for incident_id in set(ids)))
    return {row["id"]: Incident.from_row(row) for row in rows}


def still_open(connection: Connection, ids: Iterable[int]) -> set[int]:
    """Return those of these ids whose incidents are open."""
    return {number for number, incident in find_all(connection, ids).items() if incident.is_open}


def page(
    connection: Connection,
    limit: int,
    before: int | None = None,
    incident_filter: IncidentFilter | None = None,
    allowed_dags: AllowedDags = None,
) -> list[Incident]:
    """Return a page of incidents, newest first. `before` is the last id of the page before."""
    rights = readable(table.c.deployment, table.c.dag_id, allowed_dags)
    query = select(table).where(*(incident_filter or IncidentFilter()).clauses(), *rights)
    if before is not None:
        query = query.where(table.c.id < before)
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()
    return [Incident.from_row(row) for row in rows]


_LATEST_OF = Statement(
    lambda _insert: (
        select(table)
        .where(table.c.deployment == bindparam("deployment"), table.c.key == bindparam("key"))
        .order_by(table.c.opened_at.desc(), table.c.id.desc())
        .limit(1)
    )
)


def latest_of(connection: Connection, deployment: str, key: str) -> Incident | None:
    """Return the incident of a key that opened last."""
    row = _LATEST_OF.first(connection, deployment=deployment, key=key)
    return Incident.from_row(row) if row else None


def latest_of_each(
    connection: Connection, places: Sequence[tuple[str, str, int]]
) -> dict[tuple[str, str, int], Incident]:
    """Return the incident of each (deployment, key, seq) that opened last, with this event or before."""
    queries = [
        select(literal(number).label("place"), table)
        .where(table.c.deployment == deployment, table.c.key == key, table.c.opened_seq <= seq)
        .order_by(table.c.opened_at.desc(), table.c.id.desc())
        .limit(1)
        for number, (deployment, key, seq) in enumerate(places)
    ]
    return {places[row.pop("place")]: Incident.from_row(row) for row in read_each(connection, queries)}


_RECENT = Statement(
    lambda _insert: (
        select(table)
        .where(
            table.c.deployment == bindparam("deployment"),
            table.c.key == bindparam("key"),
            table.c.opened_at >= bindparam("since"),
        )
        .order_by(table.c.opened_at, table.c.id)
    )
)


def recent(connection: Connection, deployment: str, key: str, since: datetime) -> list[Incident]:
    """Return the incidents of a key that opened since a moment, oldest first."""
    found = _RECENT.rows(connection, deployment=deployment, key=key, since=since)
    return [Incident.from_row(row) for row in found]


def open_ones(connection: Connection, after: int, limit: int) -> list[Incident]:
    """Return open incidents by their ids, for a walk through all of them."""
    query = select(table).where(table.c.state == OPEN, table.c.id > after).order_by(table.c.id).limit(limit)
    return [Incident.from_row(row) for row in connection.execute(query).mappings()]


def _apply_change(connection: Connection, change: Statement, incident_id: int, **values: Any) -> Incident:
    [changed] = change.rows(connection, incident_id=incident_id, **values)
    return Incident.from_row(changed)


def forget(connection: Connection, before: datetime) -> SweepResult:
    """Delete incidents that were closed before a moment. An open incident is kept."""
    old = table.c.state == CLOSED, table.c.opened_at < before, table.c.closed_at < before
    return oldest(connection, table, table.c.opened_at, *old)

"""The silences of events and incidents, and the recipients who unsubscribed from a rule.

A silence is applied twice by `first_of`. The decision about an event asks for active silences (decision.py,
`BatchContext.silence`), and no notification is made. The delivery asks again just before it is sent
(delivery/context.py, delivery/suppression.py), because a person may have silenced the event meanwhile."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from monitor.database.schema import silences as silences_table
from monitor.database.schema import unsubscribed as unsubscribed_table
from monitor.database.statements import KeyLookup, Statement, SweepResult, oldest
from monitor.database.types import read_each
from monitor.errors import WindsockError
from monitor.event_log.filters import AllowedDags, readable
from monitor.events.event import Event
from monitor.notifications.incident_signals import signal_of
from monitor.notifications.incidents import Incident
from monitor.rules.field_types import WILD, matches_any
from monitor.rules.matching import MatchSubject, mismatch
from monitor.rules.model import Match

FAILURES = ("airflow.dag_run.failed", "airflow.task_instance.failed")
CHOOSING = ("dag_id", "task_id", "asset", "tags", "owners")
"""The fields of a match that choose among the DAGs of an Airflow. The others choose among their events."""
MOST = 1_000  # that are not over: each is held against each event
MOST_OF_ONE = 100  # of one author: no user takes all of them from others
MOST_OF_DAG = 200  # of one DAG: each is compared with each of its events, whoever made it
MOST_ALIKE = 10  # of exactly the same: who comes by a mail's link has any name
DAY = timedelta(days=1)
MOST_A_DAY = 5  # times as many are made in a day: those that were ended at once stay in the table, too
OF_DELIVERIES = frozenset({"windsock.delivery.dead", "windsock.delivery.parked"})
"""They name the DAG of a message, and are about the message."""


class TooManySilences(WindsockError):
    """The error that no more silences are made. The message says which bound is reached, and the remedy."""


@dataclass(frozen=True)
class SilenceScope:
    """The scope of a silence: what a match takes, or of that one incident alone."""

    match: Match
    incident: Incident | None = None

    @classmethod
    def from_incident(cls, incident: Incident) -> "SilenceScope":
        """Return the scope of an incident.
        For a DAG whose runs fail, that is the DAG. For all else (a task, a file, an asset, Airflow itself)
        it is the incident, now and when it comes again."""
        deployment, dag_id = (incident.deployment,), incident.dag_id
        if dag_id and incident.is_of_dag and WILD.isdisjoint(dag_id):
            return cls(Match(deployment=deployment, dag_id=(dag_id,)))
        return cls(Match(deployment=deployment), incident)

    @property
    def dag(self) -> tuple[str, str] | None:
        """The one DAG whose readers may silence this scope and see it.
        None means those who may read every DAG."""
        deployment = _only(self.match.deployment)
        dag_id = self.incident.dag_id if self.incident else _only(self.match.dag_id)
        return (deployment, dag_id) if deployment and dag_id else None

    @property
    def is_whole(self) -> bool:
        """True if the scope is a whole Airflow."""
        return self.incident is None and is_whole(self.match)

    def covers(self, facts: MatchSubject) -> bool:
        """Return True if the scope covers an event."""
        return _covers(self.match, self.incident.key if self.incident else None, facts)


@dataclass(frozen=True)
class Silence:
    """A silence."""

    id: int
    match: Match
    deployment: str | None
    """The Airflow of `dag_id`. Both are set if the silence is of one DAG only, whose readers may see it."""
    dag_id: str | None
    incident_key: str | None
    """The key, if the silence is of one incident and of what opens the same again."""
    incident_title: str | None
    author: str
    reason: str
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    ended_by: str | None
    """The person who ended it early."""

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> "Silence":
        """Return the silence of a row."""
        values = {name: row[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "match": Match.model_validate(row["match"])})

    def is_active(self, now: datetime) -> bool:
        """Return True if the silence is active."""
        return self.starts_at <= now < self.ends_at

    @property
    def is_whole(self) -> bool:
        """True if the silence covers a whole Airflow."""
        return self.incident_key is None and is_whole(self.match)

    def is_of(self, scope: SilenceScope) -> bool:
        """Return True if the silence has exactly this scope."""
        key = scope.incident.key if scope.incident else None
        return (self.match, self.incident_key) == (scope.match, key)

    def covers(self, facts: MatchSubject) -> bool:
        """Return True if the silence covers an event."""
        return _covers(self.match, self.incident_key, facts)

    def __str__(self) -> str:
        return f"silence {self.id} of {self.author} until {self.ends_at:%Y-%m-%d %H:%M} UTC: {self.reason}"


def is_whole(match: Match) -> bool:
    """Return True if a match takes failures of whatever DAG an Airflow has, named or not.
    What `none_of` leaves out changes nothing: the match still takes everything but a few."""
    if not any(matches_any(match.type, failure) for failure in FAILURES):
        return False
    if not all(_takes_any(getattr(match, name)) for name in CHOOSING):
        return False
    return not match.any_of or any(is_whole(inner) for inner in match.any_of)


def _takes_any(globs: tuple[str, ...]) -> bool:
    return not globs or any("*" in glob and WILD.issuperset(glob) for glob in globs)


def build_silence_fields(event: Event) -> dict[str, str]:
    """Return the fields of a silence that takes what an event is about and no more: asset, task or DAG.
    No fields mean that the event is about none of these. The deployment is named apart."""
    if event.asset_uri:
        return {"asset": event.asset_uri}
    if not event.dag_id:
        return {}
    fields = {"dag_id": event.dag_id}
    if task_id := event.get("task_id"):
        fields["task_id"] = task_id
    if event.type in OF_DELIVERIES:
        fields["type"] = event.type
    return fields


def add(
    connection: Connection,
    match: Match,
    author: str,
    reason: str,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
    incident: Incident | None = None,
    share: str | None = None,
) -> Silence:
    """Make a silence.
    Raises TooManySilences.

    The author's silences are counted by `share`, or by the author's name if it is None."""
    scope = SilenceScope(match, incident)
    values = _scope_columns(scope)
    _require_room(connection, values, author, share, now)
    values |= {
        "incident_title": incident.title if incident else None,
        "author": author,
        "share": share,
        "reason": reason,
        "created_at": now,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    return Silence.from_row(
        connection.execute(insert(silences_table).values(values).returning(*silences_table.c))
        .mappings()
        .one()
    )


def add_or_extend(
    connection: Connection,
    scope: SilenceScope,
    author: str,
    reason: str,
    ends_at: datetime,
    now: datetime,
    among: str,
) -> Silence:
    """Silence the scope from now on.
    An active silence of exactly this scope is extended, if its author's name holds `among`. If it lasts
    longer anyway, it stays as it is. Raises TooManySilences."""
    same = (
        silence for silence in active(connection, now) if silence.is_of(scope) and among in silence.author
    )
    if (found := next(same, None)) is None:
        return add(connection, scope.match, author, reason, now, ends_at, now, scope.incident)
    if ends_at <= found.ends_at:
        return found
    longer = update(silences_table).where(
        silences_table.c.id == found.id, silences_table.c.ends_at == found.ends_at
    )
    connection.execute(longer.values(ends_at=ends_at, author=author, reason=reason))
    return find(connection, found.id) or found


def _scope_columns(scope: SilenceScope) -> dict[str, Any]:
    """Return the columns that describe the scope."""
    deployment, dag_id = scope.dag or (None, None)
    return {
        "match": scope.match.model_dump(mode="json", exclude_defaults=True),
        "deployment": deployment,
        "dag_id": dag_id,
        "incident_key": scope.incident.key if scope.incident else None,
    }


def _require_room(
    connection: Connection, columns: Mapping[str, Any], author: str, share: str | None, now: datetime
) -> None:
    current, lately = silences_table.c.ends_at > now, silences_table.c.created_at > now - DAY
    of_one = silences_table.c.share == share if share else silences_table.c.author == author
    of_dag = (
        *(silences_table.c[name].is_not_distinct_from(columns[name]) for name in ("deployment", "dag_id")),
    )
    alike = *of_dag, silences_table.c.incident_key.is_not_distinct_from(columns["incident_key"])
    counted = (
        func.count().filter(when, *which) for when in (current, lately) for which in ((), (of_one,), of_dag)
    )
    numbers = connection.execute(select(*counted).select_from(silences_table).where(current | lately)).one()
    likely = connection.execute(select(silences_table.c.match, current).where(current | lately, *alike)).all()
    same = [bool(is_current) for match, is_current in likely if match == columns["match"]]
    dag_id = columns["dag_id"]
    bounds = (
        (MOST, "", numbers[0], numbers[3]),
        (MOST_OF_ONE, f" of {author}", numbers[1], numbers[4]),
        *([(MOST_OF_DAG, f" of the DAG {dag_id}", numbers[2], numbers[5])] if dag_id else []),
        (MOST_ALIKE, " of the same", sum(same), len(same)),
    )
    for most, of_what, held, made in bounds:
        if held >= most:
            raise TooManySilences(
                f"{most} silences{of_what} hold already, or will; end some on the page Silences, or silence "
                "with one match what several silence"
            )
        if made >= most * MOST_A_DAY:
            raise TooManySilences(
                f"{most * MOST_A_DAY} silences{of_what} were made within a day; silence with one match what "
                "several silence, or wait"
            )


def end(connection: Connection, silence_id: int, who: str, now: datetime) -> Silence | None:
    """End the silence now, unless it is over. Return None if there is no such silence."""
    running = silences_table.c.id == silence_id, silences_table.c.ends_at > now
    connection.execute(update(silences_table).where(*running).values(ends_at=now, ended_by=who))
    return find(connection, silence_id)


def find(connection: Connection, silence_id: int, allowed_dags: AllowedDags = None) -> Silence | None:
    """Return the silence if the reader may see it, or None."""
    query = select(silences_table).where(
        silences_table.c.id == silence_id,
        *readable(silences_table.c.deployment, silences_table.c.dag_id, allowed_dags),
    )
    row = connection.execute(query).mappings().one_or_none()
    return next(read_each("silences", [row] if row else [], Silence.from_row), None)


def page(
    connection: Connection,
    limit: int,
    before: int | None = None,
    active_at: datetime | None = None,
    allowed_dags: AllowedDags = None,
    deployment: str | None = None,
    dag_id: str | None = None,
) -> list[Silence]:
    """Return a page of silences, newest first. `before` is the last id of the page before."""
    query = select(silences_table).where(
        *readable(silences_table.c.deployment, silences_table.c.dag_id, allowed_dags)
    )
    if before is not None:
        query = query.where(silences_table.c.id < before)
    if active_at is not None:
        query = query.where(silences_table.c.starts_at <= active_at, silences_table.c.ends_at > active_at)
    for column, value in ((silences_table.c.deployment, deployment), (silences_table.c.dag_id, dag_id)):
        if value is not None:
            query = query.where(column == value)
    found = connection.execute(query.order_by(silences_table.c.id.desc()).limit(limit))
    return list(read_each("silences", found.mappings(), Silence.from_row))


def find_of_incident(
    connection: Connection, incident: Incident, now: datetime, limit: int, allowed_dags: AllowedDags = None
) -> list[Silence]:
    """Return the silences of an incident or its DAG that held while it was open, newest first."""
    columns = silences_table.c
    is_of_dag = (columns.deployment == incident.deployment) & (columns.dag_id == incident.dag_id)
    query = select(silences_table).where(
        (columns.incident_key == incident.key) | (columns.incident_key.is_(None) & is_of_dag),
        columns.starts_at <= (incident.closed_at or now),
        columns.ends_at >= incident.opened_at,
        *readable(columns.deployment, columns.dag_id, allowed_dags),
    )
    rows = connection.execute(query.order_by(columns.id.desc()).limit(limit)).mappings()
    found = read_each("silences", rows, Silence.from_row)
    # The same file or asset may be of another Airflow too.
    return [silence for silence in found if silence.match.deployment == (incident.deployment,)]


def active(connection: Connection, now: datetime) -> list[Silence]:
    """Return the active silences, the one that lasts longest first.

    Each transaction that logs an event or sends a notification asks for them. Each time only their marks are
    read. Each silence is read and parsed once, because nothing of a silence changes unless its end does."""
    parsed = _parsed.get(connection.engine, {})
    marks = [_mark(row) for row in _MARKS.rows(connection, now=now)]
    if not parsed.keys() >= set(marks):
        rows = _ACTIVE.rows(connection, now=now)
        parsed = {
            _mark(row): parsed.get(_mark(row)) or next(read_each("silences", [row], Silence.from_row), None)
            for row in rows
        }
        _parsed[connection.engine] = parsed
        marks = list(parsed)
    return [silence for mark in marks if (silence := parsed[mark])]


def first_of(some: Iterable[Silence], facts: MatchSubject) -> Silence | None:
    """Return the first silence that covers an event, or None."""
    dag_id = facts.event.dag_id
    # One of a DAG takes that DAG's events alone: those of others are passed over without a look at the match.
    likely = (
        silence
        for silence in some
        if silence.incident_key or silence.dag_id is None or silence.dag_id == dag_id
    )
    return next((silence for silence in likely if silence.covers(facts)), None)


_Mark = tuple[int, datetime, datetime]
_parsed: WeakKeyDictionary[Engine, dict[_Mark, Silence | None]] = WeakKeyDictionary()
"""The active silences that active() last found, of each database."""


def _mark(row: Mapping[str, Any]) -> _Mark:
    """Return a mark that no other silence has had, and that changes when the silence is extended."""
    return row["id"], row["created_at"], row["ends_at"]


def _covers(match: Match, incident_key: str | None, facts: MatchSubject) -> bool:
    if incident_key is not None:
        signal = signal_of(facts.event)
        if signal is None or signal.key != incident_key:
            return False
    return mismatch(match, facts) is None


def _active(*columns: Any) -> Statement:
    return Statement(
        lambda _insert: (
            select(*columns)
            .where(
                silences_table.c.starts_at <= bindparam("now"), silences_table.c.ends_at > bindparam("now")
            )
            .order_by(silences_table.c.ends_at.desc())
        )
    )


_ACTIVE, _MARKS = (
    _active(silences_table),
    _active(silences_table.c.id, silences_table.c.created_at, silences_table.c.ends_at),
)


def forget(connection: Connection, before: datetime) -> SweepResult:
    """Delete silences that ended before a moment."""
    return oldest(connection, silences_table, silences_table.c.ends_at, silences_table.c.ends_at < before)


def _only(globs: tuple[str, ...]) -> str | None:
    """Return the one name that these globs stand for, or None."""
    return globs[0] if len(globs) == 1 and WILD.isdisjoint(globs[0]) else None


Unsubscribed = tuple[str, str, datetime]
"""Address, rule, since when."""


def unsubscribe(connection: Connection, address: str, rule: str, now: datetime) -> None:
    """Unsubscribe an address from a rule. Repeating this is safe: mail programs do."""
    if not is_unsubscribed(connection, address, rule):
        connection.execute(unsubscribed_table.insert().values(address=_same(address), rule=rule, at=now))


def resubscribe(connection: Connection, address: str, rule: str) -> None:
    """Subscribe an address to a rule again."""
    connection.execute(
        delete(unsubscribed_table).where(
            unsubscribed_table.c.address == _same(address), unsubscribed_table.c.rule == rule
        )
    )


def is_unsubscribed(connection: Connection, address: str, rule: str) -> bool:
    """Return True if the address has unsubscribed from the rule."""
    return bool(_AT.rows(connection, address=_same(address), rule=rule))


_AT = Statement(
    lambda _insert: select(unsubscribed_table.c.at).where(
        unsubscribed_table.c.address == bindparam("address"), unsubscribed_table.c.rule == bindparam("rule")
    )
)
_AMONG = KeyLookup(unsubscribed_table, ("address", "rule"))


def find_unsubscribed(connection: Connection, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of these (address, rule) that have unsubscribed."""
    rows = _AMONG.rows(connection, {(_same(address), rule) for address, rule in pairs})
    found = {(row["address"], row["rule"]) for row in rows}
    return {(address, rule) for address, rule in pairs if (_same(address), rule) in found}


def unsubscriptions(connection: Connection) -> list[Unsubscribed]:
    """Return every unsubscribed address with its rule and moment."""
    query = select(unsubscribed_table.c.address, unsubscribed_table.c.rule, unsubscribed_table.c.at).order_by(
        unsubscribed_table.c.address, unsubscribed_table.c.rule
    )
    return [(row.address, row.rule, row.at) for row in connection.execute(query)]


def _same(address: str) -> str:
    """Return the address for comparison. Addresses differ in case only in theory."""
    return address.strip().casefold()

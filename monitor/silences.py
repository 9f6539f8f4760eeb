"""Silences: what nobody is told for a while, by whom and why. Only this module names their table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from monitor.database.prepared import Statement
from monitor.database.schema import silences as table
from monitor.database.sweep import Swept, oldest
from monitor.event_log import Visible, readable
from monitor.rules import Facts, Match, mismatch


@dataclass(frozen=True)
class Silence:
    id: int
    match: Match
    deployment: str | None
    """These two where it is of one DAG only: whose readers may see it."""
    dag_id: str | None
    author: str
    reason: str
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    ended_by: str | None
    """Who ended it early."""

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "Silence":
        return cls(**{**row, "match": Match.model_validate(row["match"])})

    def is_active(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at

    def __str__(self) -> str:
        return f"silence {self.id} of {self.author} until {self.ends_at:%Y-%m-%d %H:%M} UTC: {self.reason}"


def add(
    connection: Connection,
    match: Match,
    author: str,
    reason: str,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
) -> Silence:
    deployment, dag_id = _only(match.deployment), _only(match.dag_id)
    values = {
        "match": match.model_dump(mode="json", exclude_defaults=True),
        "deployment": deployment if dag_id else None,
        "dag_id": dag_id if deployment else None,
        "author": author,
        "reason": reason,
        "created_at": now,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    return Silence.of(connection.execute(insert(table).values(values).returning(*table.c)).mappings().one())


def end(connection: Connection, silence_id: int, who: str, now: datetime) -> Silence | None:
    """End it now, unless it is over. None: no such one."""
    running = table.c.id == silence_id, table.c.ends_at > now
    connection.execute(update(table).where(*running).values(ends_at=now, ended_by=who))
    return find(connection, silence_id)


def find(connection: Connection, silence_id: int, visible: Visible = None) -> Silence | None:
    query = select(table).where(
        table.c.id == silence_id, *readable(table.c.deployment, table.c.dag_id, visible)
    )
    row = connection.execute(query).mappings().one_or_none()
    return Silence.of(row) if row else None


def page(
    connection: Connection,
    limit: int,
    before: int | None = None,
    active_at: datetime | None = None,
    visible: Visible = None,
    deployment: str | None = None,
    dag_id: str | None = None,
) -> list[Silence]:
    """Newest first; `before` is the last id of the page before."""
    query = select(table).where(*readable(table.c.deployment, table.c.dag_id, visible))
    if before is not None:
        query = query.where(table.c.id < before)
    if active_at is not None:
        query = query.where(table.c.starts_at <= active_at, table.c.ends_at > active_at)
    for column, value in ((table.c.deployment, deployment), (table.c.dag_id, dag_id)):
        if value is not None:
            query = query.where(column == value)
    found = connection.execute(query.order_by(table.c.id.desc()).limit(limit))
    return [Silence.of(row) for row in found.mappings()]


def covering(connection: Connection, facts: Facts, now: datetime) -> Silence | None:
    """The active silence that covers an event, the one that lasts longest; None: nobody silenced it."""
    return first_of(active(connection, now), facts)


def active(connection: Connection, now: datetime) -> list[Silence]:
    """Those that silence something now, the one that lasts longest first."""
    return [Silence.of(row) for row in _ACTIVE.rows(connection, now=now)]


def first_of(some: Iterable[Silence], facts: Facts) -> Silence | None:
    """The first that covers an event."""
    return next((silence for silence in some if mismatch(silence.match, facts) is None), None)


_ACTIVE = Statement(
    lambda _insert: (
        select(table)
        .where(table.c.starts_at <= bindparam("now"), table.c.ends_at > bindparam("now"))
        .order_by(table.c.ends_at.desc())
    )
)


def forget(connection: Connection, before: datetime) -> Swept:
    """Those that ended before a moment."""
    return oldest(connection, table, table.c.ends_at, table.c.ends_at < before)


def _only(globs: tuple[str, ...]) -> str | None:
    """The one name that these globs stand for, or None."""
    return globs[0] if len(globs) == 1 and not set(globs[0]) & {"*", "?"} else None

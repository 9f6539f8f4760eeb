"""The list of runs as people look through it: filtered, searched, page by page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, or_, select

from monitor.board.lists import RunName
from monitor.board.rows import Row, at
from monitor.database.schema import dag_runs, task_instances
from monitor.event_log import Visible, like_any, readable

MAX_STRIP = 40  # tasks that are shown one by one: as many as a row of a phone holds in three lines

_BEGAN = func.coalesce(dag_runs.c.start_date, dag_runs.c.queued_at)


@dataclass(frozen=True)
class RunsWanted:
    """Which runs; what is empty asks for all. Every given attribute must match, by any of its values."""

    deployment: tuple[str, ...] = ()
    dag_id: tuple[str, ...] = ()
    """These two are globs."""
    state: tuple[str, ...] = ()
    run_type: tuple[str, ...] = ()
    since: datetime | None = None
    """Begun (or queued, where it has not begun) at this moment, or later."""
    until: datetime | None = None
    """Begun before this moment."""
    search: str | None = None
    """A part of the DAG's or the run's id, whatever its case."""

    def clauses(self, connection: Connection) -> Iterator[ColumnElement[bool]]:
        for column, globs in ((dag_runs.c.deployment, self.deployment), (dag_runs.c.dag_id, self.dag_id)):
            if globs:
                yield like_any(connection, column, globs)
        for column, names in ((dag_runs.c.state, self.state), (dag_runs.c.run_type, self.run_type)):
            if names:
                yield column.in_(names)
        if self.since is not None:
            yield self.since <= _BEGAN
        if self.until is not None:
            yield self.until > _BEGAN
        if self.search:
            yield or_(
                *(
                    column.icontains(self.search, autoescape=True)
                    for column in (dag_runs.c.dag_id, dag_runs.c.run_id)
                )
            )


def run_list(
    connection: Connection,
    wanted: RunsWanted,
    limit: int,
    before: int | None = None,
    visible: Visible = None,
) -> list[Row]:
    """The runs that changed last, newest first; `before` is the last_seq of the page before."""
    rights = readable(dag_runs.c.deployment, dag_runs.c.dag_id, visible)
    query = select(dag_runs).where(*wanted.clauses(connection), *rights)
    if before is not None:
        query = query.where(dag_runs.c.last_seq < before)
    query = query.order_by(dag_runs.c.last_seq.desc()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


@dataclass(frozen=True)
class Strip:
    """The tasks of a run at a glance."""

    tasks: tuple[Row, ...]
    """One by one, in the order in which they began; empty where they are too many."""
    counts: dict[str, int]
    """How many are in each state."""


def strip(connection: Connection, name: RunName) -> Strip:
    """A run may have thousands of mapped tasks, and a page a dozen runs: no more is read than is shown."""
    here = at(task_instances, vars(name))
    columns = (task_instances.c[each] for each in ("task_id", "map_index", "state"))
    order = (task_instances.c.start_date, task_instances.c.task_id, task_instances.c.map_index)
    few = select(*columns).where(here).order_by(*order).limit(MAX_STRIP + 1)
    rows = [dict(row) for row in connection.execute(few).mappings()]
    if len(rows) <= MAX_STRIP:
        states = sorted(row["state"] for row in rows)
        return Strip(tuple(rows), {state: states.count(state) for state in states})
    counted = select(task_instances.c.state, func.count().label("number")).where(here)
    found = connection.execute(counted.group_by(task_instances.c.state).order_by(task_instances.c.state))
    return Strip((), {row.state: row.number for row in found})


def first_failure(connection: Connection, name: RunName) -> Row | None:
    """The task that failed first in a run: the likeliest cause."""
    query = (
        select(task_instances)
        .where(at(task_instances, vars(name)), task_instances.c.state == "failed")
        .order_by(task_instances.c.end_date)
        .limit(1)
    )
    row = connection.execute(query).mappings().one_or_none()
    return dict(row) if row else None

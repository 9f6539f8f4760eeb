"""The queries of runs: lists, the tasks of a run, the durations and starts of earlier runs."""

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, or_, select, tuple_

from monitor.database.schema import assets, dag_runs, task_instances
from monitor.database.statements import FETCHED, KeyLookup, Row, Statement, fit, read_each
from monitor.event_log.filters import AllowedDags, like_any, readable
from monitor.event_log.projections.state import RUNNING, find, match_key
from monitor.events.data import TEST
from monitor.events.event import Event


@dataclass(frozen=True)
class RunName:
    """The identity of a DAG run: its Airflow deployment, DAG and run id."""

    deployment: str
    dag_id: str
    run_id: str


def runs(
    connection: Connection,
    limit: int,
    before: int | None = None,
    dag_id: str | None = None,
    state: str | None = None,
    allowed_dags: AllowedDags = None,
) -> list[Row]:
    """Return the runs that changed last, newest first. `before` is the last_seq of the page before."""
    query = select(dag_runs).where(*readable(dag_runs.c.deployment, dag_runs.c.dag_id, allowed_dags))
    if before is not None:
        query = query.where(dag_runs.c.last_seq < before)
    if dag_id is not None:
        query = query.where(dag_runs.c.dag_id == dag_id)
    if state is not None:
        query = query.where(dag_runs.c.state == state)
    query = query.order_by(dag_runs.c.last_seq.desc()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


_RUNNING = Statement(
    lambda _insert: (
        select(dag_runs)
        .where(dag_runs.c.deployment == bindparam("deployment"), dag_runs.c.state == "running")
        .order_by(dag_runs.c.last_seq)
        .limit(bindparam("most"))
    )
)


def running(connection: Connection, deployment: str, limit: int) -> list[Row]:
    """Return the runs that still go on, first those with the oldest last report."""
    return _RUNNING.rows(connection, deployment=deployment, most=limit)


def run(connection: Connection, name: RunName) -> Row | None:
    """Return a run, or None if the read model does not know it."""
    row = find(connection, dag_runs, vars(name))
    return dict(row) if row else None


_RUN_AT = ("deployment", "dag_id", "run_id")
_RUNS_OF = KeyLookup(dag_runs, _RUN_AT, columns=(*_RUN_AT, "run_type"))


def test_runs(connection: Connection, events: Sequence[Event]) -> set[tuple[str, str, str]]:
    """Return the runs of these events that `airflow dags test` made."""
    names = {(event.deployment, event.get("dag_id"), event.get("run_id")) for event in events}
    found = _RUNS_OF.rows(connection, names)
    return {tuple(row[name] for name in _RUN_AT) for row in found if row["run_type"] == TEST}


_BY_START = (task_instances.c.start_date, task_instances.c.task_id, task_instances.c.map_index)
MAX_ERRORS = 50  # of a run's tasks, whose texts one message reads: it shows a few, the first failure first


def tasks(connection: Connection, name: RunName) -> list[Row]:
    """Return the latest try of each task of a run for a message, ordered by start.

    A run may have thousands of mapped tasks with long errors, so only the errors of the first failures are
    read."""
    its = match_key(task_instances, vars(name))
    without = [column for column in task_instances.c if column.name != "error"]
    rows = connection.execute(select(*without).where(its).order_by(*_BY_START)).mappings()
    failed = select(task_instances.c.task_id, task_instances.c.map_index, task_instances.c.error).where(
        its, task_instances.c.error.is_not(None)
    )
    order = (task_instances.c.state != "failed", task_instances.c.end_date)
    first_failed = connection.execute(failed.order_by(*order).limit(MAX_ERRORS))
    errors = {(row.task_id, row.map_index): row.error for row in first_failed}
    return [{**row, "error": errors.get((row["task_id"], row["map_index"]))} for row in rows]


FIRST_SHOWN = ("failed", RUNNING, "up_for_retry")
"""The states of the tasks that people look for: they stand on the first pages."""


class TaskPlace(NamedTuple):
    """A task's place in the pages of its run."""

    is_later: bool
    """Behind those of FIRST_SHOWN."""
    task_id: str
    map_index: int


@dataclass(frozen=True)
class TaskPage:
    """A page of a run's tasks."""

    tasks: list[Row]
    following: TaskPlace | None
    """The place behind which the next page begins. None means that this page is the last."""


def task_page(
    connection: Connection,
    name: RunName,
    limit: int,
    after: TaskPlace | None,
    most: int,
    task_id: str | None = None,
) -> TaskPage:
    """Read the latest try of some tasks of a run, up to `limit` rows and `most` bytes.
    `task_id` selects the instances of this task alone.

    Pages hold the tasks in a state of FIRST_SHOWN first, each by task_id and map_index. Within a page tasks
    stand in the order in which they began."""
    rows, has_more = fit(_walk_tasks(connection, name, limit + 1, after, task_id), limit, most)
    following = place_of(rows[-1]) if has_more else None
    rows.sort(key=_start_order)
    return TaskPage(rows, following)


def _start_order(task: Row) -> tuple[Any, ...]:
    start = task["start_date"]
    return start is not None, start or 0, task["task_id"], task["map_index"]


def place_of(task: Row) -> TaskPlace:
    """Return the task's place in the order of pages."""
    return TaskPlace(task["state"] not in FIRST_SHOWN, task["task_id"], task["map_index"])


def _walk_tasks(
    connection: Connection, name: RunName, limit: int, after: TaskPlace | None, task_id: str | None
) -> Iterator[Row]:
    key = vars(name) if task_id is None else {**vars(name), "task_id": task_id}
    is_first = task_instances.c.state.in_(FIRST_SHOWN)
    order = (task_instances.c.task_id, task_instances.c.map_index)
    for is_later, which in ((False, is_first), (True, ~is_first)):
        if after is not None and after.is_later > is_later:
            continue
        query = select(task_instances).where(match_key(task_instances, key), which)
        if after is not None and after.is_later == is_later:
            query = query.where(tuple_(*order) > tuple_(after.task_id, after.map_index))
        query = query.order_by(*order).limit(limit).execution_options(yield_per=FETCHED)
        with connection.execute(query) as rows:
            yield from map(dict, rows.mappings())


def has_task(connection: Connection, name: RunName, task_id: str, map_index: int) -> bool:
    """Return True if an event has reported this task of this run."""
    of_task = vars(name) | {"task_id": task_id, "map_index": map_index}
    query = select(task_instances.c.task_id).where(match_key(task_instances, of_task)).limit(1)
    return connection.execute(query).first() is not None


def count_tasks(connection: Connection, name: RunName) -> dict[str, int]:
    """Return the number of a run's tasks in each state."""
    counted = select(task_instances.c.state, func.count().label("number")).where(
        match_key(task_instances, vars(name))
    )
    found = connection.execute(counted.group_by(task_instances.c.state).order_by(task_instances.c.state))
    return {row.state: row.number for row in found}


def count_instances(connection: Connection, name: RunName, task_ids: Set[str]) -> dict[str, dict[str, int]]:
    """Return the number of instances of each of these tasks in each state, the most frequent state first."""
    columns = (task_instances.c.task_id, task_instances.c.state)
    number = func.count().label("number")
    counted = select(*columns, number).where(
        match_key(task_instances, vars(name)), task_instances.c.task_id.in_(sorted(task_ids))
    )
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(counted.group_by(*columns).order_by(number.desc(), columns[1])):
        counts.setdefault(row.task_id, {})[row.state] = row.number
    return counts


MAX_STRIP = 40  # tasks that are shown one by one: as many as a row of a phone holds in three lines

_BEGAN = func.coalesce(dag_runs.c.start_date, dag_runs.c.queued_at)


@dataclass(frozen=True)
class RunFilter:
    """The filter of runs.
    Every given attribute must match, by any of its values. An empty attribute matches all."""

    deployment: tuple[str, ...] = ()
    dag_id: tuple[str, ...] = ()
    """A glob, as `deployment` is."""
    state: tuple[str, ...] = ()
    run_type: tuple[str, ...] = ()
    since: datetime | None = None
    """Begun (or queued, where it has not begun) at this moment, or later."""
    until: datetime | None = None
    """Begun before this moment."""
    search: str | None = None
    """A part of the DAG's or the run's id, whatever its case."""

    def clauses(self, connection: Connection) -> Iterator[ColumnElement[bool]]:
        """Yield the filter's conditions as SQL."""
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
    run_filter: RunFilter,
    limit: int,
    before: int | None = None,
    allowed_dags: AllowedDags = None,
) -> list[Row]:
    """Return the matching runs that changed last, newest first.
    `before` is the last_seq of the page before."""
    rights = readable(dag_runs.c.deployment, dag_runs.c.dag_id, allowed_dags)
    query = select(dag_runs).where(*run_filter.clauses(connection), *rights)
    if before is not None:
        query = query.where(dag_runs.c.last_seq < before)
    query = query.order_by(dag_runs.c.last_seq.desc()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


@dataclass(frozen=True)
class Strip:
    """The tasks of a run at a glance."""

    tasks: tuple[Row, ...]
    """The tasks in the order in which they began. Empty if they are too many."""
    counts: dict[str, int]
    """The number of tasks in each state."""


def strip(connection: Connection, name: RunName) -> Strip:
    """Return the strip of a run's tasks."""
    return strips(connection, [name])[name]


_STRIP = [task_instances.c[column] for column in (*_RUN_AT, "task_id", "map_index", "state", "start_date")]


def strips(connection: Connection, names: Sequence[RunName]) -> dict[RunName, Strip]:
    """Return the strips of these runs.

    A run may have thousands of mapped tasks, and a page a dozen runs, so no more is read than is shown.
    """
    few = [
        select(*_STRIP).where(match_key(task_instances, vars(name))).order_by(*_BY_START).limit(MAX_STRIP + 1)
        for name in names
    ]
    found: dict[RunName, list[Row]] = {name: [] for name in names}
    for row in read_each(connection, few):
        found[_name_of(row)].append(row)
    return {
        name: Strip((), count_tasks(connection, name)) if len(rows) > MAX_STRIP else _make_strip(rows)
        for name, rows in found.items()
    }


def _make_strip(rows: list[Row]) -> Strip:
    states = sorted(row["state"] for row in rows)
    return Strip(tuple(sorted(rows, key=_start_order)), {state: states.count(state) for state in states})


def _name_of(row: Row) -> RunName:
    return RunName(*(row[column] for column in _RUN_AT))


_HAS_FAILED = task_instances.c.state == "failed"
_BY_FAILURE = (
    task_instances.c.end_date.is_(None),
    task_instances.c.end_date,
    task_instances.c.task_id,
    task_instances.c.map_index,
)


def first_failure(connection: Connection, name: RunName) -> Row | None:
    """Return the task that failed first in a run: the likeliest cause."""
    return first_failures(connection, [name]).get(name)


def first_failures(connection: Connection, names: Collection[RunName]) -> dict[RunName, Row]:
    """Return the task that failed first in each of these runs, if one did."""
    first = [
        select(task_instances)
        .where(match_key(task_instances, vars(name)), _HAS_FAILED)
        .order_by(*_BY_FAILURE)
        .limit(1)
        for name in names
    ]
    return {_name_of(row): row for row in read_each(connection, first)}


_FAILED = ("deployment", "dag_id", "run_id", "task_id", "map_index", "end_date")


def failed_instances(
    connection: Connection, names: Collection[RunName], limit: int
) -> dict[RunName, list[tuple[str, int]]]:
    """Return the task_id and map_index of what failed in each run, the first to fail first."""
    columns = [task_instances.c[name] for name in _FAILED]
    queries = [
        select(*columns)
        .where(match_key(task_instances, vars(name)), _HAS_FAILED)
        .order_by(*_BY_FAILURE)
        .limit(limit)
        for name in names
    ]
    found: dict[RunName, list[tuple[str, int]]] = {name: [] for name in names}
    for row in sorted(read_each(connection, queries), key=_failure_order):
        found[_name_of(row)].append((row["task_id"], row["map_index"]))
    return found


def _failure_order(task: Row) -> tuple[Any, ...]:
    end = task["end_date"]
    return end is None, end or 0, task["task_id"], task["map_index"]


_IN_PRODUCTION = dag_runs.c.run_type.is_distinct_from(TEST)


def lengths(connection: Connection, deployment: str, dag_id: str, limit: int) -> list[timedelta]:
    """Return the durations of a DAG's last successful runs, the latest first."""
    return lengths_of_each(connection, [(deployment, dag_id)], limit)[deployment, dag_id]


_LENGTH = [dag_runs.c[name] for name in ("deployment", "dag_id", "start_date", "end_date", "last_seq")]


def lengths_of_each(
    connection: Connection, names: Collection[tuple[str, str]], limit: int
) -> dict[tuple[str, str], list[timedelta]]:
    """Return the durations of the last successful runs of each (deployment, dag_id), the latest first."""
    last = [
        select(*_LENGTH)
        .where(
            dag_runs.c.dag_id == dag_id,
            dag_runs.c.deployment == deployment,
            dag_runs.c.state == "success",
            dag_runs.c.start_date.is_not(None),
            dag_runs.c.end_date.is_not(None),
            _IN_PRODUCTION,
        )
        .order_by(dag_runs.c.last_seq.desc())
        .limit(limit)
        for deployment, dag_id in names
    ]
    found: dict[tuple[str, str], list[timedelta]] = {name: [] for name in names}
    for row in sorted(read_each(connection, last), key=lambda row: -row["last_seq"]):
        found[row["deployment"], row["dag_id"]].append(row["end_date"] - row["start_date"])
    return found


def _last_runs(*which: ColumnElement[bool]) -> Statement:
    of_dag = (dag_runs.c.deployment == bindparam("deployment"), dag_runs.c.dag_id == bindparam("dag_id"))
    query = select(dag_runs).where(*of_dag, *which).order_by(dag_runs.c.last_seq.desc())
    return Statement(lambda _insert: query.limit(bindparam("most")))


_RUNS = _last_runs(_IN_PRODUCTION)
_GOOD_RUNS = _last_runs(_IN_PRODUCTION, dag_runs.c.state == "success")


def latest(connection: Connection, deployment: str, dag_id: str, limit: int) -> list[Row]:
    """Return a DAG's runs that changed last, newest first.
    The last successful run is added, however old it is."""
    found = _RUNS.rows(connection, deployment=deployment, dag_id=dag_id, most=limit)
    if not any(row["state"] == "success" for row in found):
        found += _GOOD_RUNS.rows(connection, deployment=deployment, dag_id=dag_id, most=1)
    return found


def find_last_successes(
    connection: Connection, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Row]:
    """Return the successful run of each (deployment, dag_id) that changed last."""
    last = [
        select(dag_runs)
        .where(
            dag_runs.c.deployment == deployment,
            dag_runs.c.dag_id == dag_id,
            dag_runs.c.state == "success",
            _IN_PRODUCTION,
        )
        .order_by(dag_runs.c.last_seq.desc())
        .limit(1)
        for deployment, dag_id in names
    ]
    return {(row["deployment"], row["dag_id"]): row for row in read_each(connection, last)}


def find_last_run_starts(
    connection: Connection, deployment: str, after: int, run_types: Sequence[str]
) -> list[tuple[str, str, datetime]]:
    """Return when the last run of each DAG and type was created, of the runs reported after this seq."""
    came = func.coalesce(dag_runs.c.queued_at, dag_runs.c.start_date)
    query = (
        select(dag_runs.c.dag_id, dag_runs.c.run_type, func.max(came))
        .where(
            dag_runs.c.last_seq > after,
            dag_runs.c.deployment == deployment,
            dag_runs.c.run_type.in_(run_types),
            came.is_not(None),
        )
        .group_by(dag_runs.c.dag_id, dag_runs.c.run_type)
    )
    return [(dag_id, run_type, moment) for dag_id, run_type, moment in connection.execute(query)]


def find_updated_assets(connection: Connection, deployment: str) -> dict[str, Row]:
    """Return every asset that was ever updated, by its URI."""
    query = select(assets).where(assets.c.deployment == deployment, assets.c.updated_at.is_not(None))
    return {row["uri"]: dict(row) for row in connection.execute(query).mappings()}

"""What pages and the API show of the board."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from monitor.board.rows import Row, find
from monitor.database.bulk import LookUp
from monitor.database.prepared import Statement
from monitor.database.schema import dag_runs, task_instances
from monitor.event_log import Visible, readable
from monitor.events import Event
from monitor.events.data import TEST


@dataclass(frozen=True)
class RunName:
    """Which run, of which Airflow."""

    deployment: str
    dag_id: str
    run_id: str


def runs(
    connection: Connection,
    limit: int,
    before: int | None = None,
    dag_id: str | None = None,
    state: str | None = None,
    visible: Visible = None,
) -> list[Row]:
    """The runs that changed last, newest first; `before` is the last_seq of the page before."""
    query = select(dag_runs).where(*readable(dag_runs.c.deployment, dag_runs.c.dag_id, visible))
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
    """The runs that go on, those first of which nothing was told for longest."""
    return _RUNNING.rows(connection, deployment=deployment, most=limit)


def run(connection: Connection, name: RunName) -> Row | None:
    """One run, or None where the board does not know it."""
    row = find(connection, dag_runs, vars(name))
    return dict(row) if row else None


_RUN_AT = ("deployment", "dag_id", "run_id")
_RUNS_OF = LookUp(dag_runs, _RUN_AT, columns=(*_RUN_AT, "run_type"))


def test_runs(connection: Connection, events: Sequence[Event]) -> set[tuple[str, str, str]]:
    """Of the runs that these events are of, those that `airflow dags test` made."""
    names = {(each.deployment, each.get("dag_id"), each.get("run_id")) for each in events}
    found = _RUNS_OF.rows(connection, names)
    return {tuple(row[name] for name in _RUN_AT) for row in found if row["run_type"] == TEST}


def tasks(connection: Connection, name: RunName) -> list[Row]:
    """The latest try of each task of a run, in the order in which they began."""
    return _TASKS.rows(connection, **vars(name))


_TASKS = Statement(
    lambda _insert: (
        select(task_instances)
        .where(*(task_instances.c[name] == bindparam(name) for name in ("deployment", "dag_id", "run_id")))
        .order_by(task_instances.c.start_date, task_instances.c.task_id, task_instances.c.map_index)
    )
)

"""What was before, as watches ask it: how long runs took, and which began last."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from monitor.board.rows import Row
from monitor.database.prepared import Statement
from monitor.database.schema import assets, dag_runs
from monitor.events.data import TEST

_IN_PRODUCTION = dag_runs.c.run_type.is_distinct_from(TEST)


def lengths(connection: Connection, deployment: str, dag_id: str, limit: int) -> list[timedelta]:
    """How long the last successful runs of a DAG took, the latest first."""
    query = (
        select(dag_runs.c.start_date, dag_runs.c.end_date)
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
    )
    return [row.end_date - row.start_date for row in connection.execute(query)]


def _last_runs(*which: ColumnElement[bool]) -> Statement:
    of_dag = (dag_runs.c.deployment == bindparam("deployment"), dag_runs.c.dag_id == bindparam("dag_id"))
    query = select(dag_runs).where(*of_dag, *which).order_by(dag_runs.c.last_seq.desc())
    return Statement(lambda _insert: query.limit(bindparam("most")))


_RUNS = _last_runs(_IN_PRODUCTION)
_GOOD_RUNS = _last_runs(_IN_PRODUCTION, dag_runs.c.state == "success")


def latest(connection: Connection, deployment: str, dag_id: str, limit: int) -> list[Row]:
    """A DAG's runs that changed last, newest first; the last good one too, however long ago it was."""
    found = _RUNS.rows(connection, deployment=deployment, dag_id=dag_id, most=limit)
    if not any(row["state"] == "success" for row in found):
        found += _GOOD_RUNS.rows(connection, deployment=deployment, dag_id=dag_id, most=1)
    return found


def begun(
    connection: Connection, deployment: str, after: int, run_types: Sequence[str]
) -> list[tuple[str, str, datetime]]:
    """When the last run of each DAG and of each of these types came to be, of those told after this seq."""
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


def updated_assets(connection: Connection, deployment: str) -> dict[str, Row]:
    """Every asset that was ever updated, by its URI."""
    query = select(assets).where(assets.c.deployment == deployment, assets.c.updated_at.is_not(None))
    return {row["uri"]: dict(row) for row in connection.execute(query).mappings()}

"""An Airflow with a history: runs and their tasks put into its database by SQL, as fast as it takes them.

A run every 86.4 seconds, so that 1,000 runs are a day and 100,000 are a hundred days of the same Airflow:
what is recent is the same in both. Run number 0 is the newest.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, MetaData, Table, text

DAGS = 50
TASKS = 4  # of a run
ASSETS = 20
APART = 86.4  # seconds between two runs

RUNS = """
INSERT INTO dag_run (dag_id, run_id, run_type, state, run_after, logical_date, queued_at, start_date,
                     end_date, updated_at{more_columns})
SELECT 'dag_' || (i % {dags}), 'scheduled__' || i, 'scheduled', 'success', {began}, {began}, {began}, {began},
       {ended}, {ended}{more_values} FROM n"""
TASK_INSTANCES = """
INSERT INTO task_instance (id, dag_id, run_id, task_id, map_index, try_number, max_tries, pool, pool_slots,
                           state, operator, start_date, end_date, updated_at{more_columns})
SELECT {uuid}, 'dag_' || (i % {dags}), 'scheduled__' || i, 'task_' || t, -1, 1, 0, 'default_pool', 1,
       CASE (i + t) % 20 WHEN 0 THEN 'failed' ELSE 'success' END, 'PythonOperator', {began}, {ended}, {ended}
       {more_values} FROM n, tasks"""
ASSET_EVENTS = """
INSERT INTO asset_event (asset_id, extra, source_task_id, source_dag_id, source_run_id, source_map_index,
                         timestamp)
SELECT 1 + i % {assets}, '{{}}', 'task_0', 'dag_' || (i % {dags}), 'scheduled__' || i, -1, {ended} FROM n"""
NUMBERS = (
    "WITH RECURSIVE n(i) AS (SELECT CAST(:first AS INTEGER) UNION ALL SELECT i + 1 FROM n WHERE i < :last), "
)
TASK_NUMBERS = "tasks(t) AS (SELECT 0 UNION ALL SELECT t + 1 FROM tasks WHERE t < {last_task}) "


@dataclass(frozen=True)
class Dialect:
    """How a database writes a moment (from seconds since 1970) and a UUID (from a run and a task)."""

    moment: str
    uuid: str
    statistics: str


DIALECTS = {
    "sqlite": Dialect(
        "strftime('%Y-%m-%d %H:%M:%S.000000', CAST({} AS INTEGER), 'unixepoch')",
        "printf('0193%012x7%03x8%011x', CAST({} AS INTEGER), t, i)",
        "SELECT 1",  # Airflow does not analyse it either
    ),
    "postgresql": Dialect(
        "to_timestamp({})",
        "(lpad(to_hex(({})::bigint), 16, '0') || lpad(to_hex(t), 4, '0') || lpad(to_hex(i), 12, '0'))::uuid",
        "ANALYZE",  # as autovacuum does within minutes
    ),
}


def prepare(connection: Connection, now: datetime) -> None:
    """The DAGs and assets that the history belongs to."""
    _insert(connection, "dag_bundle", [{"name": "seeded"}])
    dags = [
        {"dag_id": f"dag_{n}", "is_paused": False, "is_stale": False, "bundle_name": "seeded"}
        for n in range(DAGS)
    ]
    _insert(connection, "dag", dags)
    assets = [
        {"id": 1 + n, "name": f"asset_{n}", "uri": f"file:///{n}", "group": "asset", "extra": {}}
        | {"created_at": now, "updated_at": now}
        for n in range(ASSETS)
    ]
    _insert(connection, "asset", assets)


def grow(connection: Connection, first: int, runs: int, now: datetime) -> None:
    """Add the runs from number `first` until there are `runs`, each with its tasks and an asset event."""
    dialect = DIALECTS[connection.dialect.name]
    newest = now.timestamp() - 60
    words = {
        "dags": DAGS,
        "assets": ASSETS,
        "began": dialect.moment.format(f"{newest:.0f} - i * {APART}"),
        "ended": dialect.moment.format(f"{newest:.0f} + 30 - i * {APART}"),
        "uuid": dialect.uuid.format(f"({newest:.0f} - i * {APART}) * 1000"),
    }
    numbers = NUMBERS + TASK_NUMBERS.format(last_task=TASKS - 1)
    bounds = {"first": first, "last": runs - 1}
    for table, statement in (
        ("dag_run", RUNS),
        ("task_instance", TASK_INSTANCES),
        ("asset_event", ASSET_EVENTS),
    ):
        columns = _must_be_given(connection, table, statement)
        more = {"more_columns": "".join(f", {name}" for name in columns)}
        more["more_values"] = "".join(f", {value}" for value in columns.values())
        insert, _, select = statement.partition("SELECT")
        made = f"{insert.format(**more)} {numbers} SELECT {select.format(**words, **more)}"
        connection.execute(text(made), bounds)
    connection.execute(text(dialect.statistics))


def _insert(connection: Connection, name: str, rows: list[dict[str, object]]) -> None:
    table = Table(name, MetaData(), autoload_with=connection)
    defaults = dict.fromkeys(_needed(table), 0) | {"timetable_type": ""}
    values = [
        {**{c: v for c, v in defaults.items() if c in table.c and c not in rows[0]}, **row} for row in rows
    ]
    connection.execute(table.insert(), values)


def _must_be_given(connection: Connection, name: str, statement: str) -> dict[str, str]:
    """Columns that this version of Airflow wants and the statement does not give, each with a zero."""
    table = Table(name, MetaData(), autoload_with=connection)
    return {column: "0" for column in _needed(table) if column not in statement}


def _needed(table: Table) -> list[str]:
    return [
        column.name
        for column in table.c
        if not column.nullable and column.server_default is None and not column.primary_key
    ]

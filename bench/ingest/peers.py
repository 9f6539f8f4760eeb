"""The peers: a bare loop that writes the same rows to the same tables with the driver's executemany, a
transaction a batch. Which rows those are, triggers note in a run that is not timed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Json
from sqlalchemy import JSON, Connection, Table, make_url, select, text

from monitor.database.engine import Database
from monitor.database.schema import metadata


@dataclass(frozen=True)
class Rows:
    """Of one table, as they stand after one batch; each once, however often the batch changed it."""

    table: Table
    stored: list[tuple[Any, ...]]
    """As SQLite keeps them."""
    values: list[tuple[Any, ...]]
    """As Python has them."""


class Recorder:
    """Notes what is written to a SQLite database; `batch()` answers what came since the last call."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.write_now(_watch)

    def batch(self) -> list[Rows]:
        return self._database.write_now(_taken)


def _watch(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE bench_written (name TEXT, row INTEGER)")
    for name in metadata.tables:
        for deed in ("INSERT", "UPDATE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER bench_{name}_{deed} AFTER {deed} ON {name} BEGIN "
                f"INSERT INTO bench_written VALUES ('{name}', NEW.rowid); END"
            )


def _taken(connection: Connection) -> list[Rows]:
    found = [_rows(connection, table) for table in metadata.tables.values()]
    connection.exec_driver_sql("DELETE FROM bench_written")
    return [rows for rows in found if rows.stored]


def _rows(connection: Connection, table: Table) -> Rows:
    written = f"rowid IN (SELECT row FROM bench_written WHERE name = '{table.name}')"
    names = ", ".join(f'"{column.name}"' for column in table.c)
    stored = connection.exec_driver_sql(f"SELECT {names} FROM {table.name} WHERE {written} ORDER BY rowid")
    values = connection.execute(select(table).where(text(written)).order_by(text("rowid")))
    return Rows(table, [tuple(row) for row in stored], [tuple(row) for row in values])


def count(batches: Sequence[Sequence[Rows]]) -> int:
    return sum(len(rows.stored) for batch in batches for rows in batch)


Batches = Sequence[Sequence[Rows]]
Peer = Callable[[str, Batches], None]
"""Writes batches to the database at an address."""


def write_sqlite(url: str, batches: Batches) -> None:
    connection = sqlite3.connect(str(make_url(url).database), isolation_level=None)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):  # as monitor/database/engine.py
        connection.execute(f"PRAGMA {pragma}")
    statements = _statements(batches, "?")
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        for rows in batch:
            connection.executemany(statements[rows.table.name], rows.stored)
        connection.execute("COMMIT")
    connection.close()


def write_postgresql(url: str, batches: Batches) -> None:
    statements = _statements(batches, "%s")
    ready = [[(statements[rows.table.name], _adapted(rows)) for rows in batch] for batch in batches]
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        for batch in ready:
            for statement, values in batch:
                cursor.executemany(statement, values)
            connection.commit()


def _adapted(rows: Rows) -> list[tuple[Any, ...]]:
    is_json = [isinstance(column.type, JSON) for column in rows.table.c]
    return [
        tuple(
            Json(value) if json and value is not None else value
            for value, json in zip(row, is_json, strict=True)
        )
        for row in rows.values
    ]


def _statements(batches: Batches, mark: str) -> dict[str, str]:
    return {rows.table.name: _statement(rows.table, mark) for batch in batches for rows in batch}


def _statement(table: Table, mark: str) -> str:
    """A row is written anew where it is there: what is an update of ours is one statement of theirs too."""
    names = [f'"{column.name}"' for column in table.c]
    key = ", ".join(f'"{column.name}"' for column in table.primary_key)
    changed = ", ".join(
        f"{name} = excluded.{name}" for name in names if name.strip('"') not in table.primary_key
    )
    marks = ", ".join([mark] * len(names))
    do = f"UPDATE SET {changed}" if changed else "NOTHING"
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT ({key}) DO {do}"


PEERS: dict[str, Peer] = {"sqlite": write_sqlite, "postgresql": write_postgresql}

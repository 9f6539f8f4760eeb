"""Which rows ingest writes: triggers note each row that it inserts or changes, in a run that is not timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select, text

from monitor.database import Database
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

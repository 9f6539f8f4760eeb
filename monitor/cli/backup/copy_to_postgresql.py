"""The copy of a whole SQLite database to PostgreSQL.

`move` copies every table unchanged, so that feeds continue where they were and no recipient is notified
twice.

Rows are copied as text, as SQLite keeps them, without SQLAlchemy's types on either side. This is odd on
purpose. PostgreSQL reads the same text, because SQLite's moments and the PostgreSQL session are both in UTC.
A null in JSON also stays different from an empty column."""

from collections.abc import Callable, Iterator
from pathlib import Path
from sqlite3 import Connection as Source
from typing import Any

from sqlalchemy import Connection, Table, func, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from monitor.cli.backup.sqlite import alone
from monitor.database.engine import Database
from monitor.database.migrate import migrate, versions
from monitor.database.schema import metadata
from monitor.errors import BackupError

BATCH = 5_000  # rows between two lines of progress, and in memory

Progress = Callable[[str, int, int], None]
"""The listener to the progress: a table, its copied rows, and its rows in all."""


def move(source: Path, target: Database, progress: Progress) -> dict[str, int]:
    """Copy all tables in one transaction, and return the number of rows of each.

    The source stays as it is. Raises BackupError, and SettingsError if the target is of a newer release."""
    if not source.is_file():
        raise BackupError(f"{source}: there is no database")
    _check_schema(source)
    try:
        _check_empty(target)
        migrate(target)
        with alone(source) as rows:
            return target.write_now(lambda connection: _copy_all(rows, connection, progress))
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise BackupError(f"nothing is moved: {reason}") from None


def _check_schema(source: Path) -> None:
    database = Database(f"sqlite:///{source}")
    try:
        found, needed = versions(database)
    finally:
        database.close()
    if found != needed:
        raise BackupError(
            f"{source}: has schema {found or 'none'}, not {needed}: run `windsock migrate` first"
        )


def _check_empty(target: Database) -> None:
    def list_filled_tables(connection: Connection) -> list[str]:
        there = set(inspect(connection).get_table_names())
        tables = [table for table in metadata.sorted_tables if table.name in there]
        return [table.name for table in tables if _holds(connection, table)]

    if names := target.read_now(list_filled_tables):
        raise BackupError(
            f"{target.url.render_as_string(hide_password=True)}: is not empty ({', '.join(names)}); name a "
            "database of which no monitor has made use yet"
        )


def _holds(connection: Connection, table: Table) -> bool:
    """Return True if the table has rows. An empty log has one row, which says that the log is empty."""
    if table.name == "log_state":
        return bool(connection.execute(select(table.c.last_seq).where(table.c.last_seq > 0)).first())
    return connection.execute(select(text("1")).select_from(table).limit(1)).first() is not None


def _copy_all(source: Source, target: Connection, progress: Progress) -> dict[str, int]:
    target.execute(text("SET LOCAL TIME ZONE 'UTC'"))
    target.execute(text("SET LOCAL statement_timeout = 0"))
    target.execute(text("DELETE FROM log_state"))
    copied = {}
    for table in metadata.sorted_tables:
        copied[table.name] = _copy(source, target, table, progress)
        _set_sequence(source, target, table)
    _check_counts(target, copied)
    return copied


def _copy(source: Source, target: Connection, table: Table, progress: Progress) -> int:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    [total] = source.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()  # noqa: S608 (our own names)
    done = 0
    cursor: Any = target.connection.cursor()
    with cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
        for rows in _batches(source, f'SELECT {names} FROM "{table.name}"'):  # noqa: S608
            for row in rows:
                copy.write_row(row)
            done += len(rows)
            progress(table.name, done, total)
    return done


def _batches(source: Source, query: str) -> Iterator[list[tuple[Any, ...]]]:
    cursor = source.execute(query)
    while rows := cursor.fetchmany(BATCH):
        yield rows


def _set_sequence(source: Source, target: Connection, table: Table) -> None:
    """Set the next number to one that was never given.

    SQLite knows that number even if the rows with the highest numbers are deleted, for a table whose numbers
    must not come twice."""
    if "id" not in table.c or table.c.id.autoincrement is not True:
        return
    highest = target.execute(select(func.max(table.c.id))).scalar_one() or 0
    sequence_row = None
    if table.dialect_options["sqlite"]["autoincrement"]:
        sequence_row = source.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)
        ).fetchone()
    last = max(highest, sequence_row[0] if sequence_row else 0)
    if last:
        sequence = func.pg_get_serial_sequence(table.name, "id")
        target.execute(select(func.setval(sequence, last)))


def _check_counts(target: Connection, copied: dict[str, int]) -> None:
    for name, number in copied.items():
        found = target.execute(select(func.count()).select_from(metadata.tables[name])).scalar_one()
        if found != number:
            raise BackupError(f"nothing is moved: {name} has {found} rows, and {number} were copied")

"""The peers: a bare loop that writes the same rows to the same tables with the driver's executemany, a
transaction a batch."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.types.json import Json
from sqlalchemy import JSON, Table, make_url

from bench.ingest.recorded import Rows

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

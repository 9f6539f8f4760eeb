"""A row of the board by its primary key: looked up, written anew, changed."""

from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, RowMapping, Table, and_, insert, select, update

from monitor.database.bulk import Row as Row
from monitor.events import Event
from monitor.events.data import Data

D = TypeVar("D", bound=Data)
Told: TypeAlias = tuple[int, Event, D]
"""An event that has just been logged: its seq, itself, its data by its type."""


def at(table: Table, key: Row) -> Any:
    return and_(*(table.c[name] == value for name, value in key.items()))


def find(connection: Connection, table: Table, key: Row) -> RowMapping | None:
    return connection.execute(select(table).where(at(table, key))).mappings().one_or_none()


def put(connection: Connection, table: Table, key: Row, row: Row, old: RowMapping | None) -> None:
    if old is None:
        connection.execute(insert(table).values({**key, **row}))
    else:
        connection.execute(update(table).where(at(table, key)).values(row))

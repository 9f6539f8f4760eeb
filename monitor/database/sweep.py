"""Forgetting old rows, some a transaction, so that ingest never waits long behind it.

On PostgreSQL what another transaction has locked is skipped (SKIP LOCKED): it is in use, and the next look
comes. On SQLite a transaction is the only writer.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, select, tuple_

BATCH = 1_000  # rows in one transaction: some milliseconds

Key = tuple[Any, ...]
"""A primary key, or () for the beginning of a table."""


@dataclass(frozen=True)
class Swept:
    gone: int
    """Rows that are forgotten."""
    after: Key | None
    """Where to go on; None: there is no more."""


def walk(
    connection: Connection,
    table: Table,
    after: Key,
    old: ColumnElement[bool],
    young: ColumnElement[bool] | None = None,
) -> Swept:
    """Look at the next BATCH rows behind a primary key and forget those that are `old`: where no index tells
    which they are. The walk ends at a row that is `young`, where keys grow with time."""
    keys = list(table.primary_key.columns)
    behind = [tuple_(*keys) > tuple_(*after)] if after else []
    page = select(*keys, *([young.label("young")] if young is not None else []))
    rows = connection.execute(page.where(*behind).order_by(*keys).limit(BATCH)).all()
    if not rows:
        return Swept(0, None)
    last = tuple(rows[-1])[: len(keys)]
    here = select(*keys).where(*behind, tuple_(*keys) <= tuple_(*last), old)
    gone = connection.execute(delete(table).where(_among(table, here))).rowcount
    is_over = len(rows) < BATCH or (young is not None and rows[-1].young)
    return Swept(gone, None if is_over else last)


def oldest(
    connection: Connection, table: Table, order: ColumnElement[Any], *old: ColumnElement[bool]
) -> Swept:
    """Forget the first BATCH rows that are `old`, in an order that an index gives."""
    keys = list(table.primary_key.columns)
    some = select(*keys).where(*old).order_by(order).limit(BATCH)
    gone = connection.execute(delete(table).where(_among(table, some))).rowcount
    return Swept(gone, () if gone == BATCH else None)


def _among(table: Table, some: Any) -> ColumnElement[bool]:
    keys = tuple_(*table.primary_key.columns)
    return keys.in_(some.with_for_update(skip_locked=True, of=table))

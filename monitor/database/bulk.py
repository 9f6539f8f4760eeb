"""Many rows into one table, or many looked up in it, by one statement that is made once.

Odd on purpose: rows go to the driver as tuples, past SQLAlchemy's own way through a list of dictionaries,
which takes longer for a row than SQLite takes to write it. Keys go as one JSON value, so that the statement
is the same however many they are: `(a, b) IN (…)` has SQLite read the whole table, and a long OR has to be
made and parsed anew each time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    cast,
    select,
)

from monitor.database.prepared import WORDS, Convert, Make, Prepared, bind, on_driver
from monitor.database.prepared import Row as Row

_KEYS = "keys"


class Write:
    """One INSERT; `make(insert)` says what it does on a conflict. Its only parameters are columns."""

    def __init__(self, table: Table, make: Make, columns: Sequence[str] = ()) -> None:
        """`columns`: those that rows give; all of them where none is named."""
        self._prepared = {
            name: _Insert.of(
                make(words.insert), [table.c[name] for name in columns or table.c.keys()], words.dialect
            )
            for name, words in WORDS.items()
        }

    def rows(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Write them in their order, a later one upon an earlier one; answers how many were written. Each has
        a value for each column."""
        if not rows:
            return 0
        prepared = self._prepared[connection.dialect.name]
        cursor = on_driver(connection, prepared.text, prepared.bound(rows), many=len(rows) > 1)
        return int(cursor.rowcount)


@dataclass(frozen=True)
class _Insert:
    text: str
    columns: tuple[tuple[str, Convert | None], ...]
    """In the statement's order, each with what makes the driver's value of ours."""

    @classmethod
    def of(cls, statement: Any, columns: Sequence[Column[Any]], dialect: Dialect) -> "_Insert":
        compiled = statement.compile(dialect=dialect, column_keys=[column.name for column in columns])
        converts = {column.name: bind(column.type, dialect) for column in columns}
        return cls(str(compiled), tuple((name, converts[name]) for name in compiled.positiontup))

    def bound(self, rows: Sequence[Row]) -> Any:
        """The driver's parameters: of one row, or of many."""
        columns = [_column(name, convert, rows) for name, convert in self.columns]
        bound = list(zip(*columns, strict=True))
        return bound if len(rows) > 1 else bound[0]


def _column(name: str, convert: Convert | None, rows: Sequence[Row]) -> Iterable[Any]:
    values = map(itemgetter(name), rows)
    return values if convert is None else _converted(convert, values)


def _converted(convert: Convert, values: Iterable[Any]) -> Iterator[Any]:
    """Each once where it comes again and again: a batch is received at one moment."""
    before = after = None
    for value in values:
        if value is not before:
            before, after = value, None if value is None else convert(value)
        yield after


def plain(table: Table) -> Make:
    """Nothing but INSERT."""
    return lambda insert: insert(table)


def replacing(table: Table, where: Callable[[Any], Any]) -> Make:
    """A row that is there gives way to a new one where `where`, of the new one, says so."""

    def make(insert: Any) -> Any:
        put = insert(table)
        changed = {column.name: put.excluded[column.name] for column in table.c if not column.primary_key}
        return put.on_conflict_do_update(
            index_elements=table.primary_key, set_=changed, where=where(put.excluded)
        )

    return make


class LookUp:
    """Rows of a table at many keys: values of some of its columns, which begin its primary key or an index.

    `columns`: those that are read; all of them where none is named. `where`: which rows besides; by `!=` and
    the like, or SQLite may take an index on it instead of the keys'.
    """

    def __init__(
        self,
        table: Table,
        names: Sequence[str],
        *where: ColumnElement[bool],
        columns: Sequence[str] = (),
    ) -> None:
        read = select(*(table.c[name] for name in columns or table.c.keys())).where(*where)
        self._prepared = {
            name: _by_keys(Prepared.of(_at(read, table, names, words.each), words.dialect), name)
            for name, words in WORDS.items()
        }

    def rows(self, connection: Connection, keys: Iterable[Sequence[Any]]) -> list[Row]:
        """Those that are there, in no order."""
        wanted = list(keys)  # tuples become JSON's arrays too
        return self._prepared[connection.dialect.name].rows(connection, {_KEYS: wanted}) if wanted else []


def _by_keys(prepared: Prepared, dialect: str) -> Prepared:
    """SQLite keeps the order of a CROSS JOIN: the keys, and a look-up of each. Else it may go through all
    rows of the table that `where` leaves, and through the keys for each of them."""
    if dialect != "sqlite":
        return prepared
    return replace(prepared, text=prepared.text.replace(" JOIN ", " CROSS JOIN "))


def _at(read: Select[Any], table: Table, names: Sequence[str], each: Callable[..., Any]) -> Select[Any]:
    wanted = each(bindparam(_KEYS, type_=JSON)).table_valued(Column("value", JSON), name="wanted")
    at = (table.c[name] == _part(wanted.c.value[index], table.c[name]) for index, name in enumerate(names))
    return read.select_from(wanted.join(table, and_(*at)))


def _part(value: Any, column: Column[Any]) -> ColumnElement[Any]:
    return cast(value.as_string(), Integer) if isinstance(column.type, Integer) else value.as_string()

"""Many rows into one table, or many looked up in it, by one statement that is made once.

Odd on purpose: rows go to the driver as tuples, past SQLAlchemy's own way through a list of dictionaries,
which takes longer for a row than SQLite takes to write it. Keys go as one JSON value, so that the statement
is the same however many they are: `(a, b) IN (…)` has SQLite read the whole table, and a long OR has to be
made and parsed anew each time.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    RowMapping,
    Select,
    Table,
    and_,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]
Make = Callable[[Any], Any]
"""Makes a statement, of the dialect's own `insert`."""

_DIALECTS: dict[str, tuple[Any, Dialect]] = {
    "sqlite": (sqlite.insert, sqlite.dialect(paramstyle="qmark")),
    "postgresql": (postgresql.insert, postgresql.psycopg.dialect(paramstyle="format")),  # type: ignore[no-untyped-call]
}
_KEYS = "keys"


@dataclass(frozen=True)
class _Prepared:
    text: str
    values: Callable[[Row], tuple[Any, ...]]
    """A row's values, in the statement's order."""
    converted: tuple[tuple[str, Callable[[Any], Any]], ...]
    """The columns whose values the driver takes in another form."""

    def bound(self, row: Row) -> tuple[Any, ...]:
        for name, convert in self.converted:
            row[name] = convert(row[name])
        return self.values(row)


class Write:
    """One INSERT; `make(insert)` says what it does on a conflict. Its only parameters are columns."""

    def __init__(self, table: Table, make: Make, columns: Sequence[Column[Any]] | None = None) -> None:
        self._columns = {column.name: column for column in columns or table.c}
        self._prepared = {name: self._prepare(make, *both) for name, both in _DIALECTS.items()}

    def rows(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Write them in their order, a later one upon an earlier one. Each has a value for each column; the
        dictionaries are used up."""
        if rows:
            prepared = self._prepared[connection.dialect.name]
            connection.exec_driver_sql(prepared.text, [prepared.bound(row) for row in rows])

    def _prepare(self, make: Make, insert: Any, dialect: Dialect) -> _Prepared:
        compiled = make(insert).compile(dialect=dialect, column_keys=list(self._columns))
        names = compiled.positiontup
        converted = (
            (name, column.type.dialect_impl(dialect).bind_processor(dialect))
            for name, column in self._columns.items()
        )
        return _Prepared(
            str(compiled),
            itemgetter(*names),
            tuple((name, convert) for name, convert in converted if convert),
        )


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

    `columns`: those that are read; all of them where none is named. `where`: which rows besides.
    """

    def __init__(
        self,
        table: Table,
        names: Sequence[str],
        *where: ColumnElement[bool],
        columns: Sequence[str] = (),
    ) -> None:
        read = select(*(table.c[name] for name in columns or table.c.keys())).where(*where)
        self._statements = {
            "sqlite": _at(read, table, names, func.json_each),
            "postgresql": _at(read, table, names, func.json_array_elements),
        }

    def rows(self, connection: Connection, keys: Iterable[Sequence[Any]]) -> Iterable[RowMapping]:
        """Those that are there, in no order."""
        wanted = [list(key) for key in keys]
        if not wanted:
            return ()
        return connection.execute(self._statements[connection.dialect.name], {_KEYS: wanted}).mappings()


def _at(read: Select[Any], table: Table, names: Sequence[str], each: Callable[..., Any]) -> Select[Any]:
    wanted = each(bindparam(_KEYS, type_=JSON)).table_valued(Column("value", JSON), name="wanted")
    at = (table.c[name] == _part(wanted.c.value[index], table.c[name]) for index, name in enumerate(names))
    return read.select_from(wanted.join(table, and_(*at)))


def _part(value: Any, column: Column[Any]) -> ColumnElement[Any]:
    return cast(value.as_string(), Integer) if isinstance(column.type, Integer) else value.as_string()

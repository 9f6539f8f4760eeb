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
    Select,
    Table,
    and_,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

Row = dict[str, Any]
Make = Callable[[Any], Any]
"""Makes a statement, of the dialect's own `insert`."""

Convert = Callable[[Any], Any]

_POSTGRESQL: Dialect = postgresql.psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
_DIALECTS: dict[str, tuple[Any, Any, Dialect]] = {
    "sqlite": (sqlite.insert, func.json_each, sqlite.dialect(paramstyle="qmark")),
    "postgresql": (postgresql.insert, func.json_array_elements, _POSTGRESQL),
}
"""Of each database: its insert, what makes rows of a JSON array, how its driver takes statements."""
_KEYS = "keys"


class Write:
    """One INSERT; `make(insert)` says what it does on a conflict. Its only parameters are columns."""

    def __init__(self, table: Table, make: Make, columns: Sequence[str] = ()) -> None:
        """`columns`: those that rows give; all of them where none is named."""
        self._prepared = {
            name: _Insert.of(make(insert), [table.c[name] for name in columns or table.c.keys()], dialect)
            for name, (insert, _, dialect) in _DIALECTS.items()
        }

    def rows(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Write them in their order, a later one upon an earlier one. Each has a value for each column; the
        dictionaries are used up."""
        if rows:
            prepared = self._prepared[connection.dialect.name]
            connection.exec_driver_sql(prepared.text, [prepared.bound(row) for row in rows])


@dataclass(frozen=True)
class _Insert:
    text: str
    values: Callable[[Row], tuple[Any, ...]]
    """A row's values, in the statement's order."""
    converted: tuple[tuple[str, Convert], ...]
    """The columns whose values the driver takes in another form."""

    @classmethod
    def of(cls, statement: Any, columns: Sequence[Column[Any]], dialect: Dialect) -> "_Insert":
        compiled = statement.compile(dialect=dialect, column_keys=[column.name for column in columns])
        converted = ((column.name, _bind(column.type, dialect)) for column in columns)
        given = tuple((name, convert) for name, convert in converted if convert)
        return cls(str(compiled), itemgetter(*compiled.positiontup), given)

    def bound(self, row: Row) -> tuple[Any, ...]:
        for name, convert in self.converted:
            if row[name] is not None:
                row[name] = convert(row[name])
        return self.values(row)


def _bind(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


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
            name: _Select.of(_at(read, table, names, each), dialect)
            for name, (_, each, dialect) in _DIALECTS.items()
        }

    def rows(self, connection: Connection, keys: Iterable[Sequence[Any]]) -> list[Row]:
        """Those that are there, in no order."""
        wanted = [list(key) for key in keys]
        return self._prepared[connection.dialect.name].rows(connection, wanted) if wanted else []


@dataclass(frozen=True)
class _Select:
    text: str
    parameters: Callable[[list[list[Any]]], tuple[Any, ...]]
    names: tuple[str, ...]
    converted: tuple[tuple[str, Convert], ...]
    """The columns whose values the driver gives in another form."""

    @classmethod
    def of(cls, statement: Select[Any], dialect: Dialect) -> "_Select":
        compiled: Any = statement.compile(dialect=dialect)
        bind = {name: _bind(parameter.type, dialect) for name, parameter in compiled.binds.items()}
        fixed = [(name, compiled.params[name]) for name in compiled.positiontup]

        def parameters(keys: list[list[Any]]) -> tuple[Any, ...]:
            values = ((bind[name], keys if name == _KEYS else value) for name, value in fixed)
            return tuple(convert(value) if convert else value for convert, value in values)

        columns = statement.selected_columns
        converted = (
            (column.name, column.type.dialect_impl(dialect).result_processor(dialect, None))
            for column in columns
        )
        given = tuple((name, convert) for name, convert in converted if convert)
        # SQLite keeps the order of a CROSS JOIN: the keys, and a look-up of each. Else it may go through all
        # rows of the table that `where` leaves, and through the keys for each of them.
        text = str(compiled).replace(" JOIN ", " CROSS JOIN ") if dialect.name == "sqlite" else str(compiled)
        return cls(text, parameters, tuple(columns.keys()), given)

    def rows(self, connection: Connection, keys: list[list[Any]]) -> list[Row]:
        found = connection.exec_driver_sql(self.text, self.parameters(keys))
        rows = [dict(zip(self.names, row, strict=True)) for row in found]
        for name, convert in self.converted:
            for row in rows:
                row[name] = convert(row[name])
        return rows


def _at(read: Select[Any], table: Table, names: Sequence[str], each: Callable[..., Any]) -> Select[Any]:
    wanted = each(bindparam(_KEYS, type_=JSON)).table_valued(Column("value", JSON), name="wanted")
    at = (table.c[name] == _part(wanted.c.value[index], table.c[name]) for index, name in enumerate(names))
    return read.select_from(wanted.join(table, and_(*at)))


def _part(value: Any, column: Column[Any]) -> ColumnElement[Any]:
    return cast(value.as_string(), Integer) if isinstance(column.type, Integer) else value.as_string()

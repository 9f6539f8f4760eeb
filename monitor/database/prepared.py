"""Statements that are made once, and go to the driver past SQLAlchemy's own way, which takes ten times as
long as SQLite does to answer one of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Dialect, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

Row = dict[str, Any]
Make = Callable[[Any], Any]
"""Makes a statement, of the dialect's own `insert`."""
Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Words:
    """One database's own."""

    insert: Any
    each: Any
    """Makes rows of a JSON array."""
    dialect: Dialect
    """How its driver takes statements."""


_POSTGRESQL: Dialect = postgresql.psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
WORDS = {
    "sqlite": Words(sqlite.insert, func.json_each, sqlite.dialect(paramstyle="qmark")),
    "postgresql": Words(postgresql.insert, func.json_array_elements, _POSTGRESQL),
}


def on_driver(connection: Connection, text: str, parameters: Sequence[Any], many: bool = False) -> Any:
    """Run a statement in the connection's transaction; answers the driver's cursor.

    Raises SQLAlchemy's errors, as if it had gone through it.
    """
    cursor: Any = connection.connection.cursor()
    try:
        (cursor.executemany if many else cursor.execute)(text, parameters)
    except Exception as error:
        raise _told_by_sqlalchemy(connection, cursor, text, error) from error
    return cursor


def _told_by_sqlalchemy(connection: Connection, cursor: Any, text: str, error: Exception) -> Exception:
    dialect = connection.dialect
    dbapi: Any = dialect.dbapi
    if not isinstance(error, dbapi.Error):
        return error
    is_gone = dialect.is_disconnect(error, connection.connection, cursor)
    if is_gone:
        connection.invalidate(error)
    made = DBAPIError.instance(text, None, error, dbapi.Error, True, is_gone, dialect)
    assert isinstance(made, Exception)  # noqa: S101 (said for mypy: the driver's own was one)
    return made


@dataclass(frozen=True)
class Prepared:
    """A statement in one database's words."""

    text: str
    parameters: tuple[tuple[str | None, Any], ...]
    """Each in order: its name and what converts it, or None and its value, which the statement itself has."""
    names: tuple[str, ...]
    converted: tuple[tuple[str, Convert], ...]
    """The columns whose values the driver gives in another form."""

    @classmethod
    def of(cls, statement: Any, dialect: Dialect, columns: Iterable[str] | None = None) -> "Prepared":
        """`columns`: those that an INSERT gives."""
        compiled = statement.compile(dialect=dialect, column_keys=columns and list(columns))
        parameters = (_parameter(compiled.binds[name], dialect) for name in compiled.positiontup)
        read = statement.selected_columns if statement.is_select else statement.exported_columns
        results = ((one.name, _result(one.type, dialect)) for one in read)
        return cls(
            str(compiled),
            tuple(parameters),
            tuple(one.name for one in read),
            tuple((name, convert) for name, convert in results if convert),
        )

    def rows(self, connection: Connection, values: Row) -> list[Row]:
        given = tuple(
            other if name is None else _converted(other, values[name]) for name, other in self.parameters
        )
        found = on_driver(connection, self.text, given)
        if not self.names:
            return []
        rows = [dict(zip(self.names, row, strict=True)) for row in found]
        for name, convert in self.converted:
            for row in rows:
                row[name] = convert(row[name])
        return rows


def _parameter(parameter: BindParameter[Any], dialect: Dialect) -> tuple[str | None, Any]:
    convert = bind(parameter.type, dialect)
    if parameter.required:
        return parameter.key, convert
    return None, _converted(convert, parameter.value)


def _converted(convert: Convert | None, value: Any) -> Any:
    return value if convert is None or value is None else convert(value)


def bind(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _result(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)


class Statement:
    """One statement. Its parameters: what `bindparam` names in it, and the columns that an INSERT gives."""

    def __init__(self, make: Make, columns: Sequence[str] | None = None) -> None:
        """`make(insert)` makes it, of the dialect's own `insert`."""
        self._prepared = {
            name: Prepared.of(make(words.insert), words.dialect, columns) for name, words in WORDS.items()
        }

    def rows(self, connection: Connection, **values: Any) -> list[Row]:
        """What it answers."""
        return self._prepared[connection.dialect.name].rows(connection, values)

    def first(self, connection: Connection, **values: Any) -> Row | None:
        """The first row that it answers, or None."""
        found = self.rows(connection, **values)
        return found[0] if found else None

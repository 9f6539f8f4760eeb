"""The prepared statements, bulk writes, look-ups by key and deletes in batches.

`Statement` is compiled once and goes straight to the driver. SQLAlchemy's own way to the driver takes ten
times as long as SQLite takes to answer such a statement.

`BulkInsert` writes many rows by one compiled statement. Rows go to the driver as tuples, which is odd on
purpose. SQLAlchemy's way through a list of dictionaries takes longer for a row than SQLite takes to write the
row.

`KeyLookup` reads the rows at many keys by one compiled statement. All keys go as one JSON value, so that the
statement is the same for any number of keys. With `(a, b) IN (…)` SQLite reads the whole table, and a long OR
has to be built and parsed anew each time.

`take` and `fit` bound a page of a list in bytes as well as in rows. `take` reads no more than a page needs,
and `fit` cuts the page. Both measure a row by `size_of`.

`walk` and `oldest` delete old rows, a batch in each transaction, so that ingest never waits long for them. On
PostgreSQL both functions skip rows that another transaction has locked (SKIP LOCKED). Such a row is in use,
and the next sweep comes. On SQLite a transaction is the only writer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from itertools import islice
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    BindParameter,
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
    delete,
    func,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

Row = dict[str, Any]
Make = Callable[[Any], Any]
"""Makes a statement, of the dialect's own `insert`."""
Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class DatabaseDialect:
    """The parts of a statement that differ from database to database."""

    insert: Any
    json_rows: Any
    """Makes rows of a JSON array."""
    dialect: Dialect
    """The form in which the driver takes statements."""


_POSTGRESQL: Dialect = postgresql.psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
DIALECTS = {
    "sqlite": DatabaseDialect(sqlite.insert, func.json_each, sqlite.dialect(paramstyle="qmark")),
    "postgresql": DatabaseDialect(postgresql.insert, func.json_array_elements, _POSTGRESQL),
}


def on_driver(connection: Connection, text: str, parameters: Sequence[Any], many: bool = False) -> Any:
    """Run a statement in the connection's transaction and return the driver's cursor.

    Raises SQLAlchemy's errors, as if the statement had gone through SQLAlchemy."""
    cursor: Any = connection.connection.cursor()
    try:
        (cursor.executemany if many else cursor.execute)(text, parameters)
    except Exception as error:
        raise _wrap_driver_error(connection, cursor, text, error) from error
    return cursor


def _wrap_driver_error(connection: Connection, cursor: Any, text: str, error: Exception) -> Exception:
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
    def compile(cls, statement: Any, dialect: Dialect, columns: Iterable[str] | None = None) -> "Prepared":
        """Compile a statement for a dialect. `columns` are the columns that an INSERT gives."""
        compiled = statement.compile(dialect=dialect, column_keys=columns and list(columns))
        parameters = (_parameter(compiled.binds[name], dialect) for name in compiled.positiontup)
        read = statement.selected_columns if statement.is_select else statement.exported_columns
        results = ((column.name, _result(column.type, dialect)) for column in read)
        return cls(
            str(compiled),
            tuple(parameters),
            tuple(column.name for column in read),
            tuple((name, convert) for name, convert in results if convert),
        )

    def rows(self, connection: Connection, values: Row) -> list[Row]:
        """Run the statement with these values and return its rows."""
        parameters = tuple(
            other if name is None else _convert(other, values[name]) for name, other in self.parameters
        )
        found = on_driver(connection, self.text, parameters)
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
    return None, _convert(convert, parameter.value)


def _convert(convert: Convert | None, value: Any) -> Any:
    return value if convert is None or value is None else convert(value)


def bind(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """Return the function that converts a value of this type for the driver, or None."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _result(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)


class Statement:
    """A statement.
    Its parameters are the names of `bindparam` in it, and the columns that an INSERT gives."""

    def __init__(self, make: Make, columns: Sequence[str] | None = None) -> None:
        """Compile the statement for each dialect. `make(insert)` makes it with the dialect's own `insert`."""
        self._prepared = {
            name: Prepared.compile(make(dialect_names.insert), dialect_names.dialect, columns)
            for name, dialect_names in DIALECTS.items()
        }

    def rows(self, connection: Connection, **values: Any) -> list[Row]:
        """Run the statement and return its rows."""
        return self._prepared[connection.dialect.name].rows(connection, values)

    def first(self, connection: Connection, **values: Any) -> Row | None:
        """Run the statement and return its first row, or None."""
        found = self.rows(connection, **values)
        return found[0] if found else None


_KEYS = "keys"


class BulkInsert:
    """An INSERT whose only parameters are columns. `make(insert)` says what happens on a conflict."""

    def __init__(self, table: Table, make: Make, columns: Sequence[str] = ()) -> None:
        """Compile the INSERT for each dialect.
        `columns` are those that rows give, or all of them if none is named."""
        self._prepared = {
            name: _Insert.compile(
                make(dialect_names.insert),
                [table.c[name] for name in columns or table.c.keys()],
                dialect_names.dialect,
            )
            for name, dialect_names in DIALECTS.items()
        }

    def rows(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Write the rows in order, a later one over an earlier one, and return how many were written.
        Each row has a value for each column."""
        if not rows:
            return 0
        prepared = self._prepared[connection.dialect.name]
        cursor = on_driver(connection, prepared.text, prepared.bound(rows), many=len(rows) > 1)
        return int(cursor.rowcount)


@dataclass(frozen=True)
class _Insert:
    text: str
    columns: tuple[tuple[str, Convert | None], ...]
    """The columns in the statement's order, each with the conversion to the driver's value."""

    @classmethod
    def compile(cls, statement: Any, columns: Sequence[Column[Any]], dialect: Dialect) -> "_Insert":
        compiled = statement.compile(dialect=dialect, column_keys=[column.name for column in columns])
        converts = {column.name: bind(column.type, dialect) for column in columns}
        return cls(str(compiled), tuple((name, converts[name]) for name in compiled.positiontup))

    def bound(self, rows: Sequence[Row]) -> Any:
        """Return the driver's parameters for one row, or for many."""
        columns = [_column(name, convert, rows) for name, convert in self.columns]
        bound = list(zip(*columns, strict=True))
        return bound if len(rows) > 1 else bound[0]


def _column(name: str, convert: Convert | None, rows: Sequence[Row]) -> Iterable[Any]:
    values = map(itemgetter(name), rows)
    return values if convert is None else _convert_all(convert, values)


def _convert_all(convert: Convert, values: Iterable[Any]) -> Iterator[Any]:
    """Convert the values.
    A value that repeats is converted once, because a batch is received at one moment."""
    before = after = None
    for value in values:
        if value is not before:
            before, after = value, None if value is None else convert(value)
        yield after


def plain(table: Table) -> Make:
    """Return a plain INSERT."""
    return lambda insert: insert(table)


def replacing(table: Table, where: Callable[[Any], Any]) -> Make:
    """Return an INSERT that replaces an existing row if `where`, of the new row, is true."""

    def make(insert: Any) -> Any:
        put = insert(table)
        changed = {column.name: put.excluded[column.name] for column in table.c if not column.primary_key}
        return put.on_conflict_do_update(
            index_elements=table.primary_key, set_=changed, where=where(put.excluded)
        )

    return make


class KeyLookup:
    """A look-up of rows at many keys.
    A key holds some columns, which begin the primary key or an index.

    `columns` are those that are read, or all of them if none is named. `limit` is how many rows are enough.
    `where` restricts the rows. Write it with `!=` and the like, or SQLite may take an index on it instead of
    the keys'."""

    def __init__(
        self,
        table: Table,
        names: Sequence[str],
        *where: ColumnElement[bool],
        columns: Sequence[str] = (),
        limit: int | None = None,
    ) -> None:
        read = select(*(table.c[name] for name in columns or table.c.keys())).where(*where).limit(limit)
        self._prepared = {
            name: _by_keys(
                Prepared.compile(
                    _join_keys(read, table, names, dialect_names.json_rows), dialect_names.dialect
                ),
                name,
            )
            for name, dialect_names in DIALECTS.items()
        }

    def rows(self, connection: Connection, keys: Iterable[Sequence[Any]]) -> list[Row]:
        """Return the rows that exist, in no order."""
        key_rows = list(keys)  # tuples become JSON's arrays too
        return self._prepared[connection.dialect.name].rows(connection, {_KEYS: key_rows}) if key_rows else []


def _by_keys(prepared: Prepared, dialect: str) -> Prepared:
    """Return the look-up with SQLite's CROSS JOIN, which keeps the order: the keys, and a look-up of each.
    Otherwise SQLite may go through all rows of the table that `where` leaves, and through the keys for each
    of them."""
    if dialect != "sqlite":
        return prepared
    return replace(prepared, text=prepared.text.replace(" JOIN ", " CROSS JOIN "))


def _join_keys(
    read: Select[Any], table: Table, names: Sequence[str], table_function: Callable[..., Any]
) -> Select[Any]:
    keys_table = table_function(bindparam(_KEYS, type_=JSON)).table_valued(
        Column("value", JSON), name="wanted"
    )
    at = (
        table.c[name] == _part(keys_table.c.value[index], table.c[name]) for index, name in enumerate(names)
    )
    return read.select_from(keys_table.join(table, and_(*at)))


def _part(value: Any, column: Column[Any]) -> ColumnElement[Any]:
    return cast(value.as_string(), Integer) if isinstance(column.type, Integer) else value.as_string()


READ_TOGETHER = 20  # queries in one statement: it is compiled anew for each number of them


def read_each(connection: Connection, queries: Sequence[Select[Any]]) -> list[Row]:
    """Return the rows of several queries for the same columns, each with an order and a limit of its own."""
    found: list[Row] = []
    for start in range(0, len(queries), READ_TOGETHER):
        some = queries[start : start + READ_TOGETHER]
        statement = union_all(*(select(query.subquery()) for query in some))
        found += map(dict, connection.execute(statement).mappings())
    return found


MAX_PAGE_BYTES = 1024 * 1024
"""The bytes of a page's rows. Writing so much holds up the event loop for some 10 ms. A longer row makes a
page of its own."""
FETCHED = 20  # rows that a database hands over at once where a page may end before its last row
SCALAR_BYTES = 32  # of a number or a moment, with its comma
ESCAPED = "&<>'\""
ESCAPED_BYTES = 4  # additional bytes of an escaped sign in HTML
T = TypeVar("T")


def size_of(value: Any) -> int:
    """Return how many bytes a value takes at most in an answer, as JSON or once as text of a page."""
    if isinstance(value, str):
        escaped = sum(map(value.count, ESCAPED))
        return len(encode_basestring(value).encode()) + ESCAPED_BYTES * escaped
    if isinstance(value, Mapping):
        return sum(size_of(name) + size_of(item) for name, item in value.items())
    if isinstance(value, (list, tuple, frozenset)):
        return SCALAR_BYTES + sum(map(size_of, value))
    if is_dataclass(value) or isinstance(value, BaseModel):
        return size_of(vars(value))
    return SCALAR_BYTES


def take(rows: Iterable[T], most: int = MAX_PAGE_BYTES) -> list[T]:
    """Read the first rows, up to the one with which they are longer than a page. `fit` cuts that one off."""
    taken, size = [], 0
    for row in rows:
        taken.append(row)
        size += size_of(row)
        if size > most and len(taken) > 1:
            break
    return taken


def fit(rows: Iterable[T], limit: int, most: int = MAX_PAGE_BYTES) -> tuple[list[T], bool]:
    """Return the first rows, at most `limit` and as many as a page holds, and True if more follow."""
    taken = take(islice(rows, limit + 1), most)
    if len(taken) == 1:
        return taken, False
    has_more = len(taken) > limit or sum(map(size_of, taken)) > most
    return (taken[:-1], True) if has_more else (taken, False)


BATCH = 1_000  # rows in one transaction: some milliseconds

Key = tuple[Any, ...]
"""A primary key, or () for the beginning of a table."""


@dataclass(frozen=True)
class SweepResult:
    """The result of one step of deleting old rows."""

    gone: int
    """Rows that are forgotten."""
    after: Key | None
    """The key at which to go on. None means that no row follows."""


def walk(
    connection: Connection,
    table: Table,
    after: Key,
    old: ColumnElement[bool],
    young: ColumnElement[bool] | None = None,
) -> SweepResult:
    """Look at the next BATCH rows behind a primary key and delete those that are `old`.
    This serves tables without an index that finds them. The walk ends at a row that is `young`, if keys grow
    with time."""
    keys = list(table.primary_key.columns)
    behind = [tuple_(*keys) > tuple_(*after)] if after else []
    page = select(*keys, *([young.label("young")] if young is not None else []))
    rows = connection.execute(page.where(*behind).order_by(*keys).limit(BATCH)).all()
    if not rows:
        return SweepResult(0, None)
    last = tuple(rows[-1])[: len(keys)]
    services = select(*keys).where(*behind, tuple_(*keys) <= tuple_(*last), old)
    gone = connection.execute(delete(table).where(_match_keys(table, services))).rowcount
    is_over = len(rows) < BATCH or (young is not None and rows[-1].young)
    return SweepResult(gone, None if is_over else last)


def oldest(
    connection: Connection, table: Table, order: ColumnElement[Any], *old: ColumnElement[bool]
) -> SweepResult:
    """Forget the first BATCH rows that are `old`, in an order that an index gives."""
    keys = list(table.primary_key.columns)
    some = select(*keys).where(*old).order_by(order).limit(BATCH)
    gone = connection.execute(delete(table).where(_match_keys(table, some))).rowcount
    return SweepResult(gone, () if gone == BATCH else None)


def _match_keys(table: Table, some: Any) -> ColumnElement[bool]:
    keys = tuple_(*table.primary_key.columns)
    return keys.in_(some.with_for_update(skip_locked=True, of=table))

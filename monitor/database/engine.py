"""The connections, transactions and savepoints of the database.

`Database` runs blocking SQLAlchemy Core in threads of its own, so that the event loop never waits.

SQLite has one writer at a time. Writes therefore queue for one thread of the monitor instead of for SQLite's
lock. `BEGIN IMMEDIATE` takes the lock at the start of a transaction, when waiting is still safe, and not in
the middle.

`savepoint` marks a part of a transaction that may fail by itself. The function bypasses SQLAlchemy's
`begin_nested` on purpose, because `begin_nested` takes longer than deciding about ten events.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from monitor.database import postgresql
from monitor.database.statements import on_driver
from monitor.errors import SettingsError

READERS = 4  # threads; pages and feeds read, and two cores are the smallest machine
POSTGRES_WRITERS = (
    2  # one waits, maybe behind another replica, to append to the log; mails are settled meanwhile
)
POOL_SIZE = READERS + POSTGRES_WRITERS
STATEMENT_TIMEOUT = 30.0  # seconds: no statement of a monitor takes a tenth of it
LOOK_EVERY = 100_000  # of SQLite's instructions, a millisecond or two: its clock is looked at as often
CANCELLED = "57014"  # PostgreSQL's code of a statement that it ended
BUSY_TIMEOUT_MS = 10_000  # a migration or a backup may hold SQLite's lock for a while
APPLICATION = "windsock"

T = TypeVar("T")

Prove = Callable[[Connection], None]
"""Asks a new connection, in transactions of its own, whether its database may be used; raises where it cannot
tell."""
_PROVEN = "windsock_proven"


class Database:
    """Runs functions of a Connection, each in one transaction, off the event loop."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = POOL_SIZE,
        statement_timeout: float = STATEMENT_TIMEOUT,
        name: str = APPLICATION,
    ) -> None:
        """On PostgreSQL: `pool_size` connections, of which POSTGRES_WRITERS write and the rest read;
        `name` is what pg_stat_activity shows. `statement_timeout`: seconds for a statement on PostgreSQL, and
        for all that one `read` asks on SQLite. Raises SettingsError."""
        self.url = _read(url)
        self.name = name
        self.is_shared = self.url.get_backend_name() != "sqlite"
        """Whether other monitors may work on it too."""
        self.prove: Prove | None = None
        self._statement_timeout = statement_timeout
        if self.is_shared:
            self.engine = postgresql.make_engine(self.url, name, pool_size, statement_timeout)
        else:
            self.engine = _make_sqlite_engine(self.url)
        writers = POSTGRES_WRITERS if self.is_shared else 1
        readers = pool_size - writers if self.is_shared else READERS
        self.threads = readers + writers
        """On PostgreSQL as many as there are connections: none waits for one, and none lies idle."""
        self._writing = self.engine.execution_options(windsock_write=True)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="db-read")
        self._writer = ThreadPoolExecutor(writers, thread_name_prefix="db-write")

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run the function in a transaction that only reads. Raises OperationalError where it takes too long
        (`is_too_long`)."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_in_time, function)

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run the function in a transaction that is committed when it returns, rolled back when it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self.write_now, function)

    def read_now(self, function: Callable[[Connection], T]) -> T:
        """The same, blocking: for the command line and tests."""
        with self.engine.connect() as connection, self._begin(connection):
            return function(connection)

    def _read_in_time(self, function: Callable[[Connection], T]) -> T:
        """A reader of SQLite holds one of few threads, and no server ends what takes too long."""
        if self.is_shared:
            return self.read_now(function)

        def read(connection: Connection) -> T:
            with _deadline(connection, self._statement_timeout):
                return function(connection)

        return self.read_now(read)

    def write_now(self, function: Callable[[Connection], T]) -> T:
        """The same, blocking: for the command line and tests."""
        with self._writing.connect() as connection, self._begin(connection):
            return function(connection)

    def _begin(self, connection: Connection) -> RootTransaction:
        """The next transaction. A connection is proven before the first."""
        if self.prove and not connection.info.get(_PROVEN):
            self.prove(connection)
            connection.info[_PROVEN] = True
        return connection.begin()

    def apart(self, purpose: str) -> dict[str, Any]:
        """libpq's parameters for a connection beside the pool, of a name of its own."""
        _, parameters = self.engine.dialect.create_connect_args(self.url)
        name = f"{self.name} {purpose}"
        return {**parameters, **postgresql.connect_args(self.url, name, self._statement_timeout)}

    def close(self) -> None:
        """End the threads, after what they are doing, and every connection."""
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()


def _read(url: str) -> URL:
    """Raises SettingsError."""
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):  # the address is not repeated: it may hold a password
        raise SettingsError(
            "WINDSOCK_DATABASE_URL: cannot be read; write postgresql://user:password@host:5432/database, the "
            "password with % for what is special in addresses"
        ) from None
    return found if found.drivername == "sqlite" else postgresql.set_driver(found)


def _make_sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a 202 to the plugin means: it survives a power cut
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _deadline(connection: Connection, seconds: float) -> Iterator[None]:
    """SQLite gives up a statement that still runs so long after this began. Raises OperationalError."""
    driver: Any = connection.connection.driver_connection
    end = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > end, LOOK_EVERY)
    try:
        yield
    except sqlite3.OperationalError as error:  # of a statement past SQLAlchemy's own way (statements.py)
        raise OperationalError("a read", None, error) from error
    finally:
        driver.set_progress_handler(None, 0)


def is_too_long(error: Exception) -> bool:
    """Whether the database gave up a statement because it took too long."""
    if not isinstance(error, OperationalError):
        return False
    return str(error.orig) == "interrupted" or getattr(error.orig, "sqlstate", None) == CANCELLED


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("windsock_write", False)
    on_driver(connection, "BEGIN IMMEDIATE" if writing else "BEGIN", ())


_NAME = "windsock_part"  # an inner one hides an outer one of this name until it is released (both databases)


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """What the block wrote is taken back where it raises; the transaction goes on either way."""
    on_driver(connection, f"SAVEPOINT {_NAME}", ())
    try:
        yield
    except BaseException:
        if not connection.invalidated:  # else there is nobody to tell, and the error says so
            on_driver(connection, f"ROLLBACK TO SAVEPOINT {_NAME}", ())
            on_driver(connection, f"RELEASE SAVEPOINT {_NAME}", ())
        raise
    on_driver(connection, f"RELEASE SAVEPOINT {_NAME}", ())

"""The connections, transactions and savepoints of the database.

`Database` runs blocking SQLAlchemy Core in threads of its own, so that the event loop never waits. What the
monitor itself reads and what users' requests read have different threads, and on PostgreSQL as many
connections: a user with slow requests delays no notification, and no other user (`FairThreads`).

SQLite has one writer at a time. Writes therefore queue for one thread of the monitor instead of for SQLite's
lock. `BEGIN IMMEDIATE` takes the lock at the start of a transaction, when waiting is still safe, and not in
the middle.

`savepoint` marks a part of a transaction that may fail by itself. The function bypasses SQLAlchemy's
`begin_nested` on purpose, because `begin_nested` takes longer than deciding about ten events.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from monitor.concurrency import FairThreads
from monitor.database import postgresql
from monitor.database.statements import on_driver
from monitor.errors import SettingsError

READERS = 3  # threads of the monitor's own reads, each of milliseconds. Two cores are the smallest machine
REQUEST_READERS = 3  # threads of what users' requests and feeds read
SHARE = 2  # of these, for one user: the others find one free
POSTGRES_WRITERS = (
    2  # one waits, maybe behind another replica, to append to the log. Mails are settled meanwhile
)
REQUEST_WRITERS = 1  # of users' requests at once: the monitor's own writes wait behind one of them at most
POOL_SIZE = READERS + REQUEST_READERS + POSTGRES_WRITERS
STATEMENT_TIMEOUT = 30.0  # seconds: no statement of a monitor takes a tenth of it
LOOK_EVERY = 100_000  # of SQLite's instructions, a millisecond or two: its clock is looked at as often
CANCELLED = "57014"  # PostgreSQL's code of a statement that it ended
BUSY_TIMEOUT_MS = 10_000  # a migration or a backup may hold SQLite's lock for a while
MAX_JOURNAL = 64 * 1024**2  # bytes of SQLite's WAL: sixteen times what it has without slow reads
EMPTY_TIMEOUT_MS = 500  # events wait meanwhile: the monitor's own reads take milliseconds
APPLICATION = "windsock"

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Transactions(Protocol):
    """A way to the database: the monitor's own (`Database`), or that of one user's request."""

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run a function that reads, in one transaction."""

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run a function that writes, in one transaction."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run in a thread what is not of the database."""
        ...


Prove = Callable[[Connection], None]
"""A function that checks, in transactions of its own, whether a new connection's database may be used.
Raises if it cannot decide."""
_PROVEN = "windsock_proven"


class Database:
    """The database. It runs functions of a Connection, each in one transaction, off the event loop."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = POOL_SIZE,
        statement_timeout: float = STATEMENT_TIMEOUT,
        name: str = APPLICATION,
    ) -> None:
        """Open the database.
        Raises SettingsError.

        On PostgreSQL, `pool_size` is the number of connections. POSTGRES_WRITERS of them write and the rest
        read, half of those and at most READERS for the monitor itself. `name` is what pg_stat_activity
        shows. `statement_timeout` is the seconds for a statement on PostgreSQL, and for a whole `read` on
        SQLite."""
        self.url = _read(url)
        self.name = name
        self.is_shared = self.url.get_backend_name() != "sqlite"
        """True if other monitors may work on the database too."""
        self.prove: Prove | None = None
        self._statement_timeout = statement_timeout
        if self.is_shared:
            self.engine = postgresql.make_engine(self.url, name, pool_size, statement_timeout)
        else:
            self.engine = _make_sqlite_engine(self.url)
        writers, readers, requests = _divide(pool_size) if self.is_shared else (1, READERS, REQUEST_READERS)
        self.threads = writers + readers + requests
        """On PostgreSQL as many as there are connections: none waits for one, and none lies idle."""
        self._writing = self.engine.execution_options(windsock_write=True)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="db-read")
        self._request_readers = ThreadPoolExecutor(requests, thread_name_prefix="db-request")
        self._writer = ThreadPoolExecutor(writers, thread_name_prefix="db-write")
        share = min(SHARE, requests)
        self._reads = FairThreads(self._request_readers, requests, share)
        self._probes = FairThreads(self._readers, 1, 1)
        self._writes = FairThreads(self._writer, REQUEST_WRITERS, REQUEST_WRITERS)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run the function in a transaction that only reads, for the monitor's own work.
        Raises OperationalError if it takes too long (`is_too_long`)."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_in_time, function)

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run the function in a transaction that is committed when it returns, rolled back when it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self.write_now, function)

    async def run(self, function: Callable[[], T]) -> T:
        """Run in a thread what is not of the database. For the monitor's own work."""
        return await asyncio.to_thread(function)

    async def read_for(self, whose: str, function: Callable[[Connection], T]) -> T:
        """Read for a user's request. If the caller is cancelled, the read ends. Raises Overloaded as well."""
        stop = StopSignal()
        return await self._reads.run(whose, partial(self._read_in_time, function, stop), stop.set)

    async def read_for_feed(self, whose: str, function: Callable[[Connection], T]) -> T:
        """Read for a user's feed.
        Feeds are many, so a user has one such read at once, and waits for as long as that takes."""
        stop = StopSignal()
        return await self._reads.run_patiently(whose, partial(self._read_in_time, function, stop), stop.set)

    async def read_for_probe(self, whose: str, function: Callable[[Connection], T]) -> T:
        """Read the monitor's state for a probe, apart from the monitor's own reads, one probe at once.
        Raises Overloaded too."""
        return await self._probes.run(whose, partial(self._read_in_time, function))

    async def write_for(self, whose: str, function: Callable[[Connection], T]) -> T:
        """Write for a user's request. Raises Overloaded as well."""
        return await self._writes.run(whose, partial(self.write_now, function))

    async def run_for(self, whose: str, function: Callable[[], T]) -> T:
        """Run what else a user's request needs a thread for, in the user's share. Raises Overloaded."""
        return await self._reads.run(whose, function)

    async def shorten_journal(self, limit: int = MAX_JOURNAL) -> None:
        """Empty SQLite's journal (WAL) if it is longer than `limit` bytes.

        SQLite begins the journal anew in a moment without readers. Slow reads that overlap leave no such
        moment, and the journal would take all of the disk. So the reads of requests pause for that moment."""
        if self._measure_journal() > limit:
            async with self._reads.pause():
                await asyncio.get_running_loop().run_in_executor(self._writer, self._empty_journal)

    def _measure_journal(self) -> int:
        journal = Path(f"{self.url.database}-wal")
        return journal.stat().st_size if not self.is_shared and journal.exists() else 0

    def _empty_journal(self) -> None:
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute(f"PRAGMA busy_timeout={EMPTY_TIMEOUT_MS}")
            try:
                is_busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        if is_busy:
            logger.info("SQLite's journal could not be emptied: something reads; it is tried again")

    def read_now(self, function: Callable[[Connection], T]) -> T:
        """Read and block meanwhile: for the command line and tests."""
        with self.engine.connect() as connection, self._begin(connection):
            return function(connection)

    def _read_in_time(self, function: Callable[[Connection], T], stop: "StopSignal | None" = None) -> T:
        """Read with a limit of time.
        A read holds one of few threads, and SQLite has no server that ends a read that takes too long."""
        stop = stop or StopSignal()

        def read(connection: Connection) -> T:
            driver: Any = connection.connection.driver_connection
            connection.info[_STOP] = stop
            try:
                if self.is_shared:
                    with stop.reaching(driver.cancel_safe):
                        return function(connection)
                with _deadline(connection, self._statement_timeout, stop):
                    return function(connection)
            finally:
                del connection.info[_STOP]

        return self.read_now(read)

    def write_now(self, function: Callable[[Connection], T]) -> T:
        """Write and block meanwhile: for the command line and tests."""
        with self._writing.connect() as connection, self._begin(connection):
            return function(connection)

    def _begin(self, connection: Connection) -> RootTransaction:
        """Begin a transaction. A connection is proven before its first."""
        if self.prove and not connection.info.get(_PROVEN):
            self.prove(connection)
            connection.info[_PROVEN] = True
        return connection.begin()

    def apart(self, purpose: str) -> dict[str, Any]:
        """Return libpq's parameters for a connection outside the pool, with a name of its own."""
        _, parameters = self.engine.dialect.create_connect_args(self.url)
        name = f"{self.name} {purpose}"
        return {**parameters, **postgresql.connect_args(self.url, name, self._statement_timeout)}

    def close(self) -> None:
        """End the threads, after what they are doing, and every connection."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._request_readers.shutdown()
        self.engine.dispose()


CANCELS = 10  # requests to end one query
CANCEL_SECONDS = 0.2  # between two of them


class ReadStopped(Exception):
    """The read was not begun, because its result is no longer awaited."""


class StopSignal:
    """The signal that ends a read from another thread, because its result is no longer awaited."""

    def __init__(self) -> None:
        self.is_set = False
        self._lock = Lock()
        self._ended = Event()
        self._cancel: Callable[[], object] | None = None

    def set(self) -> None:
        """End the read: on SQLite within milliseconds, on PostgreSQL by asking the server. May block.

        The server ignores a request that comes just before the query does, so it is asked again."""
        self.is_set = True
        for _ in range(CANCELS):
            with self._lock:  # the connection must not be another's meanwhile
                if self._cancel is None:
                    return
                try:
                    self._cancel()
                except Exception as error:  # noqa: BLE001 (of the driver, which may not be installed)
                    logger.warning("a read that nobody waits for goes on until its deadline: %s", error)
                    return
            if self._ended.wait(CANCEL_SECONDS):
                return

    @contextmanager
    def reaching(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Let `cancel` end what runs in the block. Raise ReadStopped if the signal has been set before."""
        with self._lock:
            if self.is_set:
                raise ReadStopped
            self._cancel = cancel
        try:
            yield
        finally:
            with self._lock:
                self._cancel = None
            self._ended.set()


_STOP = "windsock_stop"


def is_stopped(connection: Connection) -> bool:
    """Return True if the connection's read is no longer awaited."""
    stop = connection.info.get(_STOP)
    return isinstance(stop, StopSignal) and stop.is_set


def _divide(pool_size: int) -> tuple[int, int, int]:
    """Return how many of the connections write, read for the monitor itself, and read for requests."""
    reading = pool_size - POSTGRES_WRITERS
    own = min(READERS, max(1, reading // 2))
    return POSTGRES_WRITERS, own, reading - own


def _read(url: str) -> URL:
    """Parse the database's address. Raises SettingsError."""
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
def _deadline(connection: Connection, seconds: float, stop: StopSignal) -> Iterator[None]:
    """Make SQLite give up a statement that runs longer than this, or that `stop` ends.
    Raises OperationalError."""
    driver: Any = connection.connection.driver_connection
    end = time.monotonic() + seconds
    driver.set_progress_handler(lambda: stop.is_set or time.monotonic() > end, LOOK_EVERY)
    try:
        yield
    except sqlite3.OperationalError as error:  # of a statement past SQLAlchemy's own way (statements.py)
        raise OperationalError("a read", None, error) from error
    finally:
        driver.set_progress_handler(None, 0)


def is_too_long(error: Exception) -> bool:
    """Return True if the database gave up a statement because it took too long."""
    if not isinstance(error, OperationalError):
        return False
    return str(error.orig) == "interrupted" or getattr(error.orig, "sqlstate", None) == CANCELLED


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("windsock_write", False)
    on_driver(connection, "BEGIN IMMEDIATE" if writing else "BEGIN", ())


_NAME = "windsock_part"  # an inner one hides an outer one of this name until it is released (both databases)


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Run the block in a savepoint.
    If the block raises, its writes are rolled back. The transaction goes on either way."""
    on_driver(connection, f"SAVEPOINT {_NAME}", ())
    try:
        yield
    except BaseException:
        if not connection.invalidated:  # else there is no connection to roll back, and the error says so
            on_driver(connection, f"ROLLBACK TO SAVEPOINT {_NAME}", ())
            on_driver(connection, f"RELEASE SAVEPOINT {_NAME}", ())
        raise
    on_driver(connection, f"RELEASE SAVEPOINT {_NAME}", ())

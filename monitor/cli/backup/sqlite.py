"""The backups of SQLite, taken while a monitor runs and put back while none runs.

`take` copies through SQLite's online backup API in one step, which is odd on purpose. A copy in several
steps begins anew whenever the monitor has written in between, so under load it would never end. A copy in
one step reads one snapshot, and the writer continues meanwhile (WAL).

A backup is written into a new file that only its owner may read (`open_new` in secret_files.py), because it
holds hashes of tokens and what people may read.

`alone` opens a database only if no other program has it open. `replace_database` relies on that."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from monitor.delivery.sent_journal import sync
from monitor.errors import BackupError
from monitor.secret_files import open_new

LOCK_SECONDS = 2.0  # for another program that is just closing the database
COMPANIONS = ("-wal", "-shm")  # the files next to an open database


def take(database: Path, file: Path) -> int:
    """Copy the database as it is at one moment into a new file, and return its bytes. Raises BackupError."""
    if not database.exists():
        raise BackupError(f"{database}: there is no database yet")
    if file.exists():
        raise BackupError(f"{file}: exists already; name another file")
    part = file.with_name(f"{file.name}.part")
    try:
        os.close(open_new(part))
        with (
            closing(sqlite3.connect(_read_only(database), uri=True)) as source,
            closing(_open(part)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # the backup is one file
            check(target, part)
        sync(part)
        part.rename(file)
        sync(file.parent)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise BackupError(f"{file}: the backup cannot be written: {error}") from None
    return file.stat().st_size


def check(connection: sqlite3.Connection, file: Path) -> None:
    """Raise BackupError if the file is no whole database of Windsock's."""
    try:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.execute("SELECT epoch FROM log_state").fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupError(f"{file}: is no database of Windsock's: {error}") from None
    if found != "ok":
        raise BackupError(f"{file}: is damaged: {found}")


def copy(file: Path, to: Path) -> None:
    """Copy a backup to a file for further work. Raises BackupError."""
    if not file.is_file():
        raise BackupError(f"{file}: there is no such file")
    try:
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(open_new(to))
        with closing(sqlite3.connect(_read_only(file), uri=True)) as source, closing(_open(to)) as target:
            check(source, file)
            source.backup(target)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{file}: cannot be copied to {to}: {error}") from None


def replace_database(file: Path, database: Path, now: datetime) -> Path | None:
    """Make the file the database, and return the place of the previous database, which is kept.
    Raises BackupError."""
    path = None
    try:
        with closing(_open(file)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        sync(file)
        if database.exists():
            with alone(database):
                path = database.with_name(f"{database.name}.before-{now:%Y%m%dT%H%M%SZ}")
            database.rename(path)
        for end in COMPANIONS:
            database.with_name(database.name + end).unlink(missing_ok=True)
        file.rename(database)
        sync(database.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{database}: cannot be replaced: {error}") from None
    return path


@contextmanager
def alone(database: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that no other program has open, and keep others from writing meanwhile.

    The whole database is in its one file during that time. Raises BackupError."""
    with closing(_open(database)) as connection:
        try:
            # Only who is alone may leave WAL: the surest sign that SQLite gives of others.
            [mode] = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            mode = "locked"
        except sqlite3.DatabaseError as error:
            raise BackupError(f"{database}: cannot be read: {error}") from None
        if mode != "delete":
            raise BackupError(f"{database}: a monitor (or another program) has it open; stop it first")
        try:
            yield connection
        finally:
            connection.rollback()


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=LOCK_SECONDS, isolation_level=None)


def _read_only(file: Path) -> str:
    return f"{file.absolute().as_uri()}?mode=ro"

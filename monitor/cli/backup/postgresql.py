"""The backups of PostgreSQL, made by its own programs pg_dump and pg_restore.

`take` runs pg_dump, which reads one snapshot, and writes a new file that only its owner may read (`open_new`
in secret_files.py). `restore_backup` keeps the previous tables in another schema
until the restore is through, so that a failure leaves everything as it was.

Both programs get the password in their environment and never as an argument, because every user of the
machine sees arguments.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from monitor.database.engine import Database
from monitor.database.schema import metadata
from monitor.delivery.sent_journal import sync
from monitor.errors import BackupError
from monitor.secret_files import open_new

VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}
ASIDE = "windsock_before_restore"
"""The schema that holds what was before, until the restore is through."""
ALEMBIC = "alembic_version"
SHOWN = 2_000  # characters of a program's own words

T = TypeVar("T")


def take(database: Database, file: Path) -> int:
    """Dump the database as it is at one moment into a new file, and return its bytes. Raises BackupError."""
    if file.exists():
        raise BackupError(f"{file}: exists already; name another file")
    part = file.with_name(f"{file.name}.part")
    try:
        with os.fdopen(open_new(part), "wb") as dump:
            _run(database.url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", into=dump)
            os.fsync(dump.fileno())
        part.rename(file)
        sync(file.parent)
    except OSError as error:
        raise BackupError(f"{file}: the backup cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def restore_backup(database: Database, file: Path, then: Callable[[], T]) -> T:
    """Replace Windsock's tables by a backup, do what has to follow, and return the result of `then`.

    If either fails, all is as it was. Raises BackupError, and the errors of `then`."""
    if not file.is_file():
        raise BackupError(f"{file}: there is no such file")
    be_alone(database)
    database.write_now(_move_aside)
    try:
        name = f"--dbname={database.url.database}"
        _run(
            *(database.url, "pg_restore", "--no-owner", "--no-privileges"),
            *("--single-transaction", "--exit-on-error", name, str(file)),
        )
        result = then()
    except BaseException:
        database.write_now(_take_back)
        raise
    database.write_now(lambda connection: connection.execute(text(f"DROP SCHEMA {ASIDE} CASCADE")))
    return result


def _move_aside(connection: Connection) -> None:
    """Move the present tables to another schema.

    pg_restore could only drop the tables that it knows, but the present tables may be of another release
    than the backup, with tables that the backup lacks."""
    if ASIDE in inspect(connection).get_schema_names():
        raise BackupError(
            f"the schema {ASIDE} is there: a restore was broken off, and it holds what was before. Move its "
            f"tables back, or drop it (DROP SCHEMA {ASIDE} CASCADE), then try again"
        )
    connection.execute(text(f"CREATE SCHEMA {ASIDE}"))
    for table in _ours(connection):
        connection.execute(text(f"ALTER TABLE {table} SET SCHEMA {ASIDE}"))


def _take_back(connection: Connection) -> None:
    services = connection.execute(text("SELECT current_schema()")).scalar_one()
    for table in _ours(connection):
        connection.execute(text(f"DROP TABLE {table} CASCADE"))
    for table in inspect(connection).get_table_names(ASIDE):
        connection.execute(text(f"ALTER TABLE {ASIDE}.{table} SET SCHEMA {services}"))
    connection.execute(text(f"DROP SCHEMA {ASIDE}"))


def _ours(connection: Connection) -> list[str]:
    ours = {*metadata.tables, ALEMBIC}
    return sorted(ours.intersection(inspect(connection).get_table_names()))


def be_alone(database: Database) -> None:
    """Raise BackupError if other sessions are connected to the database."""
    try:
        sessions = database.read_now(_others)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise BackupError(f"{_redact_url(database.url)}: {reason}") from None
    if sessions:
        names = ", ".join(sorted(set(sessions)))
        raise BackupError(
            f"{_redact_url(database.url)}: {len(sessions)} others are connected ({names}); "
            "stop every monitor first"
        )


def _others(connection: Connection) -> list[str]:
    query = text(
        "SELECT coalesce(nullif(application_name, ''), usename, 'unnamed') FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return [str(name) for name in connection.execute(query).scalars()]


def _run(url: URL, program: str, *arguments: str, into: IO[bytes] | None = None) -> None:
    """Run a PostgreSQL program. Its output goes to `into`, or is dropped. Raises BackupError."""
    found = _find(program)
    if found is None:
        raise BackupError(
            f"{program} is not installed here. Install PostgreSQL's client programs (apt-get install "
            "postgresql-client), or run it where they are: docs/operations.md has the command"
        )
    environment = {**os.environ, **_variables(url)}
    done = subprocess.run(  # noqa: S603 (the arguments are ours and a file's name)
        [found, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=into or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise BackupError(f"{program} failed: {done.stderr.strip()[:SHOWN]}")


def _find(program: str) -> str | None:
    """Return the newest installed program, because an older one refuses a newer server."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=_version)
    return str(debian[-1]) if debian else shutil.which(program)


def _version(path: Path) -> float:
    return float(path.parts[-3]) if path.parts[-3].replace(".", "", 1).isdigit() else 0.0


def _variables(url: URL) -> Mapping[str, str]:
    """Return the address as libpq's environment variables. Raises BackupError for an unknown parameter."""
    address = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
    parameters: dict[str, object] = {**address, "password": url.password, **url.query}
    unknown = [name for name, value in parameters.items() if value and name not in VARIABLES]
    if unknown:
        raise BackupError(
            f"WINDSOCK_DATABASE_URL: {', '.join(unknown)} cannot be handed to PostgreSQL's programs; "
            "use them yourself: docs/operations.md has the commands"
        )
    return {VARIABLES[name]: _text(value) for name, value in parameters.items() if value}


def _text(value: object) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )


def _redact_url(url: URL) -> str:
    return url.render_as_string(hide_password=True)

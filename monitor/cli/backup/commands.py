"""The commands `backup`, `restore` and `move`.

`complete_restore` begins a new epoch of the log. In the old epoch, a cursor from before the restore would
silently skip or repeat events, because the log continues from the backup's last number with other events.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from monitor.cli.backup import postgresql, sqlite
from monitor.cli.backup.copy_to_postgresql import move as move_database
from monitor.cli.typer_app import cli, fail, format_time, refuse, settings_or_exit
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import migrate, versions
from monitor.delivery import sent_journal
from monitor.delivery.failover import by_key, find_journal_start
from monitor.errors import BackupError, SettingsError, WindsockError
from monitor.event_log import append, read
from monitor.notifications.outbox import already_sent
from monitor.settings import Settings
from monitor.web.auth import rate_limit, sessions

BESIDE = "windsock.yaml, link.key, templates, the mailbox, the journal"


@dataclass(frozen=True)
class RestoreResult:
    """The findings of a restore, for people."""

    backup_of: datetime | None
    """The moment of the last event in the backup."""
    mails: int
    """Mails since then that the journals know."""
    settled: list[int]
    """The deliveries that waited in the backup, and were among them."""


def complete_restore(database: Database, journals: Sequence[Path]) -> RestoreResult:
    """Follow up a backup that has become the database, in one transaction, before a monitor runs on it.

    A new epoch begins, because the log goes on from the backup's last number with other events: a cursor from
    before the restore gets `event: reset`. Mails that were sent since the backup are read from `journals`,
    the folders of each monitor that sent any. Sessions end: one that was ended since must not come back.
    """
    return database.write_now(lambda connection: _start_new_epoch(connection, journals))


def _start_new_epoch(connection: Connection, journals: Sequence[Path]) -> RestoreResult:
    last = read.last_received(connection)
    records = sent_journal.read(journals, find_journal_start(connection))
    settled = already_sent.restore(connection, by_key(records))
    append.begin_epoch(connection)
    sessions.end_all(connection)
    rate_limit.forget_all(connection)
    since = [record for record in records if last is None or record.handed.at >= last]
    return RestoreResult(last, len(since), settled)


@cli.command()
def backup(file: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Write the whole database, as it is at one moment, into a file. The monitor may run."""
    settings = settings_or_exit()
    database = Database(settings.database)
    try:
        if settings.shares_database:
            size = postgresql.take(database, file)
        else:
            size = sqlite.take(_file_of(database), file)
    except WindsockError as error:
        fail(str(error))
    finally:
        database.close()
    typer.echo(f"{file}: {size / 1024**2:.1f} MiB")
    typer.echo(f"not in it: what else is in {settings.home} ({BESIDE})", err=True)


@cli.command()
def restore(
    file: Annotated[Path | None, typer.Argument(help="What `windsock backup` wrote.")] = None,
    journal: Annotated[
        list[Path],
        typer.Option(help="A folder `journal` of another monitor's home. May be given several times."),
    ] = [],  # noqa: B006
    by_hand: Annotated[
        bool,
        typer.Option(
            "--by-hand",
            help="The database was restored by other means (pg_restore, a snapshot): do what has to follow.",
        ),
    ] = False,
) -> None:
    """Make a backup the database. No monitor may run. What was mailed since is not mailed again."""
    settings = settings_or_exit()
    if (file is None) != by_hand:
        refuse("FILE: give the backup's file, or --by-hand where the database is restored already")
    if missing := [folder for folder in journal if not folder.is_dir()]:
        refuse(f"--journal: {missing[0]} is no folder")
    journals = [settings.journal, *journal]
    try:
        if file is None:
            _print_result(_apply_journals(settings, journals))
        elif settings.shares_database:
            _print_result(_restore_postgresql(settings, file, journals))
        else:
            _print_result(_restore_sqlite(settings, file, journals, utc_now()))
    except SettingsError as error:
        refuse(str(error))
    except WindsockError as error:
        fail(str(error))


def _apply_journals(settings: Settings, journals: list[Path]) -> RestoreResult:
    database = Database(settings.database)
    try:
        if settings.shares_database:
            postgresql.be_alone(database)
        else:
            with sqlite.alone(_file_of(database)):
                pass
        return _follow(database, journals)
    finally:
        database.close()


def _restore_postgresql(settings: Settings, file: Path, journals: list[Path]) -> RestoreResult:
    database = Database(settings.database)
    try:
        return postgresql.restore_backup(database, file, lambda: _follow(database, journals))
    finally:
        database.close()


def _restore_sqlite(settings: Settings, file: Path, journals: list[Path], now: datetime) -> RestoreResult:
    """Restore a SQLite backup.
    The backup is prepared next to the database, so that a useless backup changes nothing."""
    database = Database(settings.database)
    target = _file_of(database)
    database.close()
    if target.exists():
        with sqlite.alone(target):
            pass
    restored = target.with_name(f"{target.name}.restoring")
    sqlite.copy(file, restored)
    copy = Database(f"sqlite:///{restored}")
    try:
        found = _follow(copy, journals)
    finally:
        copy.close()
    if kept_path := sqlite.replace_database(restored, target, now):
        typer.echo(f"what was there is kept: {kept_path}")
    return found


def _follow(database: Database, journals: list[Path]) -> RestoreResult:
    if versions(database)[0] is None:
        raise BackupError(f"{database.url.render_as_string(hide_password=True)}: holds no Windsock")
    migrate(database)
    return complete_restore(database, journals)


def _file_of(database: Database) -> Path:
    return Path(database.url.database or "")


def _print_result(found: RestoreResult) -> None:
    last = format_time(found.backup_of) if found.backup_of else "none"
    typer.echo(f"restored: the last event in it was logged on {last}")
    typer.echo(f"{found.mails} mails since then are in the journals and are not sent again")
    if found.settled:
        typer.echo(f"{len(found.settled)} deliveries that waited in the backup were among them")
    typer.echo(
        "start the monitor: it asks Airflow for what happened since. Everybody signs in anew. Silences, "
        "acknowledgements, tokens and their revocation since the backup are lost: see `windsock token list`"
    )


EXAMPLE = "postgresql+psycopg://windsock:password@host/windsock"


@cli.command()
def move(
    database_url: Annotated[
        str, typer.Argument(help=f"Such as {EXAMPLE}", envvar="WINDSOCK_MOVE_TO", show_envvar=True)
    ],
) -> None:
    """Copy everything from the SQLite database in the home folder into an empty PostgreSQL database.

    The monitor must not run. Feeds continue where they were, and no mail is sent again."""
    settings = settings_or_exit()
    if settings.shares_database:
        refuse(
            "WINDSOCK_DATABASE_URL: names a server already; `move` reads the SQLite file: unset it for this"
        )
    source = Path(make_url(settings.database).database or "")
    target = _target(database_url)
    began = time.monotonic()
    try:
        copied = move_database(source, target, _show)
        path = source.with_name(f"{source.name}.moved-{utc_now():%Y%m%dT%H%M%SZ}")
        source.rename(path)  # a monitor that is started on it by mistake would mail what waits once more
    except SettingsError as error:
        refuse(str(error))
    except (WindsockError, OSError) as error:
        fail(str(error))
    finally:
        target.close()
    typer.echo(f"{sum(copied.values())} rows are moved, and counted, in {time.monotonic() - began:.1f} s")
    typer.echo(f"the old database is kept: {path}")
    typer.echo("now set WINDSOCK_DATABASE_URL to this address and start the monitor")


def _target(database_url: str) -> Database:
    try:
        url = make_url(database_url)
    except ArgumentError:
        refuse(f"DATABASE_URL: is no address such as {EXAMPLE}")
    if url.get_backend_name() != "postgresql":
        refuse(f"DATABASE_URL: is of {url.get_backend_name()}; write {EXAMPLE}")
    return Database(database_url)


def _show(table: str, done: int, total: int) -> None:
    typer.echo(f"{table}: {done} of {total}", err=True)

"""`windsock move`: from SQLite to PostgreSQL."""

import time
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from monitor.backup.move import move as move_database
from monitor.cli.command import cli, fail, refuse, settings_or_exit
from monitor.clock import utc_now
from monitor.database import Database
from monitor.errors import SettingsError, WindsockError

EXAMPLE = "postgresql+psycopg://windsock:password@host/windsock"


@cli.command()
def move(
    database_url: Annotated[
        str, typer.Argument(help=f"Such as {EXAMPLE}", envvar="WINDSOCK_MOVE_TO", show_envvar=True)
    ],
) -> None:
    """Copy everything from the SQLite database in the home folder into an empty PostgreSQL database.

    The monitor must not run. Feeds go on where they were; nothing is mailed again.
    """
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
        kept = source.with_name(f"{source.name}.moved-{utc_now():%Y%m%dT%H%M%SZ}")
        source.rename(kept)  # a monitor that is started on it by mistake would mail what waits once more
    except SettingsError as error:
        refuse(str(error))
    except (WindsockError, OSError) as error:
        fail(str(error))
    finally:
        target.close()
    typer.echo(f"{sum(copied.values())} rows are moved, and counted, in {time.monotonic() - began:.1f} s")
    typer.echo(f"the old database is kept: {kept}")
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

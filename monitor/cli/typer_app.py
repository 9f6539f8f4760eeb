"""The Typer application, the opening of its settings and database, and the end of a failed command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from sqlalchemy.exc import DBAPIError

from monitor.database.engine import Database
from monitor.database.migrate import migrate_patiently
from monitor.errors import SettingsError
from monitor.plain_text import sanitize_for_terminal
from monitor.secret_files import doubts, make_home
from monitor.settings import Settings
from monitor.settings_loading import ENV_FILE, load_settings, load_settings_of_up

EXIT_FAILED = 1
EXIT_SETTINGS = 2

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Event-driven notifications for Apache Airflow."
)


def settings_or_exit(of_up: bool = True) -> Settings:
    """Those of the environment; wrong ones end the program, each with its name. `of_up`: where they name no
    monitor, those of the one that `windsock up` runs here."""
    try:
        settings, file = load_settings_of_up() if of_up else (load_settings(), None)
    except SettingsError as error:
        refuse(str(error))
    for doubt in doubts({".env": ENV_FILE}):
        typer.echo(f"windsock: {sanitize_for_terminal(doubt)}", err=True)
    if file:
        typer.echo(f"windsock: settings of `windsock up`, from {file}", err=True)
    return settings


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database in this release's schema; where that cannot be, a sentence ends the program."""
    try:
        make_home(settings.home)  # SQLite's file is in it
        database = Database(settings.database)
    except SettingsError as error:
        refuse(str(error))
    try:
        migrate_patiently(database)
        yield database
    except SettingsError as error:
        refuse(str(error))
    except DBAPIError as error:
        shown = database.url.render_as_string(hide_password=True)
        fail(f"WINDSOCK_DATABASE_URL: {shown} cannot be used: {error.orig}")
    finally:
        database.close()


def say(text: str) -> None:
    """Print a text that may hold what Airflow's users named: nothing in it commands the terminal."""
    typer.echo(sanitize_for_terminal(text))


def refuse(message: str) -> NoReturn:
    """What the user set cannot be used."""
    typer.secho("windsock: these settings do not fit:", err=True, fg="red")
    for line in sanitize_for_terminal(message).split("\n"):
        typer.echo(f"  {line}", err=True)
    raise typer.Exit(EXIT_SETTINGS)


def fail(message: str) -> NoReturn:
    typer.secho(f"windsock: {sanitize_for_terminal(message)}", err=True, fg="red")
    raise typer.Exit(EXIT_FAILED)

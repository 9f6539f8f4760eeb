"""The Typer application, with the helpers of its commands: settings, database, socket, failure.

A command's module is imported when the command is asked for. `windsock --help` and `--version` import none
of them, so they take as long as Typer itself. For the same reason, the top of this module imports nothing
slow."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from monitor import __version__
from monitor.errors import SettingsError
from monitor.plain_text import sanitize_for_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.database.engine import Database
    from monitor.settings import Settings

EXIT_FAILED = 1
EXIT_SETTINGS = 2

COMMANDS = {
    "check": ("check", "Check settings, connections, rules and templates."),
    "explain": ("explain", "Say who was notified of an event or a run, and why."),
    "try-rules": ("explain", "Print what a rules file would have sent."),
    "preview": ("explain", "Show the mails with made-up data, your own templates too."),
    "backup": ("backup.commands", "Write the whole database into a file."),
    "restore": ("backup.commands", "Make a backup the database."),
    "move": ("backup.commands", "Copy the SQLite database into an empty PostgreSQL database."),
    "plugin-env": ("admin", "Print the three variables that Airflow's processes need."),
    "requeue": ("admin", "Send a notification again that is dead, uncertain or sent."),
    "migrate": ("admin", "Bring the database to this release's schema."),
    "secret": ("admin", "Print a fresh ingest secret."),
    "serve": ("serve", "Run the monitor until it is stopped."),
    "up": ("serve", "Run Airflow, the DAGs and the monitor on this machine."),
    "tail": ("tail", "Follow the events and the notifications in the terminal."),
    "token": ("admin", "Bearer tokens for programs: create, list, revoke."),
}
"""Each command's module in `monitor.cli` and what `windsock --help` says of it, in the order of the list."""


class CommandGroup(TyperGroup):
    """A group that imports a command's module when the command is run, and none for the list of commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, without importing them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command, as a stub with its short help if its module is not imported."""
        if cmd_name not in COMMANDS:
            return None
        found = self.commands.get(cmd_name) or typer.core.TyperCommand(cmd_name)
        found.short_help = COMMANDS[cmd_name][1]
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the module of the named command, and resolve the command."""
        if args and args[0] in COMMANDS and args[0] not in self.commands:
            import_module(f"monitor.cli.{COMMANDS[args[0]][0]}")
            self.commands = {**self.commands, **_declared().commands}
        elif args and args[0] not in COMMANDS:  # a mistyped name is answered with the names that are near
            self.commands = {name: self.get_command(ctx, name) for name in COMMANDS}
        return super().resolve_command(ctx, args)


cli = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # importing rich takes longer than all the rest of `windsock --help`
    help="Event-driven notifications for Apache Airflow.",
)


def _declared() -> Any:
    """Return the commands of the modules that are imported by now."""
    return typer.main.get_command(cli)


def every_command() -> Any:
    """Return the group with every command, for those who describe them all."""
    for module, _ in COMMANDS.values():
        import_module(f"monitor.cli.{module}")
    return _declared()


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"windsock-monitor {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version of the monitor."
        ),
    ] = False,
) -> None:
    pass


def settings_or_exit(of_up: bool = True) -> Settings:
    """Return the settings of the environment.
    Wrong settings end the program, each with its name.

    `of_up`: if the environment names no monitor, take the settings of the monitor that `windsock up` runs
    here."""
    from monitor.settings_loading import load_settings, load_settings_of_up

    try:
        settings, file = load_settings_of_up() if of_up else (load_settings(), None)
    except SettingsError as error:
        refuse(str(error))
    announce(file)
    return settings


def announce(file: Path | None) -> None:
    """Say what is doubtful about `.env`, and from which file the settings of `windsock up` come."""
    from monitor.secret_files import doubts
    from monitor.settings_loading import ENV_FILE

    for doubt in doubts({".env": ENV_FILE}):
        typer.echo(f"windsock: {sanitize_for_terminal(doubt)}", err=True)
    if file:
        typer.echo(f"windsock: settings of `windsock up`, from {file}", err=True)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the database in this release's schema. If that is impossible, a sentence ends the program."""
    from sqlalchemy.exc import DBAPIError

    from monitor.database.engine import Database
    from monitor.database.migrate import migrate_patiently
    from monitor.secret_files import make_home

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
        url = database.url.render_as_string(hide_password=True)
        fail(f"WINDSOCK_DATABASE_URL: {url} cannot be used: {error.orig}")
    finally:
        database.close()


def format_time(moment: datetime) -> str:
    """Return the moment in this machine's zone, which is named: `2026-11-22 11:00:05 CET`."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def say(text: str) -> None:
    """Print a text that may hold what Airflow's users named: nothing in it commands the terminal."""
    typer.echo(sanitize_for_terminal(text))


def refuse(message: str) -> NoReturn:
    """End the program, because the user's settings cannot be used."""
    typer.secho("windsock: these settings do not fit:", err=True, fg="red")
    for line in sanitize_for_terminal(message).split("\n"):
        typer.echo(f"  {line}", err=True)
    raise typer.Exit(EXIT_SETTINGS)


def fail(message: str) -> NoReturn:
    """End the program with a message."""
    typer.secho(f"windsock: {sanitize_for_terminal(message)}", err=True, fg="red")
    raise typer.Exit(EXIT_FAILED)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address.
    Port 0 means any free port. Raises OSError, UnicodeError.

    The socket's protocol is named. Otherwise asyncio leaves Nagle's algorithm on, and each answer over a
    kept connection waits 40 ms for the acknowledgement of its headers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening

"""The command itself, and how its parts end."""

from typing import NoReturn

import typer

from monitor.errors import SettingsError
from monitor.settings import Settings, load_settings

EXIT_FAILED = 1
EXIT_SETTINGS = 2

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Event-driven notifications for Apache Airflow."
)


def settings_or_exit() -> Settings:
    """Those of the environment; wrong ones end the program, each with its name."""
    try:
        return load_settings()
    except SettingsError as error:
        refuse(str(error))


def refuse(message: str) -> NoReturn:
    """What the user set cannot be used."""
    typer.secho("windsock: these settings do not fit:", err=True, fg="red")
    for line in message.splitlines():
        typer.echo(f"  {line}", err=True)
    raise typer.Exit(EXIT_SETTINGS)


def fail(message: str) -> NoReturn:
    typer.secho(f"windsock: {message}", err=True, fg="red")
    raise typer.Exit(EXIT_FAILED)

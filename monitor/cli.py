"""The command `windsock`. Only here is the environment read."""

import logging
import os
import secrets
import signal
import sys
from base64 import b64encode
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvicorn

from monitor.app import create_app
from monitor.database import Database
from monitor.database.migrate import migrate as migrate_database
from monitor.database.migrate import versions
from monitor.errors import SettingsError
from monitor.settings import Settings, load_settings
from monitor.up.run import up as run_up
from monitor.up.setup import Options

SECRET_BYTES = 32
SHUTDOWN_SECONDS = 5  # for open feeds to be told and closed
UP_SECONDS = 240.0  # ten times what it takes on two cores that have nothing else to do
AIRFLOW_PORT = 8080
EXIT_FAILED = 1
EXIT_SETTINGS = 2

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Event-driven notifications for Apache Airflow."
)


def main() -> None:
    """The entry point."""
    cli()


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    typer.secho("windsock: these settings do not fit:", err=True, fg="red")
    for line in message.splitlines():
        typer.echo(f"  {line}", err=True)
    raise typer.Exit(EXIT_SETTINGS)


@cli.command()
def serve() -> None:
    """Run the monitor until it is told to stop."""
    settings = _settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request to Airflow, and nothing to learn
    fatal: list[str] = []

    def on_fatal(message: str) -> None:
        fatal.append(message)
        server.should_exit = True

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, on_fatal=on_fatal),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal once more after its graceful end: to be told to stop is no failure.
        signal.signal(number, lambda *_: None)
    server.run()
    if fatal or not server.started:
        typer.secho(f"windsock: {'; '.join(fatal) or 'the server did not start'}", err=True, fg="red")
        sys.exit(EXIT_FAILED)


@cli.command()
def up(
    airflow: Annotated[Path, typer.Option(help="The virtual environment that holds Airflow.")],
    home: Annotated[
        Path, typer.Option(envvar="WINDSOCK_HOME", help="Where data, logs and secrets are kept.")
    ] = Path(".windsock"),
    once: Annotated[bool, typer.Option("--once", help="End when everything is through: 0 if it is.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds until everything must be through.")] = UP_SECONDS,
    airflow_port: Annotated[
        int, typer.Option(help="Airflow's port, another if it is taken. The monitor's: WINDSOCK_PORT.")
    ] = AIRFLOW_PORT,
) -> None:
    """Run Airflow with the plugin and the DAGs, and the monitor, on this machine."""
    raise typer.Exit(run_up(Options(airflow, once, timeout, airflow_port, dict(os.environ)), home))


@cli.command()
def migrate() -> None:
    """Bring the database to this release's schema."""
    database = Database(_settings().database)
    try:
        migrate_database(database)
        typer.echo(f"schema {versions(database)[0]}: {database.url.render_as_string(hide_password=True)}")
    except SettingsError as error:
        _refuse(str(error))
    finally:
        database.close()


@cli.command()
def secret() -> None:
    """Print a fresh ingest secret, for WINDSOCK_INGEST_SECRET and AIRFLOW__WINDSOCK__INGEST_SECRET."""
    typer.echo("whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode())

"""Commands that run until they are told to stop: serve, up, tail."""

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from monitor.airflow_api import AirflowApi
from monitor.app import create_app
from monitor.cli.command import cli, fail, refuse, settings_or_exit
from monitor.clock import utc_now
from monitor.errors import SettingsError, WindsockError
from monitor.feed.room import raise_limit
from monitor.settings import Settings, load_environment
from monitor.tail import show
from monitor.up.run import up as run_up
from monitor.up.setup import Options
from monitor.web.server import Server

UP_SECONDS = 240.0  # ten times what it takes on two cores that have nothing else to do
AIRFLOW_PORT = 8080
CHATTY = ("httpx", "mail.log", "alembic.runtime.migration")
"""Loggers that write a line a request, a line a command, and nothing to learn from."""

Filters = dict[str, list[str]]


@cli.command()
def serve() -> None:
    """Run the monitor until it is told to stop."""
    settings = settings_or_exit()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    raise_limit()
    fatal: list[str] = []

    def on_fatal(message: str) -> None:
        fatal.append(message)
        server.should_exit = True

    try:
        app = create_app(settings, on_fatal=on_fatal, environment=load_environment(os.environ))
    except SettingsError as error:
        refuse(str(error))
    server = Server(app, settings.host, settings.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal once more after its graceful end: to be told to stop is no failure.
        signal.signal(number, lambda *_: None)
    server.run()
    if fatal or not server.started:
        fail("; ".join(fatal) or "the server did not start")


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
def tail(
    url: Annotated[str, typer.Option(help="The monitor; default: this machine's.")] = "",
    event_type: Annotated[list[str], typer.Option("--type", help="Globs, such as 'airflow.dag_run.*'.")] = [],  # noqa: B006
    dag_id: Annotated[list[str], typer.Option(help="Globs.")] = [],  # noqa: B006
    state: Annotated[list[str], typer.Option(help="Globs.")] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    token: Annotated[
        str,
        typer.Option(
            envvar="WINDSOCK_TOKEN", help="An Airflow JWT; default: signs in as the monitor's user."
        ),
    ] = "",
) -> None:
    """Follow the live feed in the terminal; it resumes by itself."""
    settings = settings_or_exit()
    filters = {"type": event_type, "dag_id": dag_id, "state": state}
    follow = _tail(settings, url or settings.url, filters, as_json, token)
    try:
        asyncio.run(follow)
    except KeyboardInterrupt:
        return
    except WindsockError as error:
        fail(str(error))


async def _tail(settings: Settings, url: str, filters: Filters, as_json: bool, token: str) -> None:
    if not token and settings.auth == "airflow":
        token = await _own_token(settings)
    await show(url, filters, token or None, as_json, Console())


async def _own_token(settings: Settings) -> str:
    first = settings.every_airflow.get(settings.deployment)
    if first is None:
        raise WindsockError("no token: set WINDSOCK_TOKEN, or WINDSOCK_AIRFLOW_URL with a user and password")
    api = AirflowApi.of(settings.deployment, first, settings.airflow_timeout, utc_now)
    try:
        return await api.sign_in(first.username, first.password.get_secret_value())
    finally:
        await api.close()

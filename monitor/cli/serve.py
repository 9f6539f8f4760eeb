"""The commands that run until they are stopped: `serve` and `up`."""

import gc
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from monitor.app import create_app
from monitor.cli.typer_app import cli, fail, listen, open_database, refuse, settings_or_exit
from monitor.cli.up.setup import Options
from monitor.cli.up.stack import up as run_up
from monitor.errors import SettingsError
from monitor.feed.connections import raise_limit
from monitor.observability.logging import configure
from monitor.rules.loader import variables_asked_for
from monitor.secret_files import doubts
from monitor.settings_loading import list_named_files, load_environment, unknown_variables
from monitor.web.pages import templates
from monitor.web.paths import prefix_of
from monitor.web.server import HttpServer
from monitor.web.templating import load_templates

logger = logging.getLogger(__name__)

UP_SECONDS = 240.0  # ten times what it takes on two cores that have nothing else to do
AIRFLOW_PORT = 8080


@cli.command()
def serve() -> None:
    """Run the monitor until it is stopped."""
    settings = settings_or_exit(of_up=False)
    configure(settings)
    raise_limit()
    listening = _listen_on_any_port(settings.host) if settings.port == 0 else None
    if listening:  # links name the port that it got
        settings = settings.model_copy(update={"port": listening.getsockname()[1]})
        logger.info("listens at %s", settings.url)
    for doubt in doubts(list_named_files(settings, os.environ)):
        logger.warning("%s", doubt)
    environment = load_environment(os.environ)
    for unknown in unknown_variables(environment, variables_asked_for(settings.rules_file)):
        logger.warning("%s", unknown)
    fatal: list[str] = []

    def on_fatal(message: str) -> None:
        fatal.append(message)
        server.should_exit = True

    try:
        with open_database(settings):
            pass  # what is wrong with the database is said in a sentence, before anything listens
        app = create_app(settings, on_fatal=on_fatal, environment=environment, is_migrated=True)
    except SettingsError as error:
        refuse(str(error))
    server = HttpServer(app, settings.host, settings.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal once more after its graceful end: to be stopped is no failure.
        signal.signal(number, lambda *_: None)
    load_templates(prefix_of(settings.url))
    templates.prepare(app, prefix_of(settings.url))  # 0.3 s, once
    # The objects that are loaded now stay. Without this, each full collection looks at all of them. That
    # takes 0.1 s without any answer, and an answer of Airflow with some ten thousand values is enough to
    # start one.
    gc.collect()
    gc.freeze()
    server.run(sockets=[listening] if listening else None)
    if fatal or not server.started:
        fail("; ".join(fatal) or "the server did not start")


def _listen_on_any_port(host: str) -> socket.socket:
    try:
        return listen(host, 0)
    except (OSError, UnicodeError) as error:
        refuse(f"WINDSOCK_HOST: {host!r} cannot be listened on: {error}")


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

"""The command `windsock`. Only here is the environment read."""

import asyncio
import logging
import os
import secrets
import signal
from base64 import b64encode
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from monitor import answers, outbox
from monitor.airflow_api import AirflowApi
from monitor.app import create_app
from monitor.channels import check_apprise_url
from monitor.check import check as run_check
from monitor.clock import utc_now
from monitor.database import Database
from monitor.database.migrate import migrate as migrate_database
from monitor.database.migrate import versions
from monitor.errors import SettingsError, WindsockError
from monitor.notify.explain import explain as explain_event
from monitor.notify.replay import replay
from monitor.render.choice import choose
from monitor.rules import RulesError
from monitor.rules.in_force import live_rules, rules_of
from monitor.settings import Settings, load_environment, load_settings
from monitor.tail import show
from monitor.up.run import up as run_up
from monitor.up.setup import Options
from monitor.web.server import Server

SECRET_BYTES = 32
TRY_DAYS = 7.0  # a week has every weekday's runs
UP_SECONDS = 240.0  # ten times what it takes on two cores that have nothing else to do
AIRFLOW_PORT = 8080
EXIT_FAILED = 1
EXIT_SETTINGS = 2
PRIVATE = 0o077  # the log, the mailbox and the secrets are nobody else's to read on this machine
CHATTY = ("httpx", "mail.log", "alembic.runtime.migration")
"""Loggers that write a line a request, a line a command, and nothing to learn from."""

Filters = dict[str, list[str]]

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Event-driven notifications for Apache Airflow."
)


def main() -> None:
    """The entry point."""
    os.umask(PRIVATE)
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


def _fail(message: str) -> NoReturn:
    typer.secho(f"windsock: {message}", err=True, fg="red")
    raise typer.Exit(EXIT_FAILED)


@cli.command()
def serve() -> None:
    """Run the monitor until it is told to stop."""
    settings = _settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    fatal: list[str] = []

    def on_fatal(message: str) -> None:
        fatal.append(message)
        server.should_exit = True

    try:
        app = create_app(settings, on_fatal=on_fatal, environment=load_environment(os.environ))
    except SettingsError as error:
        _refuse(str(error))
    server = Server(app, settings.host, settings.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal once more after its graceful end: to be told to stop is no failure.
        signal.signal(number, lambda *_: None)
    server.run()
    if fatal or not server.started:
        _fail("; ".join(fatal) or "the server did not start")


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
    settings = _settings()
    filters = {"type": event_type, "dag_id": dag_id, "state": state}
    follow = _tail(settings, url or settings.url, filters, as_json, token)
    try:
        asyncio.run(follow)
    except KeyboardInterrupt:
        return
    except WindsockError as error:
        _fail(str(error))


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


@cli.command()
def check() -> None:
    """Prove each connection (database, Airflow, mail, ingest), read the rules file, and say what to mend."""
    findings = asyncio.run(run_check(_settings(), load_environment(os.environ), check_apprise_url))
    for finding in findings:
        sign, colour = ("ok    ", "green") if finding.ok else ("broken", "red")
        detail = finding.detail.replace("\n", "\n        ")
        typer.echo(f"{typer.style(sign, fg=colour)}  {finding.name}: {detail}")
        if finding.remedy:
            typer.echo(f"        {finding.remedy}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@cli.command()
def requeue(
    delivery: Annotated[int, typer.Argument(help="The delivery's number, as the ledger shows it.")],
) -> None:
    """Send a mail again: one that is dead, uncertain, parked or sent. The ledger keeps what was before."""
    database = Database(_settings().database)
    try:
        found = database.write_now(lambda connection: outbox.requeue(connection, delivery, utc_now()))
    except WindsockError as error:
        _fail(str(error))
    finally:
        database.close()
    if found is None:
        _fail(f"there is no delivery {delivery}")
    typer.echo(f"delivery {delivery} to {', '.join(found.remaining)}: {found.reason}")


@cli.command()
def explain(
    event_id: Annotated[
        str, typer.Argument(help="The event's id, as the log, a mail and the ledger show it.")
    ],
) -> None:
    """Say what each rule made of an event, and why."""
    settings = _settings()
    database = Database(settings.database)
    try:
        rules = live_rules(settings, load_environment(os.environ), utc_now, check_apprise_url).current
        found = database.read_now(lambda connection: explain_event(connection, rules, event_id))
    except RulesError as error:
        _refuse(str(error))
    finally:
        database.close()
    if not found:
        _fail(f"the log has no event {event_id!r}; it keeps {settings.retention_days:g} days")
    for one in found:
        for line in answers.of_event(one):
            typer.echo(line)


@cli.command()
def try_rules(
    file: Annotated[Path, typer.Argument(help="A rules file; nothing of it comes into force.")],
    days: Annotated[float, typer.Option(min=0.01, help="How much of the log it is tried on.")] = TRY_DAYS,
) -> None:
    """Print what a rules file would have told of the last days of the log. Nothing is sent."""
    settings = _settings()
    database = Database(settings.database)
    try:
        rules = rules_of(file, settings, load_environment(os.environ), check_apprise_url)
        since, within = utc_now() - timedelta(days=days), timedelta(hours=settings.tell_within_hours)
        for line in answers.of_replay(replay(database, rules, since, within, choose)):
            typer.echo(line)
    except RulesError as error:
        _refuse(str(error))
    finally:
        database.close()


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

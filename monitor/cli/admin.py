"""The commands for operators: `requeue`, `migrate`, `secret` and `plugin-env`."""

import secrets
import shlex
from base64 import b64encode
from typing import Annotated

import typer

from monitor.cli.typer_app import cli, fail, open_database, refuse, say, settings_or_exit
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import versions
from monitor.errors import WindsockError
from monitor.notifications.outbox import queue
from monitor.settings import Settings

PREFIX = "AIRFLOW__WINDSOCK__"


@cli.command()
def plugin_env(
    url: Annotated[
        str | None,
        typer.Option(help="How Airflow's machines reach the monitor. Default: WINDSOCK_PUBLIC_URL."),
    ] = None,
) -> None:
    """Print the three variables that Airflow's processes need. The ingest secret is among them."""
    settings = settings_or_exit()
    if not settings.ingest_secret:
        refuse("WINDSOCK_INGEST_SECRET: is not set; `windsock secret` prints one")
    for name, value in variables(settings, url).items():
        typer.echo(f"{name}={shlex.quote(value)}")


def variables(settings: Settings, url: str | None = None) -> dict[str, str]:
    """The plugin's settings that fit this monitor. Several secrets stay several."""
    return {
        f"{PREFIX}MONITOR_URL": url or settings.url,
        f"{PREFIX}INGEST_SECRET": " ".join(secret.get_secret_value() for secret in settings.ingest_secret),
        f"{PREFIX}DEPLOYMENT": settings.deployment,
    }


SECRET_BYTES = 32


@cli.command()
def requeue(
    delivery: Annotated[int, typer.Argument(help="The delivery's number, as the ledger shows it.")],
) -> None:
    """Send a mail again: one that is dead, uncertain, parked or sent. The ledger keeps what was before."""
    database = Database(settings_or_exit().database)
    try:
        found = database.write_now(lambda connection: queue.requeue(connection, delivery, utc_now()))
    except WindsockError as error:
        fail(str(error))
    finally:
        database.close()
    if found is None:
        fail(f"there is no delivery {delivery}")
    say(f"delivery {delivery} to {', '.join(found.remaining)}: {found.reason}")


@cli.command()
def migrate() -> None:
    """Bring the database to this release's schema."""
    with open_database(settings_or_exit()) as database:
        typer.echo(f"schema {versions(database)[0]}: {database.url.render_as_string(hide_password=True)}")


@cli.command()
def secret() -> None:
    """Print a fresh ingest secret, for WINDSOCK_INGEST_SECRET and AIRFLOW__WINDSOCK__INGEST_SECRET."""
    typer.echo("whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode())

"""Commands that change what is kept, or make what is to be kept: requeue, migrate, secret."""

import secrets
from base64 import b64encode
from typing import Annotated

import typer

from monitor import outbox
from monitor.cli.command import cli, fail, migrated, say, settings_or_exit
from monitor.clock import utc_now
from monitor.database import Database
from monitor.database.migrate import versions
from monitor.errors import WindsockError

SECRET_BYTES = 32


@cli.command()
def requeue(
    delivery: Annotated[int, typer.Argument(help="The delivery's number, as the ledger shows it.")],
) -> None:
    """Send a mail again: one that is dead, uncertain, parked or sent. The ledger keeps what was before."""
    database = Database(settings_or_exit().database)
    try:
        found = database.write_now(lambda connection: outbox.requeue(connection, delivery, utc_now()))
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
    with migrated(settings_or_exit()) as database:
        typer.echo(f"schema {versions(database)[0]}: {database.url.render_as_string(hide_password=True)}")


@cli.command()
def secret() -> None:
    """Print a fresh ingest secret, for WINDSOCK_INGEST_SECRET and AIRFLOW__WINDSOCK__INGEST_SECRET."""
    typer.echo("whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode())

"""The commands for operators: `requeue`, `migrate`, `secret`, `plugin-env`, and `token`.

`windsock token` makes bearer tokens for programs on the monitor's own machine.
"""

import secrets
import shlex
from base64 import b64encode
from collections.abc import Callable, Collection, Set
from datetime import timedelta
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor.cli.typer_app import cli, fail, format_time, open_database, refuse, say, settings_or_exit
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import versions
from monitor.errors import WindsockError
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import dags as dags_projection
from monitor.notifications.outbox import queue
from monitor.plain_text import line
from monitor.settings import Settings
from monitor.web.api.tokens import MAX_NAME
from monitor.web.auth import sessions, tokens
from monitor.web.auth.tokens import DEFAULT_LIFE, EVERYONE, LONGEST_LIFE, Draft, Scope, Token

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
    """Return the plugin's settings that fit this monitor. Several secrets stay several."""
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


SHOWN = 500  # tokens in the list

T = TypeVar("T")

commands = typer.Typer(no_args_is_help=True, help="Bearer tokens for programs: create, list, revoke.")
cli.add_typer(commands, name="token")


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, for those who look at the list.")],
    scope: Annotated[
        list[Scope],
        typer.Option(help="read (pages, API, feed), admin (effects too) or ingest (sends events)."),
    ] = [Scope.READ],  # noqa: B006
    days: Annotated[int, typer.Option(min=1, max=LONGEST_LIFE.days)] = DEFAULT_LIFE.days,
    dag_id: Annotated[
        list[str], typer.Option(help="Globs: what it may read of the DAGs known now. Default: every DAG.")
    ] = [],  # noqa: B006
    deployment: Annotated[
        list[str],
        typer.Option(help="Of an ingest token: what it may report for. Default: WINDSOCK_DEPLOYMENT."),
    ] = [],  # noqa: B006
) -> None:
    """Make a token and print its secret, which is kept nowhere."""
    if not 0 < len(name.strip()) <= MAX_NAME or "\0" in name:
        fail(f"name: {name[:40]!r} has {len(name.strip())} signs; give 1 to {MAX_NAME}, none of them NUL")

    settings = settings_or_exit()
    secrets_by_name = settings.ingest_secrets
    for deployment_name in deployment:
        if deployment_name not in secrets_by_name:
            fail(f"deployment: {deployment_name!r} is unknown; known: {', '.join(secrets_by_name)}")
    if deployment and Scope.INGEST not in scope:
        fail("deployment: only a token of the scope ingest reports; leave it out")
    reports_for = frozenset(deployment or (settings.deployment,)) if Scope.INGEST in scope else None

    def add(connection: Connection) -> tuple[Token, str]:
        dags = _chosen(connection, dag_id)
        draft = Draft(name.strip(), frozenset(scope), dags, timedelta(days=days), reports_for)
        return tokens.add(connection, draft, None, utc_now())

    token, secret = _run_in_database(add)
    typer.echo(
        f"token {token.id} until {format_time(token.expires_at)}; its secret is shown this once:", err=True
    )
    typer.echo(secret)


@commands.command("list")
def list_them() -> None:
    """List every token, newest first."""
    found, now = _run_in_database(lambda connection: tokens.page(connection, EVERYONE, SHOWN)), utc_now()
    table = Table("id", "secret", "name", "scopes", "by", "DAGs", "state", "until", "last used", box=None)
    for token in found:
        used = format_time(token.last_used_at) if token.last_used_at else "never"
        dags = "every" if token.dags is None else str(len(token.dags))
        by = token.owner.full_name if token.owner else token.created_by or "–"
        cells = (str(token.id), f"{token.prefix}…", token.name, ",".join(sorted(token.scopes)), by)
        table.add_row(*map(_plain, cells), dags, token.state(now), format_time(token.expires_at), used)
    Console().print(table)


@commands.command()
def revoke(
    token: Annotated[int | None, typer.Argument(help="The number, as the list shows it.")] = None,
    user: Annotated[
        str | None,
        typer.Option(help="Every token of this user name, and the sessions."),
    ] = None,
    deployment: Annotated[
        list[str],
        typer.Option(help="Of --user: the Airflow whose user it is. Required if several know the name."),
    ] = [],  # noqa: B006
) -> None:
    """End a token now, or all tokens and sessions of a user.

    A running monitor notices within seconds, and ends the feeds that are held open."""
    if (token is None) == (user is None):
        fail("give a token's number, or --user and a user's name")
    if user is not None:
        _revoke_all(user, deployment)
    elif deployment:
        fail("deployment: a token's number names one token; leave it out")
    elif token is not None:
        _revoke(token)


def _revoke_all(user: str, deployments: list[str]) -> None:
    def end(connection: Connection) -> tuple[int, int, list[str]]:
        now = utc_now()
        owners = tokens.accepted_by(connection, user, now) | sessions.accepted_by(connection, user, now)
        accepted = _choose_owners(owners, user, deployments)
        revoked = tokens.revoke_all(connection, user, accepted, now)
        ended = sessions.end_of_user(connection, user, accepted)
        return revoked, ended, tokens.other_spellings(connection, user)

    revoked, ended, remaining = _run_in_database(end)
    typer.echo(f"{revoked} tokens of {user!r} are revoked, {ended} sessions ended")
    for other in remaining:
        typer.echo(
            f"{other!r} has tokens too; if Airflow takes both names for one user, revoke those as well"
        )


def _choose_owners(
    owners: Set[frozenset[str]], user: str, deployments: list[str]
) -> Collection[frozenset[str]]:
    """Return the owners whom one of these deployments knows.
    An owner is the set of the Airflows that accepted the name.

    Raises WindsockError if several Airflows are possible and none is named, or if a named Airflow knows no
    such user."""
    names = sorted(frozenset().union(*owners))
    for name in deployments:
        if name not in names:
            there = f"those are of: {', '.join(names)}" if names else "there are none at all"
            raise WindsockError(f"deployment: {name!r} has no tokens or sessions of {user!r}; {there}")
    if not deployments and len(owners) > 1:
        raise WindsockError(
            f"user: {user!r} may be several people, because not the same Airflows accepted the password each "
            f"time. Name the Airflow with --deployment, more than once for more than one: {', '.join(names)}"
        )
    return [owner for owner in owners if not deployments or not owner.isdisjoint(deployments)]


def _revoke(token: int) -> None:
    found = _run_in_database(lambda connection: tokens.revoke(connection, EVERYONE, token, utc_now()))
    if found is None:
        fail(f"there is no token {token}")
    typer.echo(f"token {found.id} ({found.prefix}…, {found.name!r}) is revoked")


def _chosen(connection: Connection, globs: list[str]) -> AllowedDags:
    return tokens.within(dags_projection.every_dag(connection), globs) if globs else None


def _plain(text: str) -> str:
    """Return the text without the signs on which rich and a terminal would act."""
    return escape(line(text))


def _run_in_database(do: Callable[[Connection], T]) -> T:
    database = Database(settings_or_exit().database)
    try:
        found, needed = versions(database)
        if found != needed:
            fail(f"the database has schema {found}, this release needs {needed}: run `windsock migrate`")
        return database.write_now(do)
    except WindsockError as refusal:
        fail(str(refusal))
    except SQLAlchemyError as error:
        fail(f"the database cannot be used ({type(error).__name__}): `windsock check` says more")
    finally:
        database.close()

"""`windsock plugin-env`: what Airflow must be told, as the monitor was told: a secret is copied once."""

import shlex
from typing import Annotated

import typer

from monitor.cli.command import cli, refuse, settings_or_exit
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

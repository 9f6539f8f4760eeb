"""`windsock tail`: the feed in the terminal.

Exit status: 0 at the end that was asked for (--limit, --no-follow) or when the output's reader has gone; 1
where the monitor cannot be reached at the start, or refuses; 2 for a wrong option or setting; 130 for Ctrl-C,
so that `windsock tail --limit 1 && …` does not go on behind it.
"""

import asyncio
import os
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

import typer

from monitor.airflow_api import AirflowApi
from monitor.cli.command import cli, fail, settings_or_exit
from monitor.clock import utc_now
from monitor.ending import end
from monitor.errors import WindsockError
from monitor.events import stamp
from monitor.rules.durations import duration
from monitor.settings import Settings
from monitor.tail import OutputGone, Wanted, show
from monitor.tail.show import Output

INTERRUPT_SECONDS = 0.5  # until an interrupt that was lost on the way is said again
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EVER = "1970-01-01T00:00:00Z"  # where to begin without --follow and a beginning: with the whole log
GLOBS = "Globs; any of several."


def _moment(text: str) -> str:
    """RFC 3339, from that or from how long ago. Raises typer.BadParameter."""
    try:
        ago = duration(text)
        assert isinstance(ago, timedelta)  # noqa: S101 (of a text it is nothing else)
        return stamp(utc_now() - ago)
    except ValueError:
        pass
    try:
        return stamp(datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone())
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is neither a moment such as 2026-11-22T10:00:00Z nor a duration such as 2h"
        ) from None


@cli.command()
def tail(
    url: Annotated[str, typer.Option(help="The monitor; default: this machine's, by its settings.")] = "",
    deployment: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    event_type: Annotated[list[str], typer.Option("--type", help="Globs, such as 'airflow.dag_run.*'.")] = [],  # noqa: B006
    dag_id: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    run_id: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    task_id: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    state: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    asset: Annotated[list[str], typer.Option(help="Globs of assets' URIs.")] = [],  # noqa: B006
    since: Annotated[
        str | None,
        typer.Option(parser=_moment, metavar="MOMENT|DURATION", help="What the log has since then (2h)."),
    ] = None,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="What follows a cursor (`id` of --json).")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Or end with what the log has now.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    token: Annotated[
        str,
        typer.Option(
            envvar="WINDSOCK_TOKEN",
            help="An Airflow JWT or a Windsock token; default: signs in as this machine's monitor's user.",
        ),
    ] = "",
) -> None:
    """Follow the live feed in the terminal; it resumes by itself."""
    filters = {
        "deployment": deployment,
        "type": event_type,
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "state": state,
        "asset": asset,
    }
    settings = None if url else settings_or_exit()
    wanted = Wanted(
        url=settings.url if settings else url,
        token=token.strip() or None,
        filters=filters,
        since=since or (None if follow or after else EVER),
        after=after,
        limit=limit,
        follow=follow,
        as_json=as_json,
    )
    try:
        asyncio.run(_tail(wanted, settings))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OutputGone:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nothing is left to be flushed into it
    except WindsockError as error:
        fail(str(error))


async def _tail(wanted: Wanted, settings: Settings | None) -> None:
    """This machine's monitor is read as its own user; another address is shown no token but the one given."""
    if settings and settings.auth == "airflow" and not wanted.token:
        wanted = replace(wanted, token=await _own_token(settings))
    showing = asyncio.ensure_future(show(wanted, Output(), Output(stderr=True)))
    try:
        await asyncio.wait({showing})
    finally:
        await end([showing], again=INTERRUPT_SECONDS)
    await showing


async def _own_token(settings: Settings) -> str:
    first = settings.every_airflow.get(settings.deployment)
    if first is None:
        raise WindsockError("no token: set WINDSOCK_TOKEN, or WINDSOCK_AIRFLOW_URL with a user and password")
    api = AirflowApi.of(settings.deployment, first, settings.airflow_timeout, utc_now)
    try:
        return await api.sign_in(first.username, first.password.get_secret_value())
    finally:
        await api.close()

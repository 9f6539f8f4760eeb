"""The command `windsock tail`, which shows the feed in the terminal.

Exit status 0 means the requested end (--limit, --no-follow), or that the reader of the output has gone. Exit
status 1 means that the monitor refuses, or cannot be reached at the start. Exit status 2 means a wrong option
or setting. Exit status 130 means Ctrl-C, so that `windsock tail --limit 1 && …` does not continue after it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated

import httpx
import typer
from rich.console import Console

from monitor.airflow.client import AirflowApi
from monitor.bounded_http import BoundedClient
from monitor.bounded_json import loads
from monitor.cli.feed_client import (
    CONNECT_SECONDS,
    RESET,
    Message,
    Params,
    TailRefused,
    bearer,
    local_time,
    places,
    why,
)
from monitor.cli.tail_lines import LinePrinter, Output, OutputGone, SettledDelivery
from monitor.cli.typer_app import cli, fail, settings_or_exit
from monitor.clock import utc_now
from monitor.concurrency import end
from monitor.errors import WindsockError
from monitor.events.identity import stamp
from monitor.plain_text import line
from monitor.rules.field_types import duration
from monitor.settings import Settings


@dataclass(frozen=True)
class TailOptions:
    """What is to be shown, and until when."""

    url: str
    token: str | None = field(default=None, repr=False)
    filters: Params = field(default_factory=dict)
    since: str | None = None
    """RFC 3339."""
    after: str = ""
    limit: int | None = None
    """Events, after which it ends."""
    follow: bool = True
    """False: end with the last event that the log has when it begins."""
    as_json: bool = False

    @property
    def params(self) -> Params:
        return {**self.filters, **({"since": self.since} if self.since else {})}


DELIVERY_SECONDS = 2.0  # between two looks at the deliveries, which are in no feed
DELIVERIES = 200  # the latest of them are looked at
KNOWN_EVENTS = 10_000  # events that were shown, whose notifications are shown too where there is a filter


async def show(options: TailOptions, out: Console, err: Console) -> None:
    """Print the feed until it ends or is cancelled. Raises TailRefused, OutputGone."""
    async with BoundedClient(base_url=options.url) as client:
        last = None if options.follow else await _last(client, options)
        if last == 0:
            return
        printer = LinePrinter(options.as_json, out)
        delivery_reader = DeliveryReader(client, options, printer, err)
        tasks: list[asyncio.Task[None]] = []
        try:
            await _follow(
                client, options, last, printer, _OutageReporter(options.url, err), delivery_reader, tasks
            )
            if not options.as_json and not options.follow:
                await delivery_reader.look()
            printer.flush()
        finally:
            await end(tasks)


async def _follow(
    client: httpx.AsyncClient,
    options: TailOptions,
    last: int | None,
    printer: LinePrinter,
    outages: _OutageReporter,
    delivery_reader: DeliveryReader,
    tasks: list[asyncio.Task[None]],
) -> None:
    """Read until the end that the options name. From the first answer on, deliveries are read beside it."""
    count = 0
    async with aclosing(places(client, options.params, options.token, options.after, outages)) as found:
        async for cursor, message in found:
            if not tasks and not options.as_json:
                tasks.append(asyncio.ensure_future(printer.run()))
                if options.follow:
                    tasks.append(asyncio.ensure_future(delivery_reader.run()))
            for task in tasks:
                if task.done():
                    task.result()  # raises why it ended: nobody reads the output any more
            if message is not None:
                printer.print(message)
                delivery_reader.note(message)
                count += message.type != RESET
            if count == options.limit or (last is not None and _seq(cursor) >= last):
                return


class DeliveryReader:
    """Looks which notifications were settled since it began, and prints them among the events."""

    def __init__(
        self, client: httpx.AsyncClient, options: TailOptions, printer: LinePrinter, err: Console
    ) -> None:
        self._client = client
        self._options = options
        self._printer = printer
        self._err = err
        self._since = datetime.fromisoformat((options.since or stamp(utc_now())).replace("Z", "+00:00"))
        self._events: dict[str, None] = {}
        self._shown: set[tuple[int, str]] = set()
        self._has_failed = False

    def note(self, message: Message) -> None:
        """Remember an event that was shown."""
        self._events[str(message.data.get("id"))] = None
        if len(self._events) > KNOWN_EVENTS:
            del self._events[next(iter(self._events))]

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            await asyncio.sleep(DELIVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Print what was settled since the last look. A monitor that is away is the feed's to say."""
        try:
            answer = await self._client.get(
                "/api/v1/deliveries",
                params={"limit": DELIVERIES},
                headers=bearer(self._options.token),
                timeout=CONNECT_SECONDS,
            )
            if answer.status_code != httpx.codes.OK:
                self._fail(why(answer, answer.content))
                return
            rows = [SettledDelivery.read(row) for row in loads(answer.content)["deliveries"]]
        except httpx.HTTPError:
            return
        except (ValueError, KeyError, TypeError, OverflowError):
            self._fail("the answer is no page of deliveries")
            return
        for row in reversed(rows):
            if row and (row.id, row.at) not in self._shown and self._is_wanted(row):
                self._printer.add(local_time(row.at), row.render())
        self._shown = {(row.id, row.at) for row in rows if row}

    def _is_wanted(self, row: SettledDelivery) -> bool:
        if any(self._options.filters.values()):
            return row.event_id in self._events
        return local_time(row.at) >= self._since

    def _fail(self, reason: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            _say(self._err, f"notifications are not shown: {reason}")


async def _last(client: httpx.AsyncClient, options: TailOptions) -> int:
    """The place in the log of the newest event that matches; 0 where none does."""
    try:
        answer = await client.get(
            "/api/v1/events",
            params={**options.filters, "limit": 1},
            headers=bearer(options.token),
            timeout=CONNECT_SECONDS,
        )
    except httpx.HTTPError as error:
        raise _unreachable(options.url, str(error) or type(error).__name__) from None
    if answer.status_code != 200:
        raise TailRefused(why(answer, answer.content))
    try:
        return max((int(row["seq"]) for row in answer.json()["events"]), default=0)
    except (ValueError, KeyError, TypeError):
        raise TailRefused(
            f"{answer.url} answers with what is no page of events: is it the monitor's?"
        ) from None


def _seq(cursor: str) -> int:
    return int(cursor.rpartition("-")[2] or 0)


class _OutageReporter:
    """Says once that the connection is lost, and once that it is back. Nobody there at all is an error."""

    def __init__(self, url: str, err: Console) -> None:
        self._url = url
        self._err = err
        self._has_begun = False
        self._lost = False

    def on_disconnect(self, reason: str) -> None:
        if not self._has_begun:
            raise _unreachable(self._url, reason)
        if not self._lost:
            self._lost = True
            self._say(f"connection lost ({reason}); trying again …")

    def on_data(self) -> None:
        if self._lost:
            self._say("back; going on from where it was cut off")
        self._has_begun, self._lost = True, False

    def _say(self, text: str) -> None:
        _say(self._err, text)


def _say(err: Console, text: str) -> None:
    err.print(f"windsock: {line(text)}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _unreachable(url: str, reason: str) -> TailRefused:
    return TailRefused(f"no feed from {url}: {reason}. Is the monitor running, and --url its address?")


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
    """Follow the events and the notifications in the terminal: what happened, and who was notified of it.

    Interruptions are bridged: it goes on from where it was cut off.
    """
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
    options = TailOptions(
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
        asyncio.run(_tail(options, settings))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OutputGone:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nothing is left to be flushed into it
    except WindsockError as error:
        fail(str(error))


async def _tail(options: TailOptions, settings: Settings | None) -> None:
    """This machine's monitor is read as its own user; another address is shown no token but the one given."""
    if settings and settings.auth == "airflow" and not options.token:
        options = replace(options, token=await _own_token(settings))
    showing = asyncio.ensure_future(show(options, Output(), Output(stderr=True)))
    try:
        await asyncio.wait({showing})
    finally:
        await end([showing], again=INTERRUPT_SECONDS)
    await showing


async def _own_token(settings: Settings) -> str:
    first = settings.every_airflow.get(settings.deployment)
    if first is None:
        raise WindsockError("no token: set WINDSOCK_TOKEN, or WINDSOCK_AIRFLOW_URL with a user and password")
    api = AirflowApi.from_settings(settings.deployment, first, settings.airflow_timeout, utc_now)
    try:
        return await api.sign_in(first.username, first.password.get_secret_value())
    finally:
        await api.close()

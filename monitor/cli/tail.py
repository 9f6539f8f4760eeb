"""The command `windsock tail`, which shows the feed in the terminal.

Exit status 0 means the requested end (--limit, --no-follow), or that the reader of the output has gone. Exit
status 1 means that the monitor refuses, or cannot be reached at the start. Exit status 2 means a wrong option
or setting. Exit status 130 means Ctrl-C, so that `windsock tail --limit 1 && …` does not continue after it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer
from rich.console import Console

from monitor.airflow.client import AirflowApi
from monitor.cli.tail_lines import LinePrinter, Output, OutputGone, SettledDelivery, local_time
from monitor.cli.typer_app import cli, fail, settings_or_exit
from monitor.clock import utc_now
from monitor.errors import WindsockError
from monitor.plain_text import line
from monitor.rules.field_types import duration
from monitor.settings import Settings
from windsock_client import Event, Feed, FeedError, FeedUnavailable


@dataclass(frozen=True)
class TailOptions:
    """The events that are to be shown, and when to end."""

    url: str
    token: str | None = field(default=None, repr=False)
    filters: dict[str, list[str]] = field(default_factory=dict)
    since: datetime | None = None
    after: str = ""
    limit: int | None = None
    """Events, after which it ends."""
    follow: bool = True
    """False: end with the last event that the log has when it begins."""
    as_json: bool = False


HOLD_SECONDS = 0.5  # lines are held for so long: what happened before them may come after them
DELIVERY_SECONDS = 2.0  # between two looks at the deliveries, which are in no feed
DELIVERIES = 200  # the latest of them are looked at
KNOWN_EVENTS = 10_000  # events that were shown, whose notifications are shown too where there is a filter
SEQ_DIGITS = 19  # of a place in the log, which is below 2^63
JOIN_SECONDS = 1.0  # at the end, for a request that is under way


def show(options: TailOptions, out: Console, err: Console) -> None:
    """Print the feed until it ends or is interrupted. Raises WindsockError, FeedError, OutputGone."""
    observer = _OutageReporter(options.url, err)
    with _open_feed(options, observer) as feed:
        last = None if options.follow else _find_last(feed, options)
        if last == 0:
            return
        observer.on_place = lambda cursor: feed.close() if last is not None and _seq(cursor) >= last else None
        printer = LinePrinter(options.as_json, out)
        deliveries = DeliveryReader(feed, options, printer, err)
        with _repeat(printer.flush, HOLD_SECONDS, feed), _repeat(deliveries.look, DELIVERY_SECONDS, feed):
            _print_feed(feed, options, printer, deliveries)
        if not options.follow:
            deliveries.look()
        printer.flush()


def _open_feed(options: TailOptions, observer: _OutageReporter) -> Feed:
    try:
        return Feed(
            options.url,
            token=options.token,
            after=options.after or None,
            since=options.since,
            on_cursor=observer.on_cursor,
            on_interruption=observer.on_interruption,
            **options.filters,  # type: ignore[arg-type]
        )
    except ValueError as error:
        raise WindsockError(str(error)) from None


def _print_feed(feed: Feed, options: TailOptions, printer: LinePrinter, deliveries: DeliveryReader) -> None:
    count = 0
    for item in feed:
        printer.print(item)
        if isinstance(item, Event):
            deliveries.note(item)
            count += 1
            if count == options.limit:
                return


@contextmanager
def _repeat(work: Callable[[], None], seconds: float, feed: Feed) -> Iterator[None]:
    """Do the work again and again in a thread.
    An OutputGone of the work ends the feed and is raised by this function."""
    ended = threading.Event()
    gone: list[OutputGone] = []

    def run() -> None:
        try:
            while not ended.wait(seconds):
                work()
        except OutputGone as error:
            gone.append(error)
            feed.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(JOIN_SECONDS)
    if gone:
        raise gone[0]


class DeliveryReader:
    """The reader of settled deliveries. It prints the deliveries settled since its start among the events."""

    def __init__(self, feed: Feed, options: TailOptions, printer: LinePrinter, err: Console) -> None:
        self._feed = feed
        self._options = options
        self._printer = printer
        self._err = err
        self._since = options.since or utc_now()
        self._events: dict[str, None] = {}
        self._shown: set[tuple[int, str]] = set()
        self._has_failed = False

    def note(self, event: Event) -> None:
        """Remember an event that was shown."""
        self._events[event.id] = None
        if len(self._events) > KNOWN_EVENTS:
            del self._events[next(iter(self._events))]

    def look(self) -> None:
        """Print what was settled since the last look. A monitor that is away is the feed's to say."""
        if self._options.as_json or self._feed.cursor is None:  # the feed has not begun
            return
        try:
            page = self._feed.get_json("/api/v1/deliveries", {"limit": DELIVERIES})
            rows = [SettledDelivery.read(row) for row in page["deliveries"]]
        except FeedUnavailable:
            return
        except FeedError as error:
            self._fail(str(error))
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


def _find_last(feed: Feed, options: TailOptions) -> int:
    """Return the place in the log of the newest event that matches, or 0 if none does."""
    try:
        page = feed.get_json("/api/v1/events", {**options.filters, "limit": 1})
        return max((int(row["seq"]) for row in page["events"]), default=0)
    except FeedUnavailable as error:
        raise _unreachable(options.url, str(error)) from None
    except (ValueError, KeyError, TypeError):
        raise WindsockError(f"{options.url} answers with no page of events: is it the monitor's?") from None


def _seq(cursor: str) -> int:
    """Return the place in the log, or 0 before the first cursor. Raises WindsockError."""
    seq = cursor.rpartition("-")[2] or "0"
    if seq.isascii() and seq.isdigit() and len(seq) <= SEQ_DIGITS:
        return int(seq)
    raise WindsockError(f"{cursor!r} is no cursor: is it the monitor's address?")


class _OutageReporter:
    """The observer that prints once that the connection is lost, and once that it is back.
    A monitor that never answered is an error."""

    def __init__(self, url: str, err: Console) -> None:
        self._url = url
        self._err = err
        self._has_begun = False
        self._lost = False
        self.on_place: Callable[[str], None] = lambda _cursor: None
        """Called with each cursor."""

    def on_interruption(self, reason: str) -> None:
        if not self._has_begun:
            raise _unreachable(self._url, reason)
        if not self._lost:
            self._lost = True
            self._say(f"connection lost ({reason}); trying again …")

    def on_cursor(self, cursor: str) -> None:
        if self._lost:
            self._say("back; going on from where it was cut off")
        self._has_begun, self._lost = True, False
        self.on_place(cursor)

    def _say(self, text: str) -> None:
        _say(self._err, text)


def _say(err: Console, text: str) -> None:
    err.print(f"windsock: {line(text)}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _unreachable(url: str, reason: str) -> WindsockError:
    return WindsockError(f"no feed from {url}: {reason}. Is the monitor running, and --url its address?")


EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EVER = datetime(1970, 1, 1, tzinfo=timezone.utc)  # the beginning without --follow: the whole log
GLOBS = "Globs, any of several."


def _moment(text: str) -> datetime:
    """Return a moment from RFC 3339 or from how long ago it is. Raises typer.BadParameter."""
    try:
        ago = duration(text)
        assert isinstance(ago, timedelta)  # noqa: S101 (of a text it is nothing else)
        return utc_now() - ago
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is neither a moment such as 2026-11-22T10:00:00Z nor a duration such as 2h"
        ) from None


@cli.command()
def tail(
    url: Annotated[str, typer.Option(help="The monitor, by default this machine's, from its settings.")] = "",
    deployment: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    event_type: Annotated[list[str], typer.Option("--type", help="Globs, such as 'airflow.dag_run.*'.")] = [],  # noqa: B006
    dag_id: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    run_id: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    task_id: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    state: Annotated[list[str], typer.Option(help=GLOBS)] = [],  # noqa: B006
    asset: Annotated[list[str], typer.Option(help="Globs of assets' URIs.")] = [],  # noqa: B006
    since: Annotated[
        datetime | None,
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
            help="An Airflow JWT or a Windsock token. By default signs in as this machine's monitor's user.",
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
        show(_sign_in(options, settings), Output(), Output(stderr=True))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OutputGone:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nothing is left to be flushed into it
    except (WindsockError, FeedError) as error:
        fail(str(error))


def _sign_in(options: TailOptions, settings: Settings | None) -> TailOptions:
    """Read this machine's monitor as its own user. Another address is shown no token but the one given."""
    if settings is None or settings.auth != "airflow" or options.token:
        return options
    return replace(options, token=asyncio.run(_own_token(settings)))


async def _own_token(settings: Settings) -> str:
    first = settings.every_airflow.get(settings.deployment)
    if first is None:
        raise WindsockError("no token: set WINDSOCK_TOKEN, or WINDSOCK_AIRFLOW_URL with a user and password")
    api = AirflowApi.from_settings(settings.deployment, first, settings.airflow_timeout, utc_now)
    try:
        return await api.own_token()
    finally:
        await api.close()

"""The feed: one iteration over as many connections as necessary."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlencode

from windsock_client.connection import Address, Connection
from windsock_client.errors import Away, FeedError, FeedUnavailable
from windsock_client.formats import (
    JSON,
    NDJSON,
    SERVER_SENT_EVENTS,
    ItemStream,
    lines,
    loads,
    ndjson,
    server_sent_events,
)
from windsock_client.pace import Pace
from windsock_client.records import Item, checked_cursor

if TYPE_CHECKING:
    from typing_extensions import Unpack

SILENCE_SECONDS = 50.0  # three of the monitor's heartbeats (15 s) and some: the connection is dead
REQUEST_SECONDS = 10.0  # without a byte of an answer of the JSON API
MAX_PAGE = 16 * 1024 * 1024  # bytes of such an answer. 200 deliveries have 200 kB

logger = logging.getLogger("windsock_client")

Globs = str | Iterable[str]
FORMS = {"sse": SERVER_SENT_EVENTS, "ndjson": NDJSON}


class Filters(TypedDict, total=False):
    """The globs (`*`, `?`) by attribute.
    An event matches if every given attribute matches one of its globs."""

    deployment: Globs
    type: Globs
    dag_id: Globs
    run_id: Globs
    task_id: Globs
    state: Globs
    asset: Globs


class Feed:
    """An iterator over every matching event, each once and in the log's order, across any interruption.

    `token` is an Airflow JWT or a Windsock token, or a function that returns one and is called at each
    connection. The feed begins behind the cursor `after`, else with what was received at `since` and later,
    else with what comes from now on. `silence` is the seconds without a byte after which the connection
    counts as dead.

    `on_cursor` is called with each cursor that the feed reaches, heartbeats included, before the item is
    handed out. `on_interruption` is called with the reason of each interruption. Without it the reason is
    logged. The thread that iterates calls both, and an exception that they raise ends the iteration.

    One thread iterates. Any thread may call close() and read `cursor`. Leaving the loop keeps the place:
    iterating again goes on behind the last item. Nothing is connected before the first item is asked for.

    Raises ValueError if a parameter cannot be used. Iterating raises FeedRefused and FeedError."""

    def __init__(
        self,
        url: str,
        *,
        token: str | Callable[[], str] | None = None,
        after: str | None = None,
        since: datetime | None = None,
        ca_file: str | Path | None = None,
        silence: float = SILENCE_SECONDS,
        form: Literal["sse", "ndjson"] = "sse",
        on_cursor: Callable[[str], None] | None = None,
        on_interruption: Callable[[str], None] | None = None,
        **filters: Unpack[Filters],
    ) -> None:
        self._address = Address.parse(url)
        self._token = token
        self._cursor = _sendable_cursor(after) if after else None
        self._query = _query(filters)
        self._since = _stamp(since) if since else None
        self._context = ssl.create_default_context(cafile=ca_file) if self._address.tls else None
        self._silence = silence
        self._accept = FORMS[form]
        self._on_cursor = on_cursor
        self._on_interruption = on_interruption or self._log_interruption
        self._closed = threading.Event()
        self._connection: Connection | None = None

    @property
    def cursor(self) -> str | None:
        """The cursor up to which the feed has been handed out, or None before it begins.
        The cursor moves on with heartbeats too, so a reader whose filter matches nothing for long still has
        a recent place."""
        return self._cursor

    def close(self) -> None:
        """End the iteration, from any thread.
        An iteration that is just connecting ends when the connection is made or refused."""
        self._closed.set()
        if connection := self._connection:
            connection.shut()

    def get_json(self, path: str, params: Mapping[str, str | int | Iterable[str]] | None = None) -> Any:
        """Return a page of the monitor's JSON API, such as `/api/v1/events`, with the filters of `params`.

        The request has a connection of its own. Any thread may make it. Raises FeedRefused, FeedUnavailable
        and FeedError.
        """
        try:
            with closing(Connection(self._address, self._context, REQUEST_SECONDS)) as connection:
                headers = {"Accept": JSON, **self._authorization()}
                connection.ask(f"{path}{_query_string(_pairs(params or {}))}", headers, (JSON,))
                body = bytearray()
                for chunk in connection.chunks():
                    body += chunk
                    if len(body) > MAX_PAGE:
                        raise FeedError(f"{self._address.url}: {path} is longer than {MAX_PAGE} bytes")
            return loads(bytes(body))
        except Away as away:
            raise FeedUnavailable(str(away)) from away
        except ValueError as error:
            raise FeedError(f"{self._address.url}: {path} is no JSON: {error}") from error

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        pace = Pace()
        while not self._closed.is_set():
            reason, requested_wait = "the monitor ended the feed", 0.0
            try:
                yield from self._items(pace)
            except Away as away:
                reason, requested_wait = str(away), away.retry_after
            if not self._closed.is_set():
                self._on_interruption(reason)
            self._closed.wait(pace.wait(requested_wait))

    def _log_interruption(self, reason: str) -> None:
        logger.warning("%s: %s; resuming after %s", self._address.url, reason, self._cursor)

    def _items(self, pace: Pace) -> Iterator[Item]:
        """Yield what one connection brings. Raises Away and FeedError."""
        with closing(Connection(self._address, self._context, self._silence)) as connection:
            self._connection = connection
            # Checked after the connection can be found: either close() finds the connection, or this check
            # sees close().
            for cursor, item in () if self._closed.is_set() else self._open_stream(connection, pace):
                if self._closed.is_set():
                    return
                pace.reset()
                self._cursor = cursor
                if self._on_cursor:
                    self._on_cursor(cursor)
                if item is not None:
                    yield item

    def _open_stream(self, connection: Connection, pace: Pace) -> ItemStream:
        since = [("since", self._since)] if self._since and not self._cursor else []
        target = "/events" + _query_string([*self._query, *since])
        media_type = connection.ask(target, self._headers())
        whole = lines(connection.chunks())
        cursor = self._cursor or ""
        return (
            ndjson(whole, cursor) if media_type == NDJSON else server_sent_events(whole, cursor, pace.retry)
        )

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": self._accept, "Cache-Control": "no-store"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        return {**headers, **self._authorization()}

    def _authorization(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {"Authorization": f"Bearer {_sendable(token)}"} if token else {}


def _query(filters: Filters) -> list[tuple[str, str]]:
    """Return the filters as query parameters.
    Raises ValueError for an unknown filter, because a misspelt one would match everything."""
    for name in filters:
        if name not in Filters.__annotations__:
            raise ValueError(f"{name}: is no filter; there are {', '.join(Filters.__annotations__)}")
    return _pairs(filters)  # type: ignore[arg-type]


def _pairs(params: Mapping[str, str | int | Iterable[str]]) -> list[tuple[str, str]]:
    """Return each value with its parameter's name."""
    return [
        (name, text)
        for name, value in params.items()
        for text in ([str(value)] if isinstance(value, str | int) else value)
    ]


def _query_string(pairs: list[tuple[str, str]]) -> str:
    return f"?{urlencode(pairs)}" if pairs else ""


def _sendable_cursor(cursor: str) -> str:
    """Return a cursor that a header can carry. Raises ValueError."""
    try:
        return checked_cursor(cursor)
    except FeedError as error:
        raise ValueError(f"after: {error}") from None


def _stamp(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"since: {moment} has no time zone; datetime.now(timezone.utc) has one")
    return moment.astimezone(timezone.utc).isoformat()


def _sendable(token: str) -> str:
    """Return the token if a header can carry it.
    Raises FeedError without the token in its text (http.client's error would repeat it)."""
    stripped = token.strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise FeedError("token: holds a line's end or another character that no token has")
    return stripped

"""The feed: one iteration over as many connections as necessary."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict
from urllib.parse import urlencode

from windsock_client.connection import Address, Connection
from windsock_client.errors import Away, FeedError
from windsock_client.formats import NDJSON, SERVER_SENT_EVENTS, ItemStream, lines, ndjson, server_sent_events
from windsock_client.pace import Pace
from windsock_client.records import Item

if TYPE_CHECKING:
    from typing_extensions import Unpack

SILENCE_SECONDS = 50.0  # three of the monitor's heartbeats (15 s) and some: the connection is dead

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
        **filters: Unpack[Filters],
    ) -> None:
        self._address = Address.parse(url)
        self._token = token
        self._cursor = after
        self._query = _query(filters)
        self._since = _stamp(since) if since else None
        self._context = ssl.create_default_context(cafile=ca_file) if self._address.tls else None
        self._silence = silence
        self._accept = FORMS[form]
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

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        pace = Pace()
        while not self._closed.is_set():
            requested_wait = 0.0
            try:
                yield from self._items(pace)
                logger.info("%s: the feed ended; resuming after %s", self._address.url, self._cursor)
            except Away as away:
                requested_wait = away.retry_after
                if not self._closed.is_set():
                    logger.warning("%s: %s; resuming after %s", self._address.url, away, self._cursor)
            self._closed.wait(pace.wait(requested_wait))

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
                if item is not None:
                    yield item

    def _open_stream(self, connection: Connection, pace: Pace) -> ItemStream:
        media_type = connection.ask(self._query_string(), self._headers())
        whole = lines(connection.chunks())
        cursor = self._cursor or ""
        return (
            ndjson(whole, cursor) if media_type == NDJSON else server_sent_events(whole, cursor, pace.retry)
        )

    def _query_string(self) -> str:
        since = [("since", self._since)] if self._since and not self._cursor else []
        query = urlencode([*self._query, *since])
        return f"?{query}" if query else ""

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": self._accept, "Cache-Control": "no-store"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        token = self._token() if callable(self._token) else self._token
        if token:
            headers["Authorization"] = f"Bearer {_sendable(token)}"
        return headers


def _query(filters: Filters) -> list[tuple[str, str]]:
    """Return the filters as query parameters.
    Raises ValueError for an unknown filter, because a misspelt one would match everything."""
    found: list[tuple[str, str]] = []
    for name, value in filters.items():
        if name not in Filters.__annotations__:
            raise ValueError(f"{name}: is no filter; there are {', '.join(Filters.__annotations__)}")
        globs = [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
        found += [(name, glob) for glob in globs]
    return found


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

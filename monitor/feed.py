"""The live feed: one loop over the log for replay and live, so that nothing falls between the two.

A reader is only a place in the log. A slow one lags: its next page is read once the last has been written,
so the server keeps one page for it and no queue.

Odd on purpose: a heartbeat carries an `id:` and no data. The HTML standard (9.2.6, "dispatch the event")
takes the id even though nothing is dispatched, so a reader whose filter matches nothing for days still
comes back with a recent place, and the log is not looked through again from where its last event was.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from math import inf

from sqlalchemy import Connection

from monitor import event_log
from monitor.database import Database
from monitor.event_log import Cursor, Filter, Logged, Visible
from monitor.metrics import Metrics
from monitor.wake import Wake

PAGE = 100  # events read, encoded and written at once: all that a reader costs in memory
POLL_SECONDS = 5.0  # waking is for latency; this finds what another process has written
HEARTBEAT_SECONDS = 15.0  # below the 30 to 60 s after which proxies cut a silent connection
RETRY_MS = 2_000  # how soon a browser comes back: a restart takes about as long
MAX_READERS = 500  # open feeds; each holds a socket, and 1,024 file descriptors are a common limit

logger = logging.getLogger(__name__)

Rights = Callable[[], Awaitable[Visible]]
"""What the reader may see, asked before each page. Raises FeedEnded."""

Start = Callable[[Connection], Cursor]
"""Where a reader begins; whether the log still reaches back to there is looked at with each page."""


class FeedEnded(Exception):
    """The reader may not go on: signed out, or refused by Airflow."""


class FeedFull(Exception):
    """As many feeds are open as this process serves."""


def from_now(connection: Connection) -> Cursor:
    """Only what comes from now on."""
    state = event_log.state(connection)
    return Cursor(state.epoch, state.last_seq)


def since(moment: datetime) -> Start:
    """What was received at a moment and later, as far as the log reaches back."""
    return lambda connection: Cursor(event_log.state(connection).epoch, event_log.seq_at(connection, moment))


def after(cursor: Cursor) -> Start:
    """What follows a cursor."""
    return lambda _connection: cursor


@dataclass(frozen=True)
class _Page:
    """What comes next: events, the place behind them, and why the reader had to begin anew, if so."""

    events: list[Logged]
    cursor: Cursor
    begun_at: Cursor
    lost: str | None

    @property
    def full(self) -> bool:
        return len(self.events) == PAGE

    def encode(self) -> bytes:
        start = reset(self.lost, self.begun_at) if self.lost else b""
        return start + b"".join(frames(self.cursor.epoch, self.events))


class Feeds:
    """Every open feed of this process."""

    def __init__(
        self, database: Database, wake: Wake, metrics: Metrics, heartbeat: float = HEARTBEAT_SECONDS
    ) -> None:
        self._database = database
        self._wake = wake
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._open = 0
        self._closed = False

    def close(self) -> None:
        """End every feed, at the service's end. Only from the event loop's own thread."""
        self._closed = True
        self._wake.set()

    def require_room(self) -> None:
        """Raises FeedFull where no further feed is served."""
        if self._open >= MAX_READERS:
            raise FeedFull(f"{MAX_READERS} feeds are open on this monitor; close some, or come back later")

    async def follow(self, start: Start, wanted: Filter, rights: Rights) -> AsyncIterator[bytes]:
        """One reader's feed as it is written, until close() or the end of its rights."""
        self._open += 1
        self._metrics.feed_readers.inc()
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            async for chunk in self._pages(start, wanted, rights):
                yield chunk
        except FeedEnded as ended:
            logger.info("a feed ended: %s", ended)
        finally:
            self._open -= 1
            self._metrics.feed_readers.dec()

    async def _pages(self, start: Start, wanted: Filter, rights: Rights) -> AsyncIterator[bytes]:
        time = asyncio.get_running_loop().time
        cursor = await self._database.read(start)
        spoke = (
            -inf
        )  # tell the first place at once: a reader that is cut off before any event comes back there
        while not self._closed:
            seen = self._wake.count
            page = await self._read(cursor, wanted, await rights())
            chunk = page.encode()
            if not chunk and time() - spoke >= self._heartbeat:
                chunk = heartbeat(page.cursor)
            if chunk:
                yield chunk
                spoke = time()
            cursor = page.cursor
            if not page.full:
                await self._wake.wait(seen, min(POLL_SECONDS, self._heartbeat))

    async def _read(self, cursor: Cursor, wanted: Filter, visible: Visible) -> _Page:
        return await self._database.read(lambda connection: _next_page(connection, cursor, wanted, visible))


def _next_page(connection: Connection, cursor: Cursor, wanted: Filter, visible: Visible) -> _Page:
    state = event_log.state(connection)
    lost = state.expired(cursor)
    begun_at = Cursor(state.epoch, state.pruned_seq) if lost else cursor
    found = event_log.read_after(connection, begun_at.seq, PAGE, wanted, visible)
    # Where each statement sees its own moment (PostgreSQL), events may be newer than the state read before.
    upto = max(found.upto, found.events[-1].seq) if found.events else found.upto
    return _Page(found.events, Cursor(state.epoch, upto), begun_at, lost)


def frames(epoch: str, events: Iterable[Logged]) -> Iterable[bytes]:
    """Events as SSE messages. A body is one line of JSON, so it needs one `data:`."""
    for event in events:
        yield f"id: {epoch}-{event.seq}\nevent: {event.type}\ndata: {event.body}\n\n".encode()


def heartbeat(cursor: Cursor) -> bytes:
    """A sign of life that also tells the reader how far the log has been looked through for it."""
    return f": heartbeat\nid: {cursor}\n\n".encode()


def reset(reason: str, cursor: Cursor) -> bytes:
    """Tell the reader that events may have been missed, and where it goes on from."""
    data = json.dumps({"reason": reason, "cursor": str(cursor)})
    return f"id: {cursor}\nevent: reset\ndata: {data}\n\n".encode()

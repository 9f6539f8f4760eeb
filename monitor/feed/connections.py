"""The connections of the feed: their start positions, their replay from the log, and their number.

A subscriber is a place in the log and a task of its own, whose loop is `FeedServer._follow`. The loop sends
what follows that place, from the log or from the buffer, and then waits for news. So nothing is lost between
replayed and new events. New events are read from the database once for all subscribers (hub.py), and encoded
once for those with the same subscription (buffer.py).

A slow subscriber has one pending write and no queue. It goes on from the buffer, or from the log if the
buffer no longer reaches so far back. A client that does not take that write within `WRITE_SECONDS` is
disconnected (web/http_protocol.py), and comes back to its cursor.

`require_room` bounds the number of feeds, in all and for each user (`MAX_READERS`, `SHARE`).
"""

import asyncio
import logging
import random
import resource
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.event_log import cursor as event_log_cursor
from monitor.event_log import read as event_log_read
from monitor.event_log.cursor import Cursor, LogState
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.read import LoggedEvent
from monitor.feed.buffer import (
    BLOCK_BYTES,
    EventBuffer,
    EventChunk,
    FeedFormat,
    Message,
    Subscription,
    body,
)
from monitor.feed.hub import Hub, OnProgress, ignore_progress
from monitor.feed.subscriber import FeedEnded, Rights, Send, Subscriber
from monitor.observability.metrics import Metrics

FindStart = Callable[[Connection], Cursor]


def from_now(connection: Connection) -> Cursor:
    """Return the log's end, so that only new events follow."""
    state = event_log_cursor.state(connection)
    return Cursor(state.epoch, state.last_seq)


def from_time(moment: datetime) -> FindStart:
    """Return a start at what was received at a moment and later, as far as the log reaches back."""
    return lambda connection: Cursor(
        event_log_cursor.state(connection).epoch, event_log_read.seq_at(connection, moment)
    )


def from_cursor(cursor: Cursor) -> FindStart:
    """Return a start behind a cursor."""
    return lambda _connection: cursor


PAGE = 100  # events read, encoded and written at once: all that a reader costs in memory,
PAGE_CHARACTERS = BLOCK_BYTES  # of their bodies, if they are long: usual ones have 1,000 each


@dataclass(frozen=True)
class StartPosition:
    """The place at which a reader really begins: the wished one, or the oldest event kept if that is gone."""

    cursor: Cursor
    lost: str | None = None

    def encode(self, feed_format: FeedFormat) -> bytes:
        """Encode the start, so that a reader that is cut off before any event comes back to this place."""
        return feed_format.reset(self.lost, self.cursor) if self.lost else feed_format.heartbeat(self.cursor)


@dataclass(frozen=True)
class LogPage:
    """The next events, the place behind them, and the reason if the reader had to begin anew."""

    events: list[LoggedEvent]
    cursor: Cursor
    start: StartPosition

    def encode(self, feed_format: FeedFormat) -> bytes:
        """Encode the page."""
        reset = self.start.encode(feed_format) if self.start.lost else b""
        epoch = self.cursor.epoch
        return reset + b"".join(
            feed_format.event(f"{epoch}-{logged_event.seq}", logged_event.type, logged_event.body)
            for logged_event in self.events
        )


def begin(connection: Connection, start: FindStart) -> StartPosition:
    """Return the place at which a reader begins."""
    return _beginning(event_log_cursor.state(connection), start(connection))


def read(connection: Connection, cursor: Cursor, subscription: Subscription) -> LogPage:
    """Read the next page of the log for a subscription."""
    state = event_log_cursor.state(connection)
    start = _beginning(state, cursor)
    found = event_log_read.read_after(
        connection,
        start.cursor.seq,
        PAGE,
        subscription.event_filter,
        subscription.allowed_dags,
        PAGE_CHARACTERS,
    )
    return LogPage(found.events, Cursor(state.epoch, found.upto), start)


def _beginning(state: LogState, cursor: Cursor) -> StartPosition:
    lost = state.expiry_reason(cursor)
    return StartPosition(Cursor(state.epoch, state.pruned_seq) if lost else cursor, lost)


MAX_READERS = 20_000  # open feeds: at about 35 kB each that is 700 MB
MIN_SHARE = 20  # feeds that one user may have open however few there are in all
SHARE = 0.1  # of all feeds: what one user may have open, so that one cannot take every other's
OTHERS = 200  # file descriptors for everything else: the database, mail, Airflow, pages
OTHER_CONNECTIONS = 100  # of these, for requests that are no feeds


def raise_limit() -> None:
    """Let this process open as many files as its administrator allows. Many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_READERS + OTHERS if hard == resource.RLIM_INFINITY else min(hard, MAX_READERS + OTHERS)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def room() -> int:
    """Return the number of feeds that can be open at once. Each holds a file descriptor."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_READERS if soft == resource.RLIM_INFINITY else min(MAX_READERS, max(soft - OTHERS, soft // 2))


def connection_room() -> int:
    """Return how many connections can be open at once: every feed's, and half of the other descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = OTHERS if soft == resource.RLIM_INFINITY else soft - room()
    return room() + min(OTHER_CONNECTIONS, spare // 2)


def share_of(room: int) -> int:
    """Return the number of feeds that one user may have open, of so many in all."""
    return min(room, max(MIN_SHARE, int(room * SHARE)))


AGAIN_SECONDS = 1.0  # until a reader's own work is tried again that the database has ended
HEARTBEAT_SECONDS = 15.0  # below the 30 to 60 s after which proxies cut a silent connection
RETRY_MS = (1_000, 3_000)  # how soon a reader comes back: spread, so that a restart is not met by all at once

logger = logging.getLogger(__name__)

T = TypeVar("T")


class FeedFull(Exception):
    """The error that this process already serves as many feeds as it can."""


class ShareFull(Exception):
    """The error that a user has as many feeds open as one user may. Other users need some too."""


class FeedServer:
    """The server of feeds. `publish` and `attend` are its background tasks."""

    def __init__(
        self,
        database: Database,
        wake: WakeSignal,
        metrics: Metrics,
        logged: LoggedDags,
        heartbeat: float = HEARTBEAT_SECONDS,
        limit: int | None = None,
        saw: OnProgress = ignore_progress,
    ) -> None:
        """Set up the server.
        `limit` is the number of feeds that may be open, by default as many as this process may have files
        for. `saw` is called with the place up to which readers have been served."""
        self._database = database
        self._metrics = metrics
        self._logged = logged
        self._heartbeat = heartbeat
        self._hub = Hub(database, wake, metrics, logged, heartbeat, saw)
        self._open_of: Counter[str] = Counter()
        self._room = room() if limit is None else limit
        self._closed = False
        self.publish = self._hub.publish
        self.attend = self._hub.attend
        self.hand = self._hub.fresh.add

    def require_room(self, whose: str | None = None) -> None:
        """Raise FeedFull if no further feed can be served, or ShareFull if this user has enough."""
        if len(self._hub.subscribers) >= self._room:
            raise FeedFull(f"{self._room} feeds are open on this monitor; close some, or come back later")
        share = share_of(self._room)
        if whose is not None and self._open_of[whose] >= share:
            raise ShareFull(
                f"you have {share} feeds open on this monitor, as many as one user may; close some"
            )

    def join(
        self,
        start: FindStart,
        subscription: Subscription,
        feed_format: FeedFormat,
        send: Send,
        rights: Rights | None = None,
        whose: str | None = None,
    ) -> Subscriber:
        """Serve a reader from now on, until it leaves, the service ends, or its rights do.

        Raises FeedFull and ShareFull, because other readers may have come since `require_room`."""
        self.require_room(whose)
        subscriber = Subscriber(subscription, feed_format, send, rights, self._logged, whose)
        self._hub.subscribers[subscriber] = None
        if whose is not None:
            self._open_of[whose] += 1
        self._metrics.feed_subscribers.inc()
        subscriber.task = asyncio.create_task(self._serve(subscriber, start))
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a reader whose connection is gone or whose feed has ended."""
        if self._hub.subscribers.pop(subscriber, self) is self:
            return
        self._metrics.feed_subscribers.dec()
        if subscriber.whose is not None:
            self._open_of -= Counter((subscriber.whose,))  # which forgets users without a feed
        if subscriber.task:
            subscriber.task.cancel()

    def close(self) -> None:
        """End every feed, at the service's end. Only from the event loop's own thread."""
        self._closed = True
        self._hub.wake_all()

    def rights_changed(self) -> None:
        """Have each reader's rights asked for before its next event, because they may have ended."""
        for subscriber in self._hub.subscribers:
            subscriber.must_be_asked()

    async def _serve(self, subscriber: Subscriber, start: FindStart) -> None:
        """Serve a subscriber until the service or its rights end. If anything fails, the feed is ended too,
        and the reader comes back to its place."""
        try:
            await self._open(subscriber, start)
            while not self._closed:
                await self._follow_patiently(subscriber)
        except FeedEnded as ended:
            logger.info("a feed ended: %s", ended)
        except Exception:
            logger.exception("a feed cannot go on; it is ended, and its reader comes back")
            self._metrics.feed_errors.inc()
        with suppress(Exception):  # it was logged above, where the connection is what broke
            await subscriber.send(_farewell(subscriber))

    async def _open(self, subscriber: Subscriber, start: FindStart) -> None:
        position = await self._read_for(subscriber, lambda connection: begin(connection, start))
        subscriber.move(position.cursor)
        await subscriber.say(
            body(subscriber.feed_format.retry(_retry()) + position.encode(subscriber.feed_format))
        )

    async def _follow_patiently(self, subscriber: Subscriber) -> None:
        """Follow the log. A feed that has begun is held up while the database is away, and not ended."""
        try:
            await self._follow(subscriber)
        except DBAPIError as error:
            logger.warning("the log cannot be read; a feed goes on when it can: %s", error.orig)
            self._metrics.feed_errors.inc()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, subscriber: Subscriber) -> None:
        """Send everything behind the subscriber's place, and what comes, until the service ends.
        One loop serves the log, the buffer and news, so nothing is lost between them."""
        while not self._closed:
            buffer = await self._hub.open_buffer()
            if subscriber.to_be_asked:
                await subscriber.ask()
                continue  # another DAG may have come meanwhile. From here to the wait nothing is awaited
            if subscriber.epoch == buffer.end.epoch and subscriber.seq >= buffer.end.seq:
                await self._wait(subscriber)
                continue
            block = buffer.following(subscriber.cursor)
            if block is None:
                await self._read_log(subscriber)
                continue
            await self._send_block(subscriber, block, buffer)
            if subscriber.seq < buffer.end.seq:
                await asyncio.sleep(0)  # others have their turn: a send to a socket with room does not wait

    async def _send_block(self, subscriber: Subscriber, block: EventChunk, buffer: EventBuffer) -> None:
        message = block.following(subscriber.seq, subscriber.subscription, subscriber.feed_format)
        subscriber.seq = block.upto
        if message:
            end = buffer.end
            await subscriber.say(message)
            if buffer.end != end:  # news came while the client took its time
                self._metrics.feed_lagged.inc()

    async def _wait(self, subscriber: Subscriber) -> None:
        """Wait for news, or send a heartbeat if one is due."""
        if subscriber.is_silent(asyncio.get_running_loop().time(), self._heartbeat):
            await subscriber.say(body(subscriber.feed_format.heartbeat(subscriber.cursor)))
        else:
            await self._hub.wait(subscriber)

    async def _read_log(self, subscriber: Subscriber) -> None:
        """Read a page. One that may hold a DAG that is newer than the reader's rights is read again."""
        page = await self._read_for(
            subscriber, lambda connection: read(connection, subscriber.cursor, subscriber.subscription)
        )
        if subscriber.rights is not None:
            await self._logged.catch_up()
            if subscriber.to_be_asked:
                return
        subscriber.move(page.cursor)
        if chunk := page.encode(subscriber.feed_format):
            await subscriber.say(body(chunk))

    async def _read_for(self, subscriber: Subscriber, function: Callable[[Connection], T]) -> T:
        """Read what is for one reader alone, in its user's share: it may look through all of the log."""
        return await self._database.read_for_feed(subscriber.whose or "everybody", function)


def _farewell(subscriber: Subscriber) -> Message:
    """Return the message that ends a feed. The reader comes back to its place."""
    place = subscriber.feed_format.heartbeat(subscriber.cursor) if subscriber.epoch else b""
    return body(subscriber.feed_format.retry(_retry()) + place, more=False)


def _retry() -> int:
    return random.randint(*RETRY_MS)  # noqa: S311 (spreads load, guards nothing)

"""The connections of the feed: their start positions, their replay from the log, and their number.

`FeedServer` reads replayed and live events with one walk over the log, so nothing is lost between the two.

A subscriber is only a place in the log. New events are read from the database once for all subscribers, and
encoded once for those with the same subscription (buffer.py). They are sent to each subscriber without
waking a task for it (subscriber.py). A subscriber that is slow, or further back than the buffer reaches,
gets a task that brings it up to date from the log. The server keeps one pending write for it and no queue.
A client that does not take that write within `WRITE_SECONDS` is disconnected (web/http_protocol.py), and
comes back to its cursor.

`require_room` bounds the number of feeds, in all and for each user (`MAX_READERS`, `SHARE`).
"""

import asyncio
import logging
import random
import resource
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
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
from monitor.feed.buffer import BLOCK_BYTES, FeedFormat, Message, Subscription, body
from monitor.feed.hub import Hub, OnProgress, ignore_progress
from monitor.feed.subscriber import FeedEnded, PendingSend, Rights, Send, Subscriber, YieldTimer
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


MAX_READERS = 20_000  # open feeds: at about 20 kB each that is 400 MB
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

Work = Callable[[], Awaitable[None]]
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
        self._hub = Hub(database, wake, metrics, logged, heartbeat, self._on_lag, saw)
        self._readers: dict[Subscriber, None] = {}
        self._open_of: Counter[str] = Counter()
        self._room = room() if limit is None else limit
        self._closed = False
        self.publish = self._hub.publish
        self.attend = self._hub.attend
        self.hand = self._hub.fresh.add

    def require_room(self, whose: str | None = None) -> None:
        """Raise FeedFull if no further feed can be served, or ShareFull if this user has enough."""
        if len(self._readers) >= self._room:
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
        self._readers[subscriber] = None
        if whose is not None:
            self._open_of[whose] += 1
        self._metrics.feed_subscribers.inc()
        self._work_for(subscriber, partial(self._open, subscriber, start))
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a reader whose connection is gone or whose feed has ended."""
        if self._readers.pop(subscriber, self) is self:
            return
        self._metrics.feed_subscribers.dec()
        if subscriber.whose is not None:
            self._open_of -= Counter((subscriber.whose,))  # which forgets users without a feed
        self._hub.leave(subscriber)
        if subscriber.task:
            subscriber.task.cancel()

    def close(self) -> None:
        """End every feed, at the service's end. Only from the event loop's own thread."""
        self._closed = True
        self._hub.close(_farewell)

    def rights_changed(self) -> None:
        """Have each reader's rights asked for before its next event, because they may have ended."""
        for subscriber in self._readers:
            subscriber.must_be_asked()

    def _on_lag(self, subscriber: Subscriber, pending_send: PendingSend | None) -> None:
        self._metrics.feed_lagged.inc()
        self._work_for(subscriber, partial(self._go_on, subscriber, pending_send))

    def _work_for(self, subscriber: Subscriber, work: Work) -> None:
        subscriber.task = asyncio.create_task(self._guard(subscriber, work))

    async def _guard(self, subscriber: Subscriber, work: Work) -> None:
        """Do a reader's own work.
        If the work fails, the feed is ended, and the reader comes back to its place."""
        try:
            await self._through(subscriber, work)
        except FeedEnded as ended:
            logger.info("a feed ended: %s", ended)
        except Exception:
            logger.exception("a feed cannot go on; it is ended, and its reader comes back")
            self._metrics.feed_errors.inc()
        if not subscriber.live:
            with suppress(Exception):  # it was logged above, where the connection is what broke
                await subscriber.send(_farewell(subscriber))
        subscriber.task = None

    async def _through(self, subscriber: Subscriber, work: Work) -> None:
        """Do the work again while the database is away. A feed that has begun is held up, not ended."""
        while True:
            try:
                return await work()
            except DBAPIError as error:
                if not subscriber.epoch or self._closed:
                    raise
                logger.warning("the log cannot be read; a feed goes on when it can: %s", error.orig)
                self._metrics.feed_errors.inc()
                await asyncio.sleep(AGAIN_SECONDS)
                work = partial(self._catch_up, subscriber)

    async def _open(self, subscriber: Subscriber, start: FindStart) -> None:
        position = await self._read_for(subscriber, lambda connection: begin(connection, start))
        subscriber.move(position.cursor)
        await subscriber.say(
            body(subscriber.feed_format.retry(_retry()) + position.encode(subscriber.feed_format))
        )
        await self._catch_up(subscriber)

    async def _go_on(self, subscriber: Subscriber, pending_send: PendingSend | None) -> None:
        if pending_send:
            await pending_send
        await self._catch_up(subscriber)

    async def _catch_up(self, subscriber: Subscriber) -> None:
        """Bring a reader from its place to the buffer's end, at which it becomes live.
        One loop serves buffer and log."""
        timer = YieldTimer()
        while not self._closed:
            buffer = await self._hub.tape()
            if subscriber.to_be_asked:
                await subscriber.ask()
                continue  # another DAG may have come meanwhile. From this point on nothing is awaited
            if subscriber.epoch == buffer.end.epoch and subscriber.seq >= buffer.end.seq:
                self._hub.enter(subscriber)
                return
            block = buffer.following(subscriber.cursor)
            if block is None:
                await self._read_log(subscriber)
                continue
            message = block.following(subscriber.seq, subscriber.subscription, subscriber.feed_format)
            subscriber.seq = block.upto
            if message:
                await subscriber.say(message)
            await timer.yield_if_long()

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
    return body(
        subscriber.feed_format.retry(_retry()) + subscriber.feed_format.heartbeat(subscriber.cursor),
        more=False,
    )


def _retry() -> int:
    return random.randint(*RETRY_MS)  # noqa: S311 (spreads load, guards nothing)

"""The hub, which reads new events once for all subscribers and wakes those that they may concern.

`SubscriberIndex` finds subscribers by DAG, so a thousand subscribers of one DAG cost nothing while another
DAG runs. A subscriber waits in it while it has everything up to the buffer's end. It is also woken when a
heartbeat is due or its permissions have to be read again. What it then does is in connections.py.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.event_log import cursor, read
from monitor.event_log.cursor import Cursor, LogState
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.read import LogRow
from monitor.feed.buffer import CommittedEvents, EventBuffer, EventChunk
from monitor.feed.subscriber import Subscriber
from monitor.observability.metrics import Metrics


class SubscriberIndex:
    """The index of waiting subscribers.
    A thousand readers of a DAG each cost nothing while another DAG runs."""

    def __init__(self) -> None:
        self._of_any: dict[Subscriber, None] = {}
        self._by_dag: dict[str, dict[Subscriber, None]] = {}

    def add(self, subscriber: Subscriber) -> None:
        """Add a subscriber."""
        for place in self._places(subscriber):
            place[subscriber] = None

    def discard(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        for place in self._places(subscriber):
            place.pop(subscriber, None)
        for dag in subscriber.subscription.dags or ():
            if not self._by_dag[dag]:
                del self._by_dag[dag]

    def find_affected(self, block: EventChunk) -> list[Subscriber]:
        """Return the subscribers that a chunk may concern, each once."""
        found = dict(self._of_any)
        for dag in self._by_dag.keys() & block.by_dag.keys() if self._by_dag else ():
            found.update(self._by_dag[dag])
        return list(found)

    def all(self) -> list[Subscriber]:
        """Return all waiting subscribers."""
        return list(
            dict.fromkeys(
                [*self._of_any, *(subscriber for dag in self._by_dag.values() for subscriber in dag)]
            )
        )

    def _places(self, subscriber: Subscriber) -> Iterable[dict[Subscriber, None]]:
        dags = subscriber.subscription.dags
        return (self._of_any,) if dags is None else [self._by_dag.setdefault(dag, {}) for dag in dags]


POLL_SECONDS = 5.0  # waking is for latency, and polling finds what another process has written
COALESCE_SECONDS = 0.1  # at most, between two rounds: in a burst each reader gets one write for many events
SHARE = 4  # a round is followed by a pause of so many times what it took: feeds take a fifth of this thread
READ = 500  # events read at once
LOOK_SECONDS = 1.0  # between two looks for readers that are due a heartbeat or a question

AT_ONCE = (
    25  # subscribers woken before others may run: a few milliseconds, as a filter may take 0.3 ms of them
)

logger = logging.getLogger(__name__)

OnProgress = Callable[[Cursor, LogRow | None], None]
"""A function that is called with the log's present end and the event at that place."""


def ignore_progress(_end: Cursor, _line: LogRow | None) -> None:
    """Do nothing with the progress."""
    return


class Hub:
    """The hub of subscribers that wait. They have everything up to the buffer's end."""

    def __init__(
        self,
        database: Database,
        wake: WakeSignal,
        metrics: Metrics,
        logged: LoggedDags,
        heartbeat: float,
        saw: OnProgress = ignore_progress,
    ) -> None:
        self._database = database
        self._wake = wake
        self.fresh = CommittedEvents(wake)
        self._metrics = metrics
        self._logged = logged
        self._heartbeat = heartbeat
        self._saw = saw
        self.subscribers: dict[Subscriber, None] = {}
        """All whose feed is open."""
        self._waiting = SubscriberIndex()
        self._buffer: EventBuffer | None = None
        self._served = 0
        """The place up to which nothing concerns those that wait. A subscriber's own place may be older,
        because it is not woken for chunks that cannot concern it."""

    async def open_buffer(self) -> EventBuffer:
        """Return the buffer, which the first call begins."""
        if self._buffer is None:
            state = await self._database.read(cursor.state)
            if self._buffer is None:  # another reader may have been quicker
                self._begin(state)
        assert self._buffer is not None  # noqa: S101 (said for mypy: nothing is awaited in between)
        return self._buffer

    async def wait(self, subscriber: Subscriber) -> None:
        """Wait for news that may concern a subscriber that has everything up to the buffer's end.
        Nothing may be awaited between the look at the buffer's end and this call."""
        subscriber.waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(subscriber)
        try:
            await subscriber.waiting
        finally:
            self._waiting.discard(subscriber)
            subscriber.waiting = None

    async def publish(self) -> None:
        """Read and serve what is new, until canceled."""
        while True:
            seen = self._wake.count
            if not self.subscribers:
                # The next reader begins a new buffer.
                self._buffer = None
                self.fresh.clear()
            else:
                began = _now()
                await self._pass_on()
                await asyncio.sleep(min(COALESCE_SECONDS, SHARE * (_now() - began)))
            await self._wake.wait(seen, POLL_SECONDS)

    async def attend(self) -> None:
        """Wake subscribers that are due a heartbeat or a question for their rights, until canceled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._heartbeat))
            now = _now()
            await self._wake_up(
                [
                    subscriber
                    for subscriber in self._waiting.all()
                    if subscriber.to_be_asked or subscriber.is_silent(now, self._heartbeat)
                ]
            )

    async def _pass_on(self) -> None:
        """Serve all that the log holds behind the buffer."""
        buffer = await self.open_buffer()
        since = self.fresh.since
        if rows := self.fresh.take(buffer.end):
            await self._extend(buffer, rows)
            self._metrics.feed_delay.observe(time.monotonic() - since)
            return
        more = True
        while more:
            buffer = await self.open_buffer()
            try:
                state, lines, oldest = await self._database.read(partial(_news, end=buffer.end))
            except SQLAlchemyError:
                logger.exception("the log cannot be read; feeds go on when it can")
                self._metrics.feed_errors.inc()
                return
            if state.expiry_reason(buffer.end):
                self._begin_anew(state)
                return
            await self._extend(buffer, lines)
            if oldest:
                late = (datetime.now(timezone.utc) - oldest).total_seconds()
                self._metrics.feed_delay.observe(max(0.0, late))
            more = len(lines) == READ

    async def _extend(self, buffer: EventBuffer, lines: list[LogRow]) -> None:
        version = self._logged.version
        self._logged.note(buffer.end, lines)  # before the buffer gives them to anybody
        if self._logged.version != version:
            self._wake_to_be_asked()
        if lines:
            self._saw(Cursor(buffer.end.epoch, lines[-1].seq), lines[-1])  # before any reader does
        for block in buffer.split(lines):
            buffer.add(block)
            await self._wake_up(self._waiting.find_affected(block))
            self._served = block.upto

    def _wake_to_be_asked(self) -> None:
        """Have the rights of all asked for, because a new DAG exists.
        No event is skipped before its readers are known, not even for readers that no other DAG concerns."""
        for subscriber in self._waiting.all():
            if subscriber.to_be_asked:
                subscriber.wake(self._served)

    def _begin(self, state: LogState) -> None:
        self._buffer = EventBuffer(Cursor(state.epoch, state.last_seq))
        self._saw(self._buffer.end, None)
        self._served = state.last_seq

    def _begin_anew(self, state: LogState) -> None:
        """Begin a new buffer, because the log is another one (a backup was restored).
        Each reader finds out what it has lost."""
        self.wake_all()
        self._begin(state)

    def wake_all(self) -> None:
        """End every wait, because the service ends or the log is another one."""
        for subscriber in self._waiting.all():
            subscriber.wake(self._served)

    async def _wake_up(self, subscribers: list[Subscriber]) -> None:
        """Wake subscribers, and return when each has had its turn."""
        for number, subscriber in enumerate(subscribers, 1):
            subscriber.wake(self._served)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _news(connection: Connection, end: Cursor) -> tuple[LogState, list[LogRow], datetime | None]:
    """Return the log's state, the events behind `end`, and when the first of them was logged."""
    lines = read.lines_after(connection, end.seq, READ)
    first = read.find_by_seqs(connection, {lines[0].seq}) if lines else []
    return cursor.state(connection), lines, first[0].received_at if first else None

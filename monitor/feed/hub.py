"""The hub, which reads new events once and sends them to all live subscribers.

`SubscriberIndex` finds subscribers by DAG, so a thousand subscribers of one DAG cost nothing while another
DAG runs. `Hub` serves subscribers that have everything up to the buffer's end. It hands any other subscriber
back to `FeedServer` (connections.py): a slow one, and one whose permissions have to be read again.
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
from monitor.feed.buffer import CommittedEvents, EventBuffer, EventChunk, Message, body
from monitor.feed.subscriber import PendingSend, Subscriber, YieldTimer, try_send
from monitor.observability.metrics import Metrics


class SubscriberIndex:
    """The index of live readers. A thousand readers of a DAG each cost nothing while another DAG runs."""

    def __init__(self) -> None:
        self._of_any: dict[Subscriber, None] = {}
        self._by_dag: dict[str, dict[Subscriber, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._of_any or self._by_dag)

    def add(self, subscriber: Subscriber) -> None:
        """Add a reader, which is live from then on."""
        subscriber.live = True
        for place in self._places(subscriber):
            place[subscriber] = None

    def discard(self, subscriber: Subscriber) -> None:
        """Remove a reader, which is no longer live."""
        subscriber.live = False
        for place in self._places(subscriber):
            place.pop(subscriber, None)
        for dag in subscriber.subscription.dags or ():
            if not self._by_dag[dag]:
                del self._by_dag[dag]

    def find_affected(self, block: EventChunk) -> list[Subscriber]:
        """Return the readers that a chunk may concern, each once, in the order in which they came."""
        found = dict(self._of_any)
        for dag in self._by_dag.keys() & block.by_dag.keys() if self._by_dag else ():
            found.update(self._by_dag[dag])
        return list(found)

    def all(self) -> list[Subscriber]:
        """Return all live readers."""
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

logger = logging.getLogger(__name__)

OnLag = Callable[[Subscriber, PendingSend | None], None]
"""A function that is called for a reader that cannot go on with the others, because it is slow or its rights
have to be asked for."""


OnProgress = Callable[[Cursor, LogRow | None], None]
"""A function that is called with the log's present end and the event at that place."""


def ignore_progress(_end: Cursor, _line: LogRow | None) -> None:
    """Do nothing with the progress."""
    return


class Hub:
    """The hub of live readers. They have everything up to the buffer's end, except what comes next."""

    def __init__(
        self,
        database: Database,
        wake: WakeSignal,
        metrics: Metrics,
        logged: LoggedDags,
        heartbeat: float,
        behind: OnLag,
        saw: OnProgress = ignore_progress,
    ) -> None:
        self._database = database
        self._wake = wake
        self.fresh = CommittedEvents(wake)
        self._metrics = metrics
        self._logged = logged
        self._heartbeat = heartbeat
        self._behind = behind
        self._saw = saw
        self._index = SubscriberIndex()
        self._buffer: EventBuffer | None = None
        self._served = 0
        """The place up to which all have been served. A reader's own place may be older, because it is not
        asked about chunks that cannot concern it."""

    async def tape(self) -> EventBuffer:
        """Return the buffer, which the first call begins."""
        if self._buffer is None:
            state = await self._database.read(cursor.state)
            if self._buffer is None:  # another reader may have been quicker
                self._begin(state)
        assert self._buffer is not None  # noqa: S101 (said for mypy: nothing is awaited in between)
        return self._buffer

    def enter(self, subscriber: Subscriber) -> None:
        """Serve a reader that has everything up to the buffer's end. Nothing may be awaited since it was seen
        to have it."""
        self._index.add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a reader that leaves."""
        if subscriber.live:
            self._index.discard(subscriber)

    def close(self, farewell: Callable[[Subscriber], Message]) -> None:
        """Send the last message to all readers."""
        for subscriber in self._index.all():
            self._settle(subscriber)
            try_send(subscriber.send, farewell(subscriber))

    async def publish(self) -> None:
        """Read and serve what is new, until cancelled."""
        while True:
            seen = self._wake.count
            if not self._index:
                # The next reader begins a new buffer: no live reader needs the old one.
                self._buffer = None
                self.fresh.clear()
            else:
                began = _now()
                await self._pass_on()
                await asyncio.sleep(min(COALESCE_SECONDS, SHARE * (_now() - began)))
            await self._wake.wait(seen, POLL_SECONDS)

    async def attend(self) -> None:
        """Send heartbeats and ask for rights again, until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._heartbeat))
            timer = YieldTimer()
            for subscriber in self._index.all():
                if subscriber.live:
                    self._look_after(subscriber, _now())
                await timer.yield_if_long()

    async def _pass_on(self) -> None:
        """Serve all that the log holds behind the buffer."""
        buffer = await self.tape()
        since = self.fresh.since
        if rows := self.fresh.take(buffer.end):
            await self._extend(buffer, rows)
            self._metrics.feed_delay.observe(time.monotonic() - since)
            return
        more = True
        while more:
            buffer = await self.tape()
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
        blocks = buffer.extend(lines)
        if self._logged.version != version:
            self._ask_all()
        if lines:
            self._saw(buffer.end, lines[-1])  # before any reader does
        for block in blocks:
            await self._serve(block)

    def _begin(self, state: LogState) -> None:
        self._buffer = EventBuffer(Cursor(state.epoch, state.last_seq))
        self._saw(self._buffer.end, None)
        self._served = state.last_seq

    def _begin_anew(self, state: LogState) -> None:
        """Begin a new buffer, because the log is another one (a backup was restored).
        Each reader finds out what it has lost."""
        for subscriber in self._index.all():
            self._fall_behind(subscriber)
        self._begin(state)

    def _ask_all(self) -> None:
        """Have the rights of all readers asked for, because a new DAG exists.
        No event is skipped before its readers are known, not even for readers that no other DAG concerns."""
        for subscriber in self._index.all():
            if subscriber.to_be_asked:
                self._fall_behind(subscriber)

    async def _serve(self, block: EventChunk) -> None:
        timer = YieldTimer()
        for subscriber in self._index.find_affected(block):
            if subscriber.live:
                self._give(subscriber, block, _now())
            await timer.yield_if_long()
        self._served = block.upto

    def _give(self, subscriber: Subscriber, block: EventChunk, now: float) -> None:
        if subscriber.seq >= block.upto:
            return  # it took the chunk itself, from the buffer, while others were served
        if subscriber.to_be_asked:
            self._fall_behind(subscriber)
            return
        message = block.following(subscriber.seq, subscriber.subscription, subscriber.feed_format)
        subscriber.seq = block.upto
        if message:
            self._hand(subscriber, message, now)

    def _look_after(self, subscriber: Subscriber, now: float) -> None:
        if subscriber.to_be_asked:
            self._fall_behind(subscriber)
        elif now - subscriber.spoke >= self._heartbeat:
            subscriber.seq = max(subscriber.seq, self._served)
            self._hand(subscriber, body(subscriber.feed_format.heartbeat(subscriber.cursor)), now)

    def _hand(self, subscriber: Subscriber, message: Message, now: float) -> None:
        subscriber.spoke = now
        try:
            pending_send = try_send(subscriber.send, message)
        except Exception:  # one broken connection must not end the feed of all others
            logger.exception("a reader cannot be sent to; its feed is left to its connection's end")
            self._metrics.feed_errors.inc()
            self._index.discard(subscriber)
            return
        if pending_send:
            self._fall_behind(subscriber, pending_send)

    def _fall_behind(self, subscriber: Subscriber, pending_send: PendingSend | None = None) -> None:
        self._settle(subscriber)
        self._behind(subscriber, pending_send)

    def _settle(self, subscriber: Subscriber) -> None:
        """Take a reader out of the live ones. From then on its place is its own again."""
        subscriber.seq = max(subscriber.seq, self._served)
        self._index.discard(subscriber)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _news(connection: Connection, end: Cursor) -> tuple[LogState, list[LogRow], datetime | None]:
    """Return the log's state, the events behind `end`, and when the first of them was logged."""
    lines = read.lines_after(connection, end.seq, READ)
    first = read.find_by_seqs(connection, {lines[0].seq}) if lines else []
    return cursor.state(connection), lines, first[0].received_at if first else None

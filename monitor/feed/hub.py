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
    """Who is live. A thousand readers of a DAG each cost nothing while another DAG runs."""

    def __init__(self) -> None:
        self._of_any: dict[Subscriber, None] = {}
        self._by_dag: dict[str, dict[Subscriber, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._of_any or self._by_dag)

    def add(self, reader: Subscriber) -> None:
        reader.live = True
        for place in self._places(reader):
            place[reader] = None

    def discard(self, reader: Subscriber) -> None:
        reader.live = False
        for place in self._places(reader):
            place.pop(reader, None)
        for dag in reader.selection.dags or ():
            if not self._by_dag[dag]:
                del self._by_dag[dag]

    def find_affected(self, block: EventChunk) -> list[Subscriber]:
        """Those whom something in the chunk may concern, each once, in the order in which they came."""
        found = dict(self._of_any)
        for dag in self._by_dag.keys() & block.by_dag.keys() if self._by_dag else ():
            found.update(self._by_dag[dag])
        return list(found)

    def all(self) -> list[Subscriber]:
        return list(dict.fromkeys([*self._of_any, *(one for dag in self._by_dag.values() for one in dag)]))

    def _places(self, reader: Subscriber) -> Iterable[dict[Subscriber, None]]:
        dags = reader.selection.dags
        return (self._of_any,) if dags is None else [self._by_dag.setdefault(dag, {}) for dag in dags]


POLL_SECONDS = 5.0  # waking is for latency; this finds what another process has written
COALESCE_SECONDS = 0.1  # at most, between two rounds: in a burst each reader gets one write for many events
SHARE = 4  # a round is followed by a pause of so many times what it took: feeds take a fifth of this thread
READ = 500  # events read at once
LOOK_SECONDS = 1.0  # between two looks for readers that are due a heartbeat or a question

logger = logging.getLogger(__name__)

OnLag = Callable[[Subscriber, PendingSend | None], None]
"""Told of a reader that cannot go on with the others: it is slow, or its rights have to be asked for."""


OnProgress = Callable[[Cursor, LogRow | None], None]
"""Told of the log's end as it was seen, and of the event there."""


def ignore_progress(_end: Cursor, _line: LogRow | None) -> None:
    return


class Hub:
    """Readers that have everything up to the buffer's end, but for what comes next."""

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
        self._register = SubscriberIndex()
        self._tape: EventBuffer | None = None
        self._served = 0
        """Up to where all have been served. A reader's own place may be older: it is not asked about chunks
        that cannot concern it."""

    async def tape(self) -> EventBuffer:
        if self._tape is None:
            state = await self._database.read(cursor.state)
            if self._tape is None:  # another reader may have been quicker
                self._begin(state)
        assert self._tape is not None  # noqa: S101 (said for mypy: nothing is awaited in between)
        return self._tape

    def enter(self, reader: Subscriber) -> None:
        """Serve a reader that has everything up to the buffer's end. Nothing may be awaited since it was seen
        to have it."""
        self._register.add(reader)

    def leave(self, reader: Subscriber) -> None:
        if reader.live:
            self._register.discard(reader)

    def close(self, farewell: Callable[[Subscriber], Message]) -> None:
        for reader in self._register.all():
            self._settle(reader)
            try_send(reader.send, farewell(reader))

    async def publish(self) -> None:
        """Read and serve what is new, until cancelled."""
        while True:
            seen = self._wake.count
            if not self._register:
                # Whoever comes next begins a new one: nobody has to be shown what was before.
                self._tape = None
                self.fresh.clear()
            else:
                began = _now()
                await self._pass_on()
                await asyncio.sleep(min(COALESCE_SECONDS, SHARE * (_now() - began)))
            await self._wake.wait(seen, POLL_SECONDS)

    async def attend(self) -> None:
        """Heartbeats, and rights asked for again, until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._heartbeat))
            turn = YieldTimer()
            for reader in self._register.all():
                if reader.live:
                    self._look_after(reader, _now())
                await turn.yield_if_long()

    async def _pass_on(self) -> None:
        """Serve all that the log holds behind the buffer."""
        tape = await self.tape()
        since = self.fresh.since
        if fresh := self.fresh.take(tape.end):
            await self._extend(tape, fresh)
            self._metrics.feed_delay.observe(time.monotonic() - since)
            return
        more = True
        while more:
            tape = await self.tape()
            try:
                state, lines, oldest = await self._database.read(partial(_news, end=tape.end))
            except SQLAlchemyError:
                logger.exception("the log cannot be read; feeds go on when it can")
                self._metrics.feed_errors.inc()
                return
            if state.expiry_reason(tape.end):
                self._begin_anew(state)
                return
            await self._extend(tape, lines)
            if oldest:
                late = (datetime.now(timezone.utc) - oldest).total_seconds()
                self._metrics.feed_delay.observe(max(0.0, late))
            more = len(lines) == READ

    async def _extend(self, tape: EventBuffer, lines: list[LogRow]) -> None:
        version = self._logged.version
        self._logged.note(tape.end, lines)  # before the buffer gives them to anybody
        blocks = tape.extend(lines)
        if self._logged.version != version:
            self._ask_all()
        if lines:
            self._saw(tape.end, lines[-1])  # before any reader does
        for block in blocks:
            await self._serve(block)

    def _begin(self, state: LogState) -> None:
        self._tape = EventBuffer(Cursor(state.epoch, state.last_seq))
        self._saw(self._tape.end, None)
        self._served = state.last_seq

    def _begin_anew(self, state: LogState) -> None:
        """The log is another one (a backup was put back): each reader finds out what it has lost."""
        for reader in self._register.all():
            self._fall_behind(reader)
        self._begin(state)

    def _ask_all(self) -> None:
        """There is a new DAG: nothing is passed over before it is known who may read it, not even for readers
        whom no other DAG concerns."""
        for reader in self._register.all():
            if reader.to_be_asked:
                self._fall_behind(reader)

    async def _serve(self, block: EventChunk) -> None:
        turn = YieldTimer()
        for reader in self._register.find_affected(block):
            if reader.live:
                self._give(reader, block, _now())
            await turn.yield_if_long()
        self._served = block.upto

    def _give(self, reader: Subscriber, block: EventChunk, now: float) -> None:
        if reader.seq >= block.upto:
            return  # it took the chunk itself, from the buffer, while others were served
        if reader.to_be_asked:
            self._fall_behind(reader)
            return
        message = block.following(reader.seq, reader.selection, reader.form)
        reader.seq = block.upto
        if message:
            self._hand(reader, message, now)

    def _look_after(self, reader: Subscriber, now: float) -> None:
        if reader.to_be_asked:
            self._fall_behind(reader)
        elif now - reader.spoke >= self._heartbeat:
            reader.seq = max(reader.seq, self._served)
            self._hand(reader, body(reader.form.heartbeat(reader.cursor)), now)

    def _hand(self, reader: Subscriber, message: Message, now: float) -> None:
        reader.spoke = now
        try:
            waiting = try_send(reader.send, message)
        except Exception:  # one broken connection must not end the feed of all others
            logger.exception("a reader cannot be sent to; its feed is left to its connection's end")
            self._metrics.feed_errors.inc()
            self._register.discard(reader)
            return
        if waiting:
            self._fall_behind(reader, waiting)

    def _fall_behind(self, reader: Subscriber, waiting: PendingSend | None = None) -> None:
        self._settle(reader)
        self._behind(reader, waiting)

    def _settle(self, reader: Subscriber) -> None:
        """No longer one of the live ones: its place is its own again."""
        reader.seq = max(reader.seq, self._served)
        self._register.discard(reader)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _news(connection: Connection, end: Cursor) -> tuple[LogState, list[LogRow], datetime | None]:
    """The log's state, what follows, and since when the first of that has been in the log."""
    lines = read.lines_after(connection, end.seq, READ)
    first = read.find_by_seqs(connection, {lines[0].seq}) if lines else []
    return cursor.state(connection), lines, first[0].received_at if first else None

"""The only door for events: log, board and outbox in one transaction, shared by what arrives together.

Dual writes do not exist: a mail that is called for is in the database, or its event is not.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor import board, event_log
from monitor.clock import Clock
from monitor.database import Database
from monitor.events import NUDGE, Event
from monitor.metrics import Metrics
from monitor.notify import Engine
from monitor.replicas import DELIVERY, FEED, reconcile, signal
from monitor.wake import Wake

MAX_COMMIT = 2_000  # events in one transaction: keeps the writer's turn, and a reader's wait, short
MAX_WAITING = 200  # requests in the queue; beyond it a sender is told to come back (429), nothing is lost

logger = logging.getLogger(__name__)


class IngestBusy(Exception):
    """More is waiting to be written than is sensible: try again later."""


@dataclass
class Wakes:
    """Who is woken by what is taken in."""

    feed: Wake
    delivery: Wake
    reconcilers: Mapping[str, Wake]
    """By deployment."""

    @property
    def by_word(self) -> dict[str, Wake]:
        """By what another replica signals."""
        nudges = {reconcile(deployment): wake for deployment, wake in self.reconcilers.items()}
        return {FEED: self.feed, DELIVERY: self.delivery, **nudges}


@dataclass
class _Waiting:
    events: Sequence[Event]
    taken: "asyncio.Future[list[bool]]"


class Ingest:
    """Takes events. `run()` is its one background task: the writer."""

    def __init__(
        self,
        database: Database,
        engine: Engine,
        wakes: Wakes,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._database = database
        self._engine = engine
        self._wakes = wakes
        self._metrics = metrics
        self._clock = clock
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)

    async def take(self, events: Sequence[Event]) -> list[bool]:
        """Make events durable. Answers for each, in order, whether it was new.

        Raises IngestBusy where too much is waiting already.
        """
        for nudged in {event.deployment for event in events if event.type == NUDGE}:
            if nudged in self._wakes.reconcilers:
                self._wakes.reconcilers[nudged].set()
        waiting = _Waiting(events, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise IngestBusy(f"{MAX_WAITING} requests are waiting to be written") from None
        return await waiting.taken

    async def run(self) -> None:
        """Write what waits, as much as fits at once, until cancelled."""
        while True:
            together = [await self._queue.get()]
            size = len(together[0].events)
            while size < MAX_COMMIT and not self._queue.empty():
                together.append(self._queue.get_nowait())
                size += len(together[-1].events)
            await self._commit(together)

    async def _commit(self, together: list[_Waiting]) -> None:
        events = [event for waiting in together for event in waiting.events]
        try:
            taken, called_for = await self._database.write(lambda connection: self._write(connection, events))
        except asyncio.CancelledError:
            _fail(together, IngestBusy("the monitor is stopping"))
            raise
        except Exception as error:
            # The senders keep their events and come again; the database may be full, locked or gone.
            logger.exception("could not write %d events", len(events))
            _fail(together, error)
            return
        self._told(events, taken, called_for)
        results = iter(taken)
        for waiting in together:
            answer = [next(results) for _ in waiting.events]
            if (
                not waiting.taken.done()
            ):  # the request may have been cut off: its events are kept all the same
                waiting.taken.set_result(answer)

    def log(self, connection: Connection, events: Sequence[Event]) -> Callable[[], None]:
        """Take events in the caller's transaction, so that they are durable with what else it writes; answers
        what has to be called once it is committed."""
        taken, called_for = self._write(connection, events)
        return lambda: self._told(events, taken, called_for)

    def _told(self, events: Sequence[Event], taken: Sequence[bool], called_for: bool) -> None:
        self._count(events, taken)
        self._wakes.feed.set()
        if called_for:
            self._wakes.delivery.set()

    def _write(self, connection: Connection, events: Sequence[Event]) -> tuple[list[bool], bool]:
        now = self._clock()
        last = event_log.lock(connection)
        late = board.told_already(connection, events)
        taken = [not known for known in late]
        lasting = [place for place, event in enumerate(events) if taken[place] and event.type != NUDGE]
        seqs = event_log.append(connection, [events[place] for place in lasting], now, last)
        logged: list[tuple[int, Event]] = []
        for place, seq in zip(lasting, seqs, strict=True):
            taken[place] = seq is not None
            if seq is not None:
                logged.append((seq, events[place]))
        board.apply_all(connection, logged)
        called_for = self._engine.tell_all(connection, logged, now)
        signal(connection, *_words(events, bool(logged), called_for))
        return taken, called_for

    def _count(self, events: Sequence[Event], taken: Sequence[bool]) -> None:
        """By reporter: to find the metric of a label takes longer than to count in it."""
        now = self._clock()
        delays: dict[str, list[float]] = defaultdict(list)
        duplicates: Counter[str] = Counter()
        for event, new in zip(events, taken, strict=True):
            if new:
                delays[event.data.reported_by].append(max(0.0, (now - event.time).total_seconds()))
            else:
                duplicates[event.data.reported_by] += 1
        for reporter, some in delays.items():
            self._metrics.events.labels("accepted", reporter).inc(len(some))
            delay = self._metrics.event_delay.labels(reporter)
            for seconds in some:
                delay.observe(seconds)
        for reporter, number in duplicates.items():
            self._metrics.events.labels("duplicate", reporter).inc(number)


def _words(events: Sequence[Event], logged: bool, called_for: bool) -> list[str]:
    """What the other replicas are to look for."""
    nudged = sorted({reconcile(event.deployment) for event in events if event.type == NUDGE})
    return [*([FEED] * logged), *([DELIVERY] * called_for), *nudged]


def _fail(together: list[_Waiting], error: Exception) -> None:
    for waiting in together:
        if not waiting.taken.done():
            waiting.taken.set_exception(error)

"""The only door for events: log, board and outbox in one transaction, shared by what arrives together.

Dual writes do not exist: a mail that is called for is in the database, or its event is not.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor import board, event_log
from monitor.clock import Clock
from monitor.database import Database
from monitor.event_log import Cursor
from monitor.events import NUDGE, Event
from monitor.metrics import Metrics
from monitor.notify import Engine
from monitor.origins import origin_of
from monitor.replicas import DELIVERY, FEED, reconcile, signal
from monitor.tally import Tally
from monitor.wake import Wake

MAX_COMMIT = 2_000  # events in one transaction: keeps the writer's turn, and a reader's wait, short
MAX_WAITING = 200  # requests in the queue; beyond it a sender is told to come back (429), nothing is lost

Logged = tuple[int, Event]
"""An event, and its seq before it."""

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
    hand: Callable[[Cursor, Sequence[Logged]], None] | None = None
    """Takes what was logged behind a place, and wakes the feed; None: the feed is woken, and reads it."""

    @property
    def by_word(self) -> dict[str, Wake]:
        """By what another replica signals."""
        nudges = {reconcile(deployment): wake for deployment, wake in self.reconcilers.items()}
        return {FEED: self.feed, DELIVERY: self.delivery, **nudges}


@dataclass(frozen=True)
class _Written:
    taken: list[bool]
    """Of each event, in their order, whether it was new."""
    after: Cursor
    logged: list[Logged]
    called_for: bool
    """Whether something is to be delivered."""


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
        self._tally = Tally(metrics)
        self._clock = clock
        self._origins: dict[str, datetime] = {}
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
            written = await self._database.write(lambda connection: self._write(connection, events))
        except asyncio.CancelledError:
            _fail(together, IngestBusy("the monitor is stopping"))
            raise
        except Exception as error:
            # The senders keep their events and come again; the database may be full, locked or gone.
            logger.exception("could not write %d events", len(events))
            _fail(together, error)
            return
        self._told(events, written)
        results = iter(written.taken)
        for waiting in together:
            answer = [next(results) for _ in waiting.events]
            if (
                not waiting.taken.done()
            ):  # the request may have been cut off: its events are kept all the same
                waiting.taken.set_result(answer)

    def log(self, connection: Connection, events: Sequence[Event]) -> Callable[[], None]:
        """Take events in the caller's transaction, so that they are durable with what else it writes; answers
        what has to be called once it is committed."""
        written = self._write(connection, events)
        return lambda: self._told(events, written)

    def _told(self, events: Sequence[Event], written: _Written) -> None:
        if self._wakes.hand:
            self._wakes.hand(written.after, written.logged)
        else:
            self._wakes.feed.set()
        if written.called_for:
            self._wakes.delivery.set()
        self._tally.count(events, written.taken, self._origins, self._clock())

    def _write(self, connection: Connection, events: Sequence[Event]) -> _Written:
        end = event_log.lock(connection)
        # Not before the lock: what is logged later would be received earlier, and `since` step over some.
        now = self._clock()
        late = board.told_already(connection, events)
        taken = [not known for known in late]
        lasting = [place for place, event in enumerate(events) if taken[place] and event.type != NUDGE]
        seqs = event_log.append(connection, [events[place] for place in lasting], now, end)
        logged: list[Logged] = []
        for place, seq in zip(lasting, seqs, strict=True):
            taken[place] = seq is not None
            if seq is not None:
                logged.append((seq, events[place]))
        board.apply_all(connection, logged)
        for deployment in {event.deployment for _, event in logged} - self._origins.keys():
            self._origins[deployment] = origin_of(connection, deployment, now)
        called_for = self._engine.tell_all(connection, logged, now)
        signal(connection, *_words(events, bool(logged), called_for))
        return _Written(taken, end, logged, called_for)


def _words(events: Sequence[Event], logged: bool, called_for: bool) -> list[str]:
    """What the other replicas are to look for."""
    nudged = sorted({reconcile(event.deployment) for event in events if event.type == NUDGE})
    return [*([FEED] * logged), *([DELIVERY] * called_for), *nudged]


def _fail(together: list[_Waiting], error: Exception) -> None:
    for waiting in together:
        if not waiting.taken.done():
            waiting.taken.set_exception(error)

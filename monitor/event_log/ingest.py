"""The ingest of events: log, projections and outbox in one transaction for all requests that wait.

`Ingest` is the only way into the log, for requests (web/api/ingest.py) and for the monitor's own parts. Log
and outbox are written together, so a mail that an event calls for is never lost and never sent without its
event.

`IngestQueue` holds the requests whose events wait to be written. Odd on purpose: `drain` runs in the
database's thread once the writer has the log's lock, not before. The longer another writer held the lock,
the more events are written under the next one.

`IngestCounter` counts what became of the events, and their delay. It counts by reporter and by kind first,
because finding the metric of a label takes longer than counting in it.
"""

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from prometheus_client import Histogram
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from monitor.clock import Clock
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.database.pubsub import DELIVERY, FEED, reconcile, run_ended, signal
from monitor.event_log import append, id_conflicts
from monitor.event_log.cursor import Cursor
from monitor.event_log.deployments import origin_of
from monitor.event_log.projections import apply
from monitor.events.data import NUDGE, RUN_ENDS
from monitor.events.event import Event
from monitor.observability.metrics import Metrics

MAX_COMMIT = 2_000  # events in one transaction: keeps the writer's lock, and a reader's wait, short
MAX_WAITING = 200  # requests in the queue: beyond it a sender has to come back (429), and nothing is lost


class IngestOutcome(str, Enum):
    """The result of taking in one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    """The database refused the event's data. The events that arrived with it were written."""


class IngestBusy(Exception):
    """Too much is waiting to be written. The caller should try again later."""


@dataclass(eq=False)
class PendingBatch:
    """The events of one request, which wait to be written."""

    events: Sequence[Event]
    outcomes: "asyncio.Future[list[IngestOutcome]]"


class IngestQueue:
    """The queue between requests and the writer. All but `drain` belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: deque[PendingBatch] = deque()
        self._unanswered: set[PendingBatch] = set()
        self._came = asyncio.Event()

    def add(self, events: Sequence[Event]) -> "asyncio.Future[list[IngestOutcome]]":
        """Queue the events and return the future of their outcomes.
        Raises IngestBusy if too much is waiting."""
        if len(self._waiting) >= MAX_WAITING:
            raise IngestBusy(f"{MAX_WAITING} requests are waiting to be written")
        arrival = PendingBatch(events, asyncio.get_running_loop().create_future())
        self._waiting.append(arrival)
        self._unanswered.add(arrival)
        self._came.set()
        return arrival.outcomes

    async def wait(self) -> None:
        """Wait until the queue holds something."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()

    def drain(self) -> list[PendingBatch]:
        """Take the oldest batches, as many as fit into a transaction. Any thread may call this."""
        together: list[PendingBatch] = []
        size = 0
        while self._waiting and size < MAX_COMMIT:
            together.append(self._waiting.popleft())
            size += len(together[-1].events)
        return together

    def answer(self, together: Sequence[PendingBatch], outcomes: Sequence[IngestOutcome]) -> None:
        """Give each batch its outcomes. `outcomes` holds one for each event, in order."""
        results = iter(outcomes)
        for arrival in together:
            answer = [next(results) for _ in arrival.events]
            if not arrival.outcomes.done():  # the request may be cut off: its events are kept all the same
                arrival.outcomes.set_result(answer)
        self._unanswered.difference_update(together)

    def fail(self, together: Collection[PendingBatch], error: Exception) -> None:
        """Give an error to the requests of these batches."""
        for arrival in together:
            if not arrival.outcomes.done():
                arrival.outcomes.set_exception(error)
        self._unanswered.difference_update(together)

    def fail_all(self, error: Exception) -> None:
        """Fail all batches, including those that the database's thread has gathered and may yet write."""
        self.fail(list(self._unanswered), error)


ENDS = {
    **{f"airflow.dag_run.{state}": "run" for state in ("success", "failed")},
    **{
        f"airflow.task_instance.{state}": "task"
        for state in ("success", "failed", "skipped", "upstream_failed", "removed", "up_for_retry")
    },
}
"""The ends of a run or of a task's try. Their delay is what docs/slo.md promises."""


class IngestCounter:
    """The metrics of what is taken in."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(
        self, events: Sequence[Event], taken: Sequence[bool], origins: Mapping[str, datetime], now: datetime
    ) -> None:
        """Count the events.
        `taken` says for each event whether it was new. `origins` says since when deployments are known: what
        ended before that is not late."""
        duplicates: Counter[str] = Counter()
        delays: dict[str, list[float]] = defaultdict(list)
        ends: dict[str, list[float]] = defaultdict(list)
        for event, new in zip(events, taken, strict=True):
            if not new:
                duplicates[event.data.reported_by] += 1
                continue
            late = max(0.0, (now - event.time).total_seconds())
            delays[event.data.reported_by].append(late)
            of = ENDS.get(event.type)
            if of and event.time >= origins.get(event.deployment, now):
                ends[of].append(late)
        for reporter, number in duplicates.items():
            self._metrics.events.labels("duplicate", reporter).inc(number)
        for reporter, some in delays.items():
            self._metrics.events.labels("accepted", reporter).inc(len(some))
        _observe(self._metrics.event_delay, delays)
        _observe(self._metrics.notification_delay, ends)

    def count_conflict(self, event: Event) -> None:
        """Count an event whose id the log has for another thing."""
        self._metrics.id_conflicts.labels(event.deployment).inc()


def _observe(family: Histogram, values: Mapping[str, Sequence[float]]) -> None:
    """Observe the values under the family's one label."""
    for label, some in values.items():
        observe = family.labels(label).observe
        for value in some:
            observe(value)


SeqAndEvent = tuple[int, Event]
"""An event, and its seq before it."""
Decide = Callable[[Connection, Sequence[SeqAndEvent], datetime], bool]
"""Decides who is notified of logged events. Returns True if a delivery is due."""

OF_THE_DATA = (DataError, IntegrityError, OverflowError, ValueError, TypeError)
"""Errors that an event's own values cause: it would fail again for ever, so it is rejected."""

logger = logging.getLogger(__name__)


@dataclass
class Wakeups:
    """The signals that wake other parts when events are taken in."""

    feed: WakeSignal
    delivery: WakeSignal
    reconcilers: Mapping[str, WakeSignal]
    """The signals, by deployment, that an asset was updated."""
    run_ended: Mapping[str, WakeSignal] = field(default_factory=dict)
    """The signals, by deployment, that the log has a run's end."""
    hand: Callable[[Cursor, Sequence[SeqAndEvent]], None] | None = None
    """A function that takes what was logged behind a place, and wakes the feed. None means that the feed is
    woken and reads the log."""

    @property
    def by_signal(self) -> dict[str, WakeSignal]:
        """The wake signals by the text that another replica sends."""
        nudges = {reconcile(deployment): wake for deployment, wake in self.reconcilers.items()}
        ends = {run_ended(deployment): wake for deployment, wake in self.run_ended.items()}
        return {FEED: self.feed, DELIVERY: self.delivery, **nudges, **ends}


@dataclass(frozen=True)
class _WriteResult:
    taken: list[bool]
    """True or False for each event, in order: whether it was new."""
    after: Cursor
    logged: list[SeqAndEvent]
    called_for: bool
    """True if anything is to be delivered."""
    run_ended: set[str]
    """The deployments of which a run's end was logged."""


class Ingest:
    """The intake of events. `run()` is its one background task: the writer."""

    def __init__(
        self,
        database: Database,
        decide: Decide,
        wakes: Wakeups,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._database = database
        self._decide = decide
        self._wakes = wakes
        self._counter = IngestCounter(metrics)
        self._clock = clock
        self._origins: dict[str, datetime] = {}
        self._arrivals = IngestQueue()

    async def take(self, events: Sequence[Event]) -> list[bool]:
        """Make events durable.
        Return for each, in order, whether it was new.

        Raises IngestBusy if too much is waiting already."""
        return [outcome is IngestOutcome.ACCEPTED for outcome in await self.submit(events)]

    async def submit(self, events: Sequence[Event]) -> list[IngestOutcome]:
        """Make events durable.
        Return the outcome of each, in order.

        Raises IngestBusy if too much is waiting already."""
        for nudged in {event.deployment for event in events if event.type == NUDGE}:
            if nudged in self._wakes.reconcilers:
                self._wakes.reconcilers[nudged].set()
        return await self._arrivals.add(events)

    async def run(self) -> None:
        """Write what waits, as much as fits at once, until cancelled."""
        try:
            while True:
                await self._arrivals.wait()
                await self._commit()
        finally:
            self._arrivals.fail_all(IngestBusy("the monitor is stopping"))

    async def _commit(self) -> None:
        together: list[PendingBatch] = []
        try:
            result = await self._database.write(lambda connection: self._write_some(connection, together))
        except Exception as error:
            # The senders keep their events and come again. The database may be full, locked or gone.
            together = together or self._arrivals.drain()
            logger.exception("could not write %d requests", len(together))
            if not _is_of_one_event(error):
                self._arrivals.fail(together, error)
                return
            for arrival in together:
                await self._commit_alone(arrival)
        else:
            self._wake_consumers(_events(together), result)
            self._arrivals.answer(together, _outcomes(result))

    async def _commit_alone(self, arrival: PendingBatch) -> None:
        """Write one request alone, and event by event if that fails, so no sender's event stops another's."""
        try:
            outcomes = await self._write_apart(arrival.events)
        except Exception as error:
            # The events of it that were written are duplicates when the sender comes again.
            logger.exception("could not write a request of %d events", len(arrival.events))
            self._arrivals.fail([arrival], error)
        else:
            self._arrivals.answer([arrival], outcomes)

    async def _write_apart(self, events: Sequence[Event]) -> list[IngestOutcome]:
        """Write the events together, or each alone, and reject those whose data cannot be written."""
        try:
            return await self._write_events(events)
        except OF_THE_DATA as error:
            if len(events) > 1:
                return [outcome for event in events for outcome in await self._write_apart([event])]
            logger.warning(
                "event %r of %s is rejected, its data cannot be written: %s",
                *(events[0].id, events[0].source, error),
            )
            return [IngestOutcome.REJECTED]

    async def _write_events(self, events: Sequence[Event]) -> list[IngestOutcome]:
        result = await self._database.write(
            lambda connection: self._write(connection, events, append.lock(connection))
        )
        self._wake_consumers(events, result)
        return _outcomes(result)

    def _write_some(self, connection: Connection, together: list[PendingBatch]) -> _WriteResult:
        """Write what waits once the log is had, and say so in `together`: it may fail half-way."""
        end = append.lock(connection)
        together += self._arrivals.drain()
        return self._write(connection, _events(together), end)

    def log(self, connection: Connection, events: Sequence[Event]) -> Callable[[], None]:
        """Take events in the caller's transaction, so that they are durable together with its other writes.
        Return a function to call once the transaction is committed."""
        result = self._write(connection, events, append.lock(connection))
        return lambda: self._wake_consumers(events, result)

    def _wake_consumers(self, events: Sequence[Event], result: _WriteResult) -> None:
        if self._wakes.hand:
            self._wakes.hand(result.after, result.logged)
        else:
            self._wakes.feed.set()
        if result.called_for:
            self._wakes.delivery.set()
        for deployment in result.run_ended & self._wakes.run_ended.keys():
            self._wakes.run_ended[deployment].set()
        self._counter.count(events, result.taken, self._origins, self._clock())

    def _write(self, connection: Connection, events: Sequence[Event], end: Cursor) -> _WriteResult:
        """Write the events after `end`, the log's end, which is locked."""
        # Not before the lock: what is logged later would be received earlier, and `since` step over some.
        now = self._clock()
        late = apply.detect_duplicates(connection, events)
        taken = [not is_late for is_late in late]
        lasting = [place for place, event in enumerate(events) if taken[place] and event.type != NUDGE]
        seqs = append.append(connection, [events[place] for place in lasting], now, end)
        logged: list[SeqAndEvent] = []
        again: list[int] = []
        for place, seq in zip(lasting, seqs, strict=True):
            taken[place] = seq is not None
            if seq is not None:
                logged.append((seq, events[place]))
            else:
                again.append(place)
        for place, numbered in self._append_conflicting(connection, events, again, now):
            taken[place] = True
            logged.append(numbered)
        apply.apply_all(connection, logged)
        for deployment in {event.deployment for _, event in logged} - self._origins.keys():
            self._origins[deployment] = origin_of(connection, deployment, now)
        called_for = self._decide(connection, logged, now)
        ended = {event.deployment for _, event in logged if event.type in RUN_ENDS}
        signal(connection, *_words(events, bool(logged), called_for, ended))
        return _WriteResult(taken, end, logged, called_for, ended)

    def _append_conflicting(
        self, connection: Connection, events: Sequence[Event], duplicates: Sequence[int], now: datetime
    ) -> list[tuple[int, SeqAndEvent]]:
        """Log the duplicates that only share an id with another thing. Return each of them with its place."""
        apart = id_conflicts.conflicting(connection, [events[place] for place in duplicates])
        found = [(place, event) for place, event in zip(duplicates, apart, strict=True) if event is not None]
        if not found:
            return []
        seqs = append.append(connection, [event for _, event in found], now)
        new = [
            (place, (seq, event)) for (place, event), seq in zip(found, seqs, strict=True) if seq is not None
        ]
        for place, (_, event) in new:
            self._counter.count_conflict(event)
            logger.warning(
                "the log has the id %r of %s for another task or run; the event is logged as %r, and "
                "Airflow is asked which of them is so",
                *(events[place].id, event.source, event.id),
            )
        return new


def _words(events: Sequence[Event], logged: bool, called_for: bool, ended: set[str]) -> list[str]:
    """Return the signals for the other replicas."""
    nudged = sorted({reconcile(event.deployment) for event in events if event.type == NUDGE})
    return [*([FEED] * logged), *([DELIVERY] * called_for), *nudged, *map(run_ended, sorted(ended))]


def _is_of_one_event(error: Exception) -> bool:
    """Return True unless the error is the database's own: away, locked, full, of another schema."""
    return isinstance(error, OF_THE_DATA) or not isinstance(error, (DBAPIError, OSError))


def _outcomes(result: _WriteResult) -> list[IngestOutcome]:
    return [IngestOutcome.ACCEPTED if new else IngestOutcome.DUPLICATE for new in result.taken]


def _events(together: Sequence[PendingBatch]) -> list[Event]:
    return [event for arrival in together for event in arrival.events]

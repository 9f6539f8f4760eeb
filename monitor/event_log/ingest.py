"""The ingest of events: log, projections and outbox in one transaction for all requests that wait.

`Ingest` is the only way into the log, for requests (web/api/ingest.py) and for the monitor's own parts. Log
and outbox are written together, so a mail that an event calls for is never lost and never sent without its
event.

Odd on purpose: the writer takes events from the queue (ingest_queue.py) in the database's thread once it has
the log's lock, not before. The longer another writer held the lock, the more events are written under the
next one. A transaction ends when it has held the lock for LOCK_SECONDS: what an event costs is known only
when it is written. So events are written in chunks, each as large as fits by the pace of those before.

A chunk that fails is written again in halves, down to the one event that cannot be written.

`IngestCounter` counts what became of the events, and their delay. It counts by reporter and by kind first,
because finding the metric of a label takes longer than counting in it.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import Histogram
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from monitor.clock import Clock
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database, savepoint
from monitor.database.pubsub import DELIVERY, FEED, reconcile, run_ended, signal
from monitor.event_log import append
from monitor.event_log.cursor import Cursor
from monitor.event_log.deployments import origin_of
from monitor.event_log.ingest_queue import (
    IngestBusy,
    IngestOutcome,
    IngestQueue,
    PendingEvent,
    PendingRequest,
)
from monitor.event_log.projections import apply
from monitor.events.data import NUDGE, RUN_ENDS
from monitor.events.event import Event
from monitor.observability.metrics import Metrics

MAX_COMMIT = 2_000  # events in one transaction: a reader of the feed gets them at once
LOCK_SECONDS = 0.25  # that a transaction writes for: others' events, deliveries and reminders wait so long
FIRST_CHUNK = 10  # events of unknown cost: some milliseconds each, more on a busy machine
MAX_CHUNK = 250  # events: the next ones may cost far more than those before; larger ones are hardly faster

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
    """The outcome of events that were written together."""

    taken: list[bool]
    """For each event, in order: True if it was new."""
    logged: list[SeqAndEvent]
    called_for: bool
    """True if anything is to be delivered."""


@dataclass
class _Commit:
    """The writes of one transaction so far."""

    after: Cursor
    """The log's end before."""
    now: datetime
    settled: list[tuple[PendingEvent, IngestOutcome]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    """The written events. `taken` says for each if it was new."""
    taken: list[bool] = field(default_factory=list)
    logged: list[SeqAndEvent] = field(default_factory=list)
    called_for: bool = False
    failed: list[tuple[PendingRequest, Exception]] = field(default_factory=list)

    @property
    def end(self) -> Cursor:
        return Cursor(self.after.epoch, self.logged[-1][0]) if self.logged else self.after

    @property
    def run_ended(self) -> set[str]:
        """The deployments of which a run's end was logged."""
        return {event.deployment for _, event in self.logged if event.type in RUN_ENDS}

    def add(self, events: Sequence[Event], result: _WriteResult) -> None:
        self.events += events
        self.taken += result.taken
        self.logged += result.logged
        self.called_for |= result.called_for

    def words(self) -> list[str]:
        """Return the signals for the other replicas."""
        nudged = sorted({reconcile(event.deployment) for event in self.events if event.type == NUDGE})
        ended = map(run_ended, sorted(self.run_ended))
        return [*([FEED] * bool(self.logged)), *([DELIVERY] * self.called_for), *nudged, *ended]


class Ingest:
    """The intake of events. `run()` is its one background task: the writer."""

    def __init__(
        self,
        database: Database,
        decide: Decide,
        wakes: Wakeups,
        metrics: Metrics,
        clock: Clock,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timer` measures how long a transaction has held the log."""
        self._database = database
        self._decide = decide
        self._wakes = wakes
        self._counter = IngestCounter(metrics)
        self._clock = clock
        self._timer = timer
        self._origins: dict[str, datetime] = {}
        self._queue = IngestQueue()

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
        return await self._queue.add(events)

    async def run(self) -> None:
        """Write the waiting events, as many at once as the time allows, until canceled."""
        try:
            while True:
                await self._queue.wait()
                await self._commit()
        finally:
            self._queue.fail_all(IngestBusy("the monitor is stopping"))

    async def _commit(self) -> None:
        taken: list[PendingEvent] = []
        try:
            commit = await self._database.write(lambda connection: self._write_some(connection, taken))
        except Exception as error:
            # The senders keep their events and come again. The database may be full, locked or gone.
            taken = taken or self._queue.take(MAX_COMMIT)
            requests = {pending.request for pending in taken}
            logger.exception("could not write %d requests", len(requests))
            self._queue.fail(requests, error)
        else:
            self._wake_consumers(commit)
            for request, reason in commit.failed:
                self._queue.fail([request], reason)
            self._queue.settle(commit.settled)

    def _write_some(self, connection: Connection, taken: list[PendingEvent]) -> _Commit:
        """Write the waiting events after taking the lock, and name them in `taken`, because this may fail.

        Events that arrive meanwhile wait for the next transaction, so that no answer is delayed by later
        events."""
        commit = self._begin_commit(connection)
        began, size = self._timer(), FIRST_CHUNK
        left = min(MAX_COMMIT, self._queue.count())
        while left > 0 and size > 0 and (chunk := self._queue.take(min(size, left))):
            taken += chunk
            left -= len(chunk)
            self._write_chunk(connection, chunk, commit)
            spent = self._timer() - began
            size = (
                min(MAX_CHUNK, int(len(taken) * (LOCK_SECONDS - spent) / spent)) if spent > 0 else MAX_CHUNK
            )
        signal(connection, *commit.words())
        return commit

    def _begin_commit(self, connection: Connection) -> _Commit:
        end = append.lock(connection)
        # Not before the lock: what is logged later would be received earlier, and `since` step over some.
        return _Commit(end, self._clock())

    def _write_chunk(self, connection: Connection, chunk: Sequence[PendingEvent], commit: _Commit) -> None:
        """Write the events together, or in halves if that fails, so no sender's event stops another's."""
        events = [pending.event for pending in chunk]
        try:
            with savepoint(connection):
                result = self._write(connection, events, commit.end, commit.now)
        except Exception as error:
            if not _is_of_one_event(error):
                raise
            if len(chunk) == 1:
                _refuse(chunk[0], error, commit)
                return
            half = len(chunk) // 2
            self._write_chunk(connection, chunk[:half], commit)
            self._write_chunk(connection, chunk[half:], commit)
        else:
            commit.add(events, result)
            commit.settled += zip(chunk, map(_outcome, result.taken), strict=True)

    def log(self, connection: Connection, events: Sequence[Event]) -> Callable[[], None]:
        """Take events in the caller's transaction, so that they are durable together with its other writes.
        Return a function to call once the transaction is committed."""
        commit = self._begin_commit(connection)
        commit.add(events, self._write(connection, events, commit.end, commit.now))
        signal(connection, *commit.words())
        return lambda: self._wake_consumers(commit)

    def _wake_consumers(self, commit: _Commit) -> None:
        if self._wakes.hand:
            self._wakes.hand(commit.after, commit.logged)
        else:
            self._wakes.feed.set()
        if commit.called_for:
            self._wakes.delivery.set()
        for deployment in commit.run_ended & self._wakes.run_ended.keys():
            self._wakes.run_ended[deployment].set()
        self._counter.count(commit.events, commit.taken, self._origins, self._clock())

    def _write(
        self, connection: Connection, events: Sequence[Event], end: Cursor, now: datetime
    ) -> _WriteResult:
        """Write the events after `end`, the log's end, which is locked."""
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
        return _WriteResult(taken, logged, self._decide(connection, logged, now))

    def _append_conflicting(
        self, connection: Connection, events: Sequence[Event], duplicates: Sequence[int], now: datetime
    ) -> list[tuple[int, SeqAndEvent]]:
        """Log the duplicates that only share an id with another thing. Return each of them with its place."""
        apart = append.conflicting(connection, [events[place] for place in duplicates])
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


def _refuse(pending: PendingEvent, error: Exception, commit: _Commit) -> None:
    """Reject an event whose data cannot be written. Any other failure is the answer to its request."""
    event = pending.event
    if isinstance(error, OF_THE_DATA):
        logger.warning(
            "event %r of %s is rejected, its data cannot be written: %s", event.id, event.source, error
        )
        commit.settled.append((pending, IngestOutcome.REJECTED))
    else:
        # The other written events of the request are duplicates when the sender comes again.
        logger.error("could not write event %r of %s", event.id, event.source, exc_info=error)
        commit.failed.append((pending.request, error))


def _is_of_one_event(error: Exception) -> bool:
    """Return True unless the error is the database's own: away, locked, full, of another schema."""
    return isinstance(error, OF_THE_DATA) or not isinstance(error, (DBAPIError, OSError))


def _outcome(is_new: bool) -> IngestOutcome:
    return IngestOutcome.ACCEPTED if is_new else IngestOutcome.DUPLICATE

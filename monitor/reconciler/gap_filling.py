"""The addition of events to the log that Airflow has and the log lacks or has with another state.

`GapFiller` logs what is missing from a page of Airflow's listing. A page may be filled at any time and more
than once, because ids are natural keys and the log takes each id once.

`contradictions` finds ends on which Airflow and the last report in the log disagree. A state that was set by
hand and set back has an id that the log already has. So the log would keep the state in between. Such an end
is logged again, under the next free `<id>:2`, `<id>:3`, ….

Only ends are logged again. An end that is reported before Airflow commits looks like a run that was set back
to `running`. A run or try that truly begins again has another start or another UUID, and so another id.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.airflow.paging import ListingPage
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.errors import EventError
from monitor.event_log import append as log
from monitor.event_log import read
from monitor.event_log.ingest import Ingest
from monitor.event_log.projections import tries
from monitor.event_log.projections.tries import LastState
from monitor.events.data import TaskInstanceData
from monitor.events.event import Event
from monitor.events.from_airflow import Row
from monitor.events.identity import nth
from monitor.observability.metrics import Metrics
from monitor.reconciler.listings import RowKind
from monitor.reconciler.task_tries import EarlierTries

TRIED_AT_ONCE = 8  # numbers looked up in one statement. More changes by hand cost one more statement


def contradictions(
    connection: Connection, source: str, events: Mapping[str, Event], settled_before: datetime
) -> list[Event]:
    """Return the ends that must be logged again, each under its next free id.

    `events` are built from Airflow's rows, by id, and the log knows each of the ids. A last report counts
    only if it was logged before `settled_before`. That moment has to be earlier than the question to
    Airflow, by more than a commit takes. A younger report may be newer than Airflow's answer, or ahead of
    Airflow's commit."""
    ends = [event for event in events.values() if tries.is_end(event)]
    last_states = tries.find_last_states(connection, ends)
    opposed = [
        (event, last_states[event.id])
        for event in ends
        if event.id in last_states and _opposes(event, last_states)
    ]
    logged = read.find_received_times(connection, {last_state.seq for _, last_state in opposed})
    settled = [
        event for event, last_state in opposed if _is_settled(logged.get(last_state.seq), settled_before)
    ]
    return _assign_free_ids(connection, source, settled)


def _opposes(event: Event, last_states: Mapping[str, LastState]) -> bool:
    return bool(last_states[event.id].state != event.get("state"))


def _is_settled(logged: datetime | None, before: datetime) -> bool:
    return logged is None or logged < before  # None: so old that it is forgotten


def _assign_free_ids(connection: Connection, source: str, events: Iterable[Event]) -> list[Event]:
    """Return the events under the first of `:2`, `:3`, … that the log lacks.
    Numbers are given without gaps."""
    events_by_id, free, first = {event.id: event for event in events}, [], 2
    while events_by_id:
        tried = {plain: [nth(plain, number) for number in _numbers(first)] for plain in events_by_id}
        lacking = read.missing(connection, source, (event_id for ids in tried.values() for event_id in ids))
        for plain, ids in tried.items():
            if found := next((event_id for event_id in ids if event_id in lacking), None):
                free.append(events_by_id.pop(plain).rename(found))
        first += TRIED_AT_ONCE
    return free


def _numbers(first: int) -> range:
    return range(first, first + TRIED_AT_ONCE)


SETTLED = timedelta(seconds=15)
"""The least age of the log's last report, at the time of the question, before Airflow's answer contradicts
it. Hooks fire before the commit."""

MAX_REJECTED = 1_000  # names of rows without an event that are remembered, before they are logged once more

logger = logging.getLogger(__name__)


class GapFiller:
    """The filler of one deployment's log. `retention` is how long the log keeps events, or None for ever."""

    def __init__(
        self,
        deployment: str,
        database: Database,
        ingest: Ingest,
        metrics: Metrics,
        clock: Clock,
        retention: timedelta | None,
        earlier_tries: EarlierTries,
    ) -> None:
        self._deployment = deployment
        self._database = database
        self._ingest = ingest
        self._metrics = metrics
        self._clock = clock
        self._retention = retention
        self._earlier_tries = earlier_tries
        self._is_logged = False
        self._rejected: set[tuple[str, str]] = set()

    async def fill(self, kind: RowKind, page: ListingPage) -> list[datetime]:
        """Log the events that a page of a listing shows and the log lacks.

        Return since when rows wait that are too young to be compared. Raise IngestBusy or SQLAlchemyError.
        """
        self._metrics.reconcile_rows.labels(self._deployment, kind.name).inc(len(page.rows))
        events: dict[str, Event] = {}
        dated: list[Event] = []
        young = []
        for row in page.rows:
            try:
                since = kind.waiting_since(row, page.moment)
                event = kind.build(self._deployment, row, self._clock())
            except EventError as error:
                self._reject(kind, row, error)
                continue
            if event is None:
                continue
            dated.append(event)
            if since:
                young.append(since)
            else:
                events[event.id] = event
        await self._report(events, page.asked_at - SETTLED)
        await self._correct_dates(dated)
        if kind.has_earlier_tries:
            young += await self._earlier_tries.fill(page)
        return young

    async def _report(self, events: Mapping[str, Event], settled_before: datetime) -> None:
        new_events = await self._database.read(
            lambda connection: self._select_new(connection, events, settled_before)
        )
        if not new_events:
            return
        taken = await self._ingest.take(new_events)
        for event, new in zip(new_events, taken, strict=True):
            if new:
                self._metrics.reconcile_filled.labels(self._deployment, event.type).inc()

    async def _correct_dates(self, events: Sequence[Event]) -> None:
        """Replace the dates of ends that hooks reported by Airflow's dates.
        The ends are not reported again."""
        tasks = [event for event in events if isinstance(event.data, TaskInstanceData)]
        if not tasks:
            return
        otherwise = await self._database.read(lambda connection: tries.find_changed_dates(connection, tasks))
        if otherwise:
            await self._database.write(lambda connection: tries.correct_dates(connection, otherwise))

    def _select_new(
        self, connection: Connection, events: Mapping[str, Event], settled_before: datetime
    ) -> list[Event]:
        source = f"/airflow/{self._deployment}"
        lacking = log.lacking(connection, events.values())
        lacking -= self._find_pruned_ends(connection, [events[event_id] for event_id in lacking])
        forgotten = {event_id for event_id in lacking if self._is_forgotten(events[event_id])}
        new = [event for event_id, event in events.items() if event_id in lacking - forgotten]
        logged = {event_id: event for event_id, event in events.items() if event_id not in lacking}
        old = {event_id: events[event_id] for event_id in forgotten}
        again = contradictions(connection, source, logged, settled_before)
        changed = contradictions(connection, source, old, settled_before)
        self._pass_over(list(old.values()), len(old) - len(changed))
        return [*new, *again, *changed]

    def _find_pruned_ends(self, connection: Connection, events: Sequence[Event]) -> set[str]:
        """Return the ids of ends without a date that the read model knows although the log lacks them.
        They were logged, and the log has forgotten them. Their time is that of each look, so their age does
        not show that."""
        timeless = [event for event in events if tries.is_end(event) and event.get("end_date") is None]
        words = tries.find_last_states(connection, timeless) if timeless else {}
        return {
            event.id
            for event in timeless
            if event.id in words and words[event.id].state == event.get("state")
        }

    def _is_forgotten(self, event: Event) -> bool:
        """Return True if the event is older than what the log keeps.
        Then it was logged, or it is from before the first start. A row that is merely touched long after is
        not logged again. A row whose state was changed is."""
        return self._retention is not None and event.time < self._clock() - self._retention

    def _pass_over(self, old: Sequence[Event], number: int) -> None:
        if not number:
            return
        self._metrics.reconcile_skipped.labels(self._deployment, "expired").inc(number)
        if not self._is_logged:
            self._is_logged = True
            logger.warning(
                "%s: Airflow changed rows from before what the log keeps, such as %s of %s; they are passed "
                "over and counted",
                *(self._deployment, old[0].subject, old[0].time.isoformat()),
            )

    def _reject(self, kind: RowKind, row: Row, error: EventError) -> None:
        """Log and count a row that makes no sense.
        The row stops no other row. It is the same at the next look, so it is logged once."""
        name = "/".join(str(row.get(key)) for key in ("dag_id", "dag_run_id", "task_id", "id") if key in row)
        if (name, str(error)) in self._rejected:
            return
        if len(self._rejected) >= MAX_REJECTED:
            self._rejected.clear()
        self._rejected.add((name, str(error)))
        logger.warning("%s: %s of %s makes no event: %s", self._deployment, name, kind.name, error)
        self._metrics.events.labels("rejected", "reconciler").inc()
